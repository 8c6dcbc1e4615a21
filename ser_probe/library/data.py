"""Clips as a notebook has them: corpora and splits, and a table of clips as the file that a step reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ser_probe.data import splits
from ser_probe.data.corpora import import_corpus
from ser_probe.data.manifest import Manifest, write_manifest
from ser_probe.library.call import Call, FilePath

Clips = FilePath | Manifest | pd.DataFrame
"""A manifest file, what `read_manifest` returns, or a table with a column `path`."""

_CALL = Call(
    spelled={"(--scheme study_e; in a study: split.scheme)": "(scheme='study_e')", "--audio-root": "audio_root="}
)


@_CALL
def read_corpus(name: str, root: FilePath, **options: str | int | float | bool) -> Manifest:
    """Read a corpus folder that an importer knows.

    Args:
        name: An importer, as `ser-probe prepare --list` shows them, such as `emovo`; or `sample`, which is synthesised
            in the folder where it is not there yet.
        root: The folder of the corpus.
        options: Options of the importer, such as `labels="voice_vote"` for CREMA-D.

    Raises:
        CorpusError: If there is no such importer, or the folder is not what it expects.
    """
    folder = Path(root).expanduser()
    corpus = import_corpus(name, folder, **options)
    return Manifest(corpus.table, folder, notes=corpus.notes)


@_CALL
def split_speakers(
    clips: Manifest | pd.DataFrame,
    scheme: str | Mapping[str, float] = "study_e",
    *,
    seed: int = 0,
    folds: int = 5,
    fold: int = 0,
) -> pd.Series:
    """Return the split of each clip, `train`, `validation` or `test`; no speaker is in two.

    Args:
        clips: Clips with `speaker`; `gender` and `label` are balanced where they are there.
        scheme: `study_e`, `study_b`, `loso`, `kfold`, or the share of speakers for each split, as
            `{"train": 0.6, "validation": 0.2, "test": 0.2}`.
        seed: Another seed gives another draw of speakers.
        folds: Groups of speakers of `kfold`.
        fold: Which group (`kfold`) or speaker (`loso`) tests, counted from 0; the next one validates.

    Returns:
        A series on the clips' index: `clips["split"] = split_speakers(clips)`.

    Raises:
        SplitError: If speakers are missing or too few, or the scheme or fold is not known.
    """
    table = clips.table if isinstance(clips, Manifest) else clips
    return splits.split_speakers(table, scheme=scheme, seed=seed, k=folds, fold=fold)


class ClipFile(NamedTuple):
    """The keys of a study's `data` that name clips."""

    manifest: Path
    audio_root: Path | None


def clip_file(clips: Clips, folder: Path, audio_root: FilePath | None) -> ClipFile:
    """Return where clips lie.

    Args:
        clips: The clips; a table is written into the folder.
        folder: A folder that is there as long as the step runs.
        audio_root: Where relative paths start; None: as the manifest says, of a bare table the current folder.
    """
    root = None if audio_root is None else Path(audio_root).expanduser()
    if isinstance(clips, str | os.PathLike):
        return ClipFile(Path(clips), root)
    if isinstance(clips, pd.DataFrame):
        clips = Manifest(clips, root or Path.cwd())
    table = clips.table
    if "path" in table:
        # What climbs out of the audio root starts from the manifest's folder, which this file does not lie in.
        climbs = [os.pardir in Path(path).parts for path in table["path"]]
        table = table.assign(
            path=[str(clips.resolve(path)) if up else path for path, up in zip(table["path"], climbs, strict=True)]
        )
    # Cells of mixed types have no column type in Parquet; read back they are text in any case.
    texts = {str(name): column.map(str, na_action="ignore") for name, column in table.items() if column.dtype == object}
    path = write_manifest(table.assign(**texts), folder / "clips.parquet")
    return ClipFile(path, root or clips.audio_root)
