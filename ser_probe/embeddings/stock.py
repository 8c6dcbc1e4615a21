"""What there is to seal: the finished file, the shards, the notes, and which clips are missing, rejected or unread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ser_probe.embeddings import store_file
from ser_probe.embeddings.key import CacheKey, check_key
from ser_probe.embeddings.notes import NotedClips, read_noted_clips, read_unread
from ser_probe.embeddings.partials import remove_stale_partials
from ser_probe.embeddings.shards import read_shards
from ser_probe.embeddings.store_header import REJECT_COLUMNS, ROW_COLUMNS, Header, no_rejects, plain_columns

STORED_COLUMNS = list(ROW_COLUMNS)


@dataclass(frozen=True)
class Stock:
    """What there is to seal.

    Args:
        old: The finished file's header; None if there is no such file.
        shards: The shards with their headers.
        files: The finished file and the shards.
        noted: Clip tables that runs left.
        manifest: The manifest's columns, by clip id.
        rejects: Clips that could not be embedded, in the manifest's order.
        unread: Clips that no worker could read.
    """

    old: Header | None
    shards: list[tuple[Path, Header]]
    files: list[tuple[Path, Header]]
    noted: list[NotedClips]
    manifest: pd.DataFrame
    rejects: pd.DataFrame
    unread: pd.DataFrame

    @property
    def missing(self) -> list[str]:
        """Clips of the manifest that are not accounted for."""
        stored = {clip_id for _, header in self.files for clip_id in header.rows["clip_id"]}
        accounted = stored.union(self.rejects["clip_id"], self.unread["clip_id"])
        return [clip_id for clip_id in self.manifest.index if clip_id not in accounted]


def read_finished(path: Path, key: CacheKey) -> list[tuple[Path, Header]]:
    """Return the finished file with its header, nothing if there is none.

    Raises:
        CacheError: If it was made from something else.
    """
    if not path.exists():
        return []
    header = store_file.header_of(path)
    check_key(header.key, key, where=path)
    return [(path, header)]


def _manifest_columns(clips: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest's columns to be stored, indexed by clip id."""
    unique = clips.drop_duplicates("clip_id").set_index("clip_id")
    further = [name for name in unique if name not in STORED_COLUMNS and name != "path"]
    return plain_columns(unique[["path", *further]])


def take_stock(path: Path, key: CacheKey, clips: pd.DataFrame) -> Stock:
    """Return what there is to seal.

    Args:
        path: The finished file.
        key: What the values depend on.
        clips: The manifest's clips.

    Raises:
        CacheError: If the file or a shard was made from something else, or the file is damaged.
    """
    remove_stale_partials(path)
    # Notes before files: a note that is removed meanwhile is in the finished file's record.
    noted, unread = read_noted_clips(path), read_unread(path)
    finished = read_finished(path, key)
    shards = read_shards(path, key)
    files = [*finished, *shards]
    manifest = _manifest_columns(clips)
    rejects = _merge_rejects(files, manifest)
    return Stock(
        old=finished[0][1] if finished else None,
        shards=shards,
        files=files,
        noted=noted,
        manifest=manifest,
        rejects=rejects,
        unread=_left_unread(unread, files, rejects),
    )


def recorded_unread(header: Header) -> pd.DataFrame:
    """Return the clips that a finished file records as unreadable: `clip_id`, `path`, `reason`."""
    return pd.DataFrame(header.attributes.get("unread", []), columns=list(REJECT_COLUMNS), dtype=object)


def _left_unread(noted: pd.DataFrame, files: Sequence[tuple[Path, Header]], rejects: pd.DataFrame) -> pd.DataFrame:
    """Return the clips that no worker could read, noted now or recorded before."""
    everything = pd.concat([noted, *(recorded_unread(header) for _, header in files)]).drop_duplicates("clip_id")
    done = {*rejects["clip_id"], *(clip_id for _, header in files for clip_id in header.rows["clip_id"])}
    return everything[~everything["clip_id"].isin(done)].sort_values("clip_id").reset_index(drop=True)


def _merge_rejects(files: Sequence[tuple[Path, Header]], manifest: pd.DataFrame) -> pd.DataFrame:
    everything = pd.concat([header.rejects for _, header in files]) if files else no_rejects()
    stored = {clip_id for _, header in files for clip_id in header.rows["clip_id"]}
    unique = everything[~everything["clip_id"].isin(stored)].drop_duplicates("clip_id")
    order = {clip_id: place for place, clip_id in enumerate(manifest.index)}
    ranks = [(order.get(clip_id, len(order)), clip_id) for clip_id in unique["clip_id"]]
    return unique.iloc[sorted(range(len(ranks)), key=ranks.__getitem__)].reset_index(drop=True)
