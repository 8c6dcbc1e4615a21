"""A folder of audio with a metadata file beside it, as Hugging Face `datasets` reads it ("AudioFolder").

Source: the documentation of `datasets` (Load audio data): `metadata.csv`, `.jsonl` or `.parquet` with a column
`file_name`, in the folder itself or in one folder a split (`train/`, `validation/`, `test/`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ser_probe.data.corpora.importer import CorpusRows, Importer, Option
from ser_probe.data.schemes import SPLITS
from ser_probe.errors import CorpusError, did_you_mean, shorten

if TYPE_CHECKING:
    import pandas as pd

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE = "file_name"


def read(root: Path, *, label_column: str, speaker_column: str) -> CorpusRows:
    """Return a row per line of the metadata; all its columns travel along.

    Raises:
        CorpusError: If there is no metadata file, it cannot be read, or lacks a column.
    """
    import pandas as pd

    from ser_probe.data.columns import SPLIT_ALIASES
    from ser_probe.data.corpora.own_tables import settle_as_manifest

    if not root.is_dir():
        raise CorpusError("The folder of clips is missing", where=root, fix="check the path")
    parts = []
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        file = next((folder / name for name in _METADATA if (folder / name).is_file()), None)
        if file is None:
            continue
        part = _read(file)
        below = "" if folder == root else f"{folder.name}/"
        part = part.assign(path=below + part.pop(_FILE).astype(str))
        if below and "split" not in part and folder.name.lower() in {*SPLITS, *SPLIT_ALIASES}:
            part["split"] = folder.name
        parts.append(part)
    if not parts:
        raise CorpusError(
            "The folder has no metadata file", where=root, expected=f"{' or '.join(_METADATA)}, with a column {_FILE}",
            fix="folders that name the classes are read by the importer 'folders'",
        )  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    for given, standard in ((label_column, "label"), (speaker_column, "speaker")):
        table = _rename(table, given, standard, root)
    table, notes = settle_as_manifest(table, root)
    if "label" in table:
        table["label_code"] = table["label"]
    if "speaker" not in table:
        notes.append("no column names speakers: the clips cannot be split by speaker")
    first = ["path", *(name for name in ("label", "speaker", "split") if name in table)]
    return CorpusRows(
        table[[*first, *(name for name in table if name not in first)]], "the metadata file", tuple(notes)
    )


def _read(file: Path) -> pd.DataFrame:
    import pandas as pd

    from ser_probe.data.corpora.own_tables import read_own_table
    from ser_probe.data.parquet import read_parquet

    if file.suffix == ".csv":
        return read_own_table(file, [_FILE], "AudioFolder")
    if file.suffix == ".parquet":
        table = read_parquet(file)
    else:
        try:
            rows = [json.loads(line) for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
        except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
            raise CorpusError("The metadata file is not a JSON object a line", where=file, found=error) from error
        if strange := next((row for row in rows if not isinstance(row, dict)), None):
            raise CorpusError("The metadata file is not a JSON object a line", where=file, found=str(strange)[:80])
        table = pd.DataFrame(rows)
    if _FILE not in table:
        raise CorpusError(f"The metadata file has no column {_FILE}", where=file, found=shorten(table.columns))
    return table


def _rename(table: pd.DataFrame, given: str, standard: str, root: Path) -> pd.DataFrame:
    """Return a table whose column of that name is called as a manifest calls it; '' looks for the usual names."""
    usual = {"label": ("label", "emotion"), "speaker": ("speaker", "speaker_id", "actor")}[standard]
    name = given or next((name for name in usual if name in table), None)
    if name is None or name == standard:
        return table
    if name not in table:
        raise CorpusError(
            f"The metadata has no column {name!r}", where=root, found=shorten(table.columns),
            fix=did_you_mean(name, map(str, table.columns)),
        )  # fmt: skip
    return table.drop(columns=standard, errors="ignore").rename(columns={name: standard})


IMPORTER = Importer(
    name="audiofolder",
    title="AudioFolder",
    holds="any folder of audio with metadata.csv, .jsonl or .parquet, as Hugging Face datasets reads it",
    paper="the user's own",
    licence="that of the corpus",
    home="huggingface.co/docs/datasets/audio_load",
    layout="metadata.csv with a column file_name, beside the audio or in train/, validation/, test/",
    read=read,
    options={
        "label_column": Option("its column of labels; empty: label or emotion", ""),
        "speaker_column": Option("its column of speakers; empty: speaker, speaker_id or actor", ""),
    },
)
