"""A corpus of one's own in folders: a folder a class, a folder a speaker, or both in each other."""

from __future__ import annotations

from pathlib import Path

from ser_probe.data.corpora.clips import audio_files
from ser_probe.data.corpora.importer import CorpusRows, Importer, Option
from ser_probe.errors import CorpusError, shorten

_LEVELS = ("label", "speaker", "split", "corpus", "gender", "language", "-")


def read(root: Path, *, levels: str) -> CorpusRows:
    """Return a row per audio file; what a level stands for comes from the folder's name.

    Raises:
        CorpusError: If a level is not known, or files lie higher up than the levels say.
    """
    import pandas as pd

    from ser_probe.data.corpora.own_tables import settle_as_manifest

    names = [level.strip() for level in levels.split("/")]
    _check(names, levels)
    if not root.is_dir():
        raise CorpusError("The folder of clips is missing", where=root, fix="check the path")
    paths = sorted(audio_files(root))
    if not paths:
        raise CorpusError("The folder holds no audio file", where=root)
    folders = [path.split("/")[:-1] for path in paths]
    shallow = [path for path, parts in zip(paths, folders, strict=True) if len(parts) < len(names)]
    if shallow:
        raise CorpusError(
            f"{len(shallow)} of {len(paths)} audio files do not lie in folders {'/'.join(names)}",
            where=root,
            found=shorten(shallow, 3),
            fix="name the folders from the top down: --option levels=label, or label/speaker; - stands for a folder "
            "that means nothing",
        )
    columns = {name: [parts[depth] for parts in folders] for depth, name in enumerate(names) if name != "-"}
    table, notes = settle_as_manifest(pd.DataFrame({"path": paths, **columns}), root)
    if "label" in columns:
        table["label_code"] = table["label"]
    if "speaker" not in columns:
        notes.append("no folder names speakers: the clips cannot be split by speaker")
    return CorpusRows(table, f"the names of the folders {'/'.join(names)}", tuple(notes))


def _check(names: list[str], levels: str) -> None:
    strange = [name for name in names if name not in _LEVELS]
    twice = [name for name in set(names) if name != "-" and names.count(name) > 1]
    if strange or twice:
        raise CorpusError(
            "The levels of folders are not known" if strange else "A level of folders is named twice",
            expected=f"{', '.join(_LEVELS)}, with / between them, from the top down",
            found=levels,
            fix="such as --option levels=label/speaker",
        )


IMPORTER = Importer(
    name="folders",
    title="Folders",
    holds="any corpus in which folders name the classes, the speakers or both",
    paper="the user's own",
    licence="that of the corpus",
    home="",
    layout="anger/clip1.wav, or anger/speaker7/clip1.wav with levels=label/speaker",
    read=read,
    options={
        "levels": Option(
            "what the folders stand for, from the top down: label, speaker, split, corpus, gender, language, or - for "
            "nothing, with / between them",
            "label",
        )
    },
)
