"""Notes beside the shards: the clips of an extraction, and those that a worker could not read.

With them any process can tell whether the work is complete, and finish the cache without the manifest. Like a shard, a
note appears under its name in one step. Sealing removes the notes that it has used up.
"""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.data.parquet import read_parquet
from ser_probe.embeddings import store_file
from ser_probe.embeddings.partials import name_node, shards_folder
from ser_probe.embeddings.store_header import REJECT_COLUMNS, no_rejects, plain_columns
from ser_probe.errors import DamagedFileError
from ser_probe.files import check_entries, fingerprint, fsync_path, read_json, slug
from ser_probe.runtime import logger

_ATTEMPTS = 3
_UNREAD = dict.fromkeys(REJECT_COLUMNS, str)


@dataclass(frozen=True)
class NotedClips:
    """A manifest's clips as a run noted them.

    Args:
        file: The note.
        table: One row per clip: `clip_id`, `path` and the manifest's columns.
        attributes: What the run would record of how the values were made.
    """

    file: Path
    table: pd.DataFrame
    attributes: Mapping[str, Any]


def note_clips(path: Path, clips: pd.DataFrame, attributes: Mapping[str, Any] | None = None) -> Path:
    """Note the clips of a run, so that others can finish the cache without its manifest.

    Args:
        path: The finished file to be.
        clips: `clip_id`, `path` and the manifest's columns; one table has one note, whoever writes it.
        attributes: What to record of how the values are made, JSON-like: model, checkpoint, step.

    Returns:
        The note, in the folder of the shards.

    Raises:
        CacheError: If the disk is full or not writable.
    """
    table = plain_columns(clips.drop_duplicates("clip_id").reset_index(drop=True))
    digest = _digest(table)
    table.attrs = json.loads(json.dumps(dict(attributes or {}), default=str))
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    return _write_note(path, f"clips-{digest}.parquet", content.getvalue())


def note_unread(path: Path, worker: str, unread: pd.DataFrame | None) -> None:
    """Note the clips that a worker could not read: they are no part of the cache until another run reads them.

    Args:
        path: The finished file to be.
        worker: The worker's name; it has one note.
        unread: `clip_id`, `path` and `reason`; None, or no rows, removes the note, as at a worker's start.

    Raises:
        CacheError: If the disk is full or not writable.
    """
    name = f"unread-{slug(worker)}.json"
    if unread is None or unread.empty:
        (shards_folder(path) / name).unlink(missing_ok=True)
        return
    records = unread[list(REJECT_COLUMNS)].astype(str).to_dict("records")
    _write_note(path, name, json.dumps(records, ensure_ascii=False, indent=1).encode())


def read_noted_clips(path: Path) -> list[NotedClips]:
    """Return the clip tables noted beside a cache's shards, in the order of their names."""
    noted = []
    for file in sorted(shards_folder(path).glob("clips-*.parquet")):
        try:
            table = read_parquet(file)
            _check_noted(file, table)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            logger.warning("A note is damaged and does not count.\n%s", error)
            continue
        noted.append(NotedClips(file, table, {str(name): value for name, value in table.attrs.items()}))
    return noted


def read_unread(path: Path) -> pd.DataFrame:
    """Return the clips that workers noted as unreadable: `clip_id`, `path`, `reason`."""
    tables = [no_rejects()]
    for file in sorted(shards_folder(path).glob("unread-*.json")):
        try:
            records = read_json(file)
            if not isinstance(records, list):
                raise DamagedFileError(f"{file.name} lists no clips", where=file)
            for number, record in enumerate(records):
                check_entries(record, _UNREAD, where=file, inside=f"entry {number}")
            tables.append(pd.DataFrame(records, columns=list(REJECT_COLUMNS), dtype=object))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            logger.warning("A note is damaged and does not count.\n%s", error)
    return pd.concat(tables, ignore_index=True).drop_duplicates("clip_id")


def _digest(table: pd.DataFrame) -> str:
    return fingerprint({str(name): values.tolist() for name, values in table.items()})[:16]


def _check_noted(file: Path, table: pd.DataFrame) -> None:
    """Refuse a note whose content does not match the digest in its name.

    Raises:
        DamagedFileError: If so.
    """
    digest = _digest(table)
    if file.stem != f"clips-{digest}" or not {"clip_id", "path"} <= set(table.columns):
        raise DamagedFileError(
            "The note is not what was written", where=file, expected=file.stem.removeprefix("clips-"), found=digest,
            fix="run the extraction again: it notes its clips anew",
        )  # fmt: skip


def remove_notes(path: Path, noted: list[NotedClips], accounted: set[str]) -> None:
    """Remove the noted tables whose clips are all accounted for, and with the last of them the unread clips."""
    left = 0
    for note in noted:
        if accounted.issuperset(note.table["clip_id"]):
            note.file.unlink(missing_ok=True)
        else:
            left += 1
    if not left:
        for file in shards_folder(path).glob("unread-*.json"):
            file.unlink(missing_ok=True)


def _write_note(path: Path, name: str, content: bytes) -> Path:
    """Write a file of the shards' folder in one step; several processes and hosts may write it at once."""
    folder = shards_folder(path)
    stem, _, suffix = name.rpartition(".")
    partial = f".{stem}-{name_node()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.{os.getpid()}.partial.{suffix}"
    temporary = folder / partial
    for attempt in range(_ATTEMPTS):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            fsync_path(temporary)
            os.replace(temporary, folder / name)
            fsync_path(folder)
            break
        except FileNotFoundError:
            # A process that sealed meanwhile removed the empty folder.
            if attempt + 1 == _ATTEMPTS:
                raise
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise store_file.disk_error(error, folder / name, "run the same command again") from error
    return folder / name


def describe_reasons(rejects: pd.DataFrame) -> str:
    """Return the number of rejected clips, and the most common reason with an example."""
    if rejects.empty:
        return "0 rejected clips"
    counts = rejects["reason"].value_counts()
    # Of equally common reasons the first.
    reason = next(reason for reason in rejects["reason"] if counts[reason] == counts.max())
    path = rejects.loc[rejects["reason"] == reason, "path"].iloc[0]
    if len(counts) == 1:
        return f"{len(rejects)} rejected clips: {reason}, such as {path}"
    return f"{len(rejects)} rejected clips, {counts.max()} of them: {reason}, such as {path}"
