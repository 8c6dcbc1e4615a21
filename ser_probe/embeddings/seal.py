"""Sealing: the shards become the finished file, in one step that a reader sees as before or after.

Whatever kills a sealing process, the finished file is the old one or the new one, whole, and the shards are
removed only when the new one is in place: sealing again completes the work.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.embeddings import store_file
from ser_probe.embeddings.altered import check_unaltered
from ser_probe.embeddings.key import CacheKey, check_key
from ser_probe.embeddings.merge import MergeSource, check_merged, merge_blocks
from ser_probe.embeddings.notes import NotedClips, describe_reasons, read_noted_clips, read_unread, remove_notes
from ser_probe.embeddings.shards import committed, read_shards, remove_stale_partials, shards_folder
from ser_probe.embeddings.store_header import REJECT_COLUMNS, ROW_COLUMNS, Header, no_rejects, plain_columns
from ser_probe.errors import CacheError
from ser_probe.files import atomic_path, lock
from ser_probe.runtime import logger, package_versions

_LISTED_CLIPS = 3
_STORED = list(ROW_COLUMNS)


class IncompleteCacheError(CacheError):
    """Clips are still to be computed."""


@dataclass(frozen=True)
class Sealed:
    """What sealing did.

    Args:
        n_clips: Clips in the finished file.
        n_new: Clips that were not in it before.
        n_rejects: Clips that could not be embedded.
        written: False where the file was complete already and was left alone.
        n_unread: Clips that workers noted as unreadable, and that are no part of the file.
    """

    n_clips: int
    n_new: int
    n_rejects: int
    written: bool
    n_unread: int = 0


@dataclass(frozen=True)
class _Stock:
    """What there is to seal.

    Args:
        old: The finished file's header, None without.
        shards: The shards with their headers.
        files: The finished file and the shards.
        noted: Clip tables that runs left.
        wanted: The manifest's columns, by clip id.
        rejects: Clips that could not be embedded, in the manifest's order.
        unread: Clips that nobody could read.
    """

    old: Header | None
    shards: list[tuple[Path, Header]]
    files: list[tuple[Path, Header]]
    noted: list[NotedClips]
    wanted: pd.DataFrame
    rejects: pd.DataFrame
    unread: pd.DataFrame

    @property
    def missing(self) -> list[str]:
        """Wanted clips that are not accounted for."""
        stored = {clip_id for _, header in self.files for clip_id in header.rows["clip_id"]}
        known = stored.union(self.rejects["clip_id"], self.unread["clip_id"])
        return [clip_id for clip_id in self.wanted.index if clip_id not in known]


def seal(
    path: Path,
    key: CacheKey,
    clips: pd.DataFrame,
    attributes: Mapping[str, Any] | None = None,
    *,
    allow_missing: bool = False,
) -> Sealed:
    """Merge the finished file, if there is one, and the shards into the finished file.

    Clips already in the file keep their places; new ones follow in the order of `clips`. The datasets
    depend on the content alone, not on how many shards or runs it took. Clips that a worker noted as unreadable
    are no part of the file, and listed in its record.

    Args:
        path: The finished file.
        key: What the values depend on.
        clips: The manifest's clips: `clip_id`, `path`, and any further columns, which are stored beside the
            embeddings. Of clips with one id the first counts.
        attributes: How the values were made, JSON-like: model, device, speed, verify error.
        allow_missing: Whether to finish the file although clips are missing.

    Raises:
        CacheError: If clips are neither stored nor rejected nor noted as unreadable, no clip could be embedded, a
            file was made from something else or is damaged, or the disk is full.
    """
    with _only_sealer(path):
        stock = _take_stock(path, key, clips)
        if stock.missing and not allow_missing:
            raise _incomplete(path, stock.missing, len(stock.wanted))
        _check_files(path, stock.files, pd.concat([stock.rejects, stock.unread]))
        ids, sources = _place(stock.files, stock.wanted)
        old = stock.old
        columns = _merge_columns(ids, stock.wanted, old)
        unchanged = (
            old is not None
            and len(ids) == len(old.rows)
            and _equal(columns, _columns_of(old))
            and _equal(stock.rejects, old.rejects)
            and _equal(stock.unread, _recorded_unread(old))
        )
        if not unchanged:
            record = {**(old.attributes if old else {}), **_made_now(), **(attributes or {})}
            record.pop("unread", None)
            if len(stock.unread):
                record["unread"] = stock.unread.to_dict("records")
            merged = Header(
                key=key,
                layout=stock.files[0][1].layout,
                rows=pd.concat([_merge_stored(sources), columns], axis=1),
                rejects=stock.rejects,
                sealed=True,
                attributes=record,
            )
            _write(path, merged, sources)
        elif old is not None:
            check_unaltered(path, old)
        for shard, _ in stock.shards:
            shard.unlink(missing_ok=True)
        remove_notes(path, stock.noted, {*ids, *stock.rejects["clip_id"], *stock.unread["clip_id"]})
    n_new = len(ids) - (len(old.rows) if old else 0)
    return Sealed(len(ids), n_new, len(stock.rejects), not unchanged, len(stock.unread))


def missing_clips(path: Path, key: CacheKey, clips: pd.DataFrame) -> list[str]:
    """Return which clips are neither stored nor rejected nor noted as unreadable, in the order given.

    Raises:
        CacheError: If the file or a shard was made from something else.
    """
    unread = read_unread(path)
    done = committed(path, key)
    # After the notes, because one that vanished meanwhile is in the finished file's record.
    recorded = [_recorded_unread(header) for _, header in _read_finished(path, key)]
    known = {*done.clips, *done.rejects, *pd.concat([unread, *recorded])["clip_id"]}
    return [clip_id for clip_id in dict.fromkeys(clips["clip_id"]) if clip_id not in known]


def update_attributes(path: Path, attributes: Mapping[str, Any]) -> None:
    """Add to what a finished file records of how it was made; the file is rewritten in one atomic step.

    Raises:
        CacheError: If the file is missing or damaged, or the disk is full.
    """
    with _only_sealer(path):
        if not path.is_file():
            raise CacheError("There is no embedding cache here", where=path, fix="run the extraction")
        with path.open("rb") as stream:
            header = store_file.read_header(stream, path)
        everything = np.arange(len(header.rows))
        changed = dataclasses.replace(header, attributes={**header.attributes, **attributes})
        source = MergeSource(path, header, everything, everything)
        _write(path, changed, [source], safe="the finished file is as it was")


def keep_clips(path: Path, clip_ids: Collection[str]) -> int:
    """Remove all other clips, stored and rejected, from a finished file in one atomic step; return how many went.

    Raises:
        CacheError: If none of the clips is in the file, it is damaged, or the disk is full.
    """
    with _only_sealer(path), path.open("rb") as stream:
        header = store_file.read_header(stream, path)
        kept = np.flatnonzero(header.rows["clip_id"].isin(clip_ids))
        if not len(kept):
            raise CacheError("None of the clips to keep is in the file", where=path, fix="delete the file instead")
        if len(kept) < len(header.rows):
            rejects, unread = (
                table[table["clip_id"].isin(clip_ids)].reset_index(drop=True)
                for table in (header.rejects, _recorded_unread(header))
            )
            record = {**header.attributes, "unread": unread.to_dict("records")}
            rows = header.rows.iloc[kept].reset_index(drop=True)
            changed = dataclasses.replace(header, rows=rows, rejects=rejects, attributes=record)
            _write(path, changed, [MergeSource(path, header, kept, np.arange(len(kept)))], safe="the file is as it was")
    return len(header.rows) - len(kept)


def _read_finished(path: Path, key: CacheKey) -> list[tuple[Path, Header]]:
    if not path.exists():
        return []
    with path.open("rb") as stream:
        check_key((header := store_file.read_header(stream, path)).key, key, where=path)
    return [(path, header)]


def _plain_clips(clips: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest's columns to be stored, indexed by clip id."""
    unique = clips.drop_duplicates("clip_id").set_index("clip_id")
    others = [name for name in unique if name not in _STORED and name != "path"]
    return plain_columns(unique[["path", *others]])


def _take_stock(path: Path, key: CacheKey, clips: pd.DataFrame) -> _Stock:
    remove_stale_partials(path)
    # Before the files, because a note that vanished meanwhile is in the finished file's record.
    noted, unread = read_noted_clips(path), read_unread(path)
    finished = _read_finished(path, key)
    shards = read_shards(path, key)
    files = [*finished, *shards]
    wanted = _plain_clips(clips)
    rejects = _merge_rejects(files, wanted)
    return _Stock(
        old=finished[0][1] if finished else None,
        shards=shards,
        files=files,
        noted=noted,
        wanted=wanted,
        rejects=rejects,
        unread=_left_unread(unread, files, rejects),
    )


def _recorded_unread(header: Header) -> pd.DataFrame:
    return pd.DataFrame(header.attributes.get("unread", []), columns=list(REJECT_COLUMNS), dtype=object)


def _left_unread(noted: pd.DataFrame, files: Sequence[tuple[Path, Header]], rejects: pd.DataFrame) -> pd.DataFrame:
    """Return the clips that nobody could read, noted now or recorded before."""
    everything = pd.concat([noted, *(_recorded_unread(header) for _, header in files)]).drop_duplicates("clip_id")
    known = {*rejects["clip_id"], *(clip_id for _, header in files for clip_id in header.rows["clip_id"])}
    return everything[~everything["clip_id"].isin(known)].sort_values("clip_id").reset_index(drop=True)


def _incomplete(path: Path, missing: Sequence[str], n_wanted: int) -> IncompleteCacheError:
    return IncompleteCacheError(
        f"{len(missing)} of {n_wanted} clips are not computed yet, so the cache cannot be finished",
        where=path,
        found="missing " + ", ".join(missing[:_LISTED_CLIPS]) + (", ..." if missing[_LISTED_CLIPS:] else ""),
        fix="run the extraction again: only the missing clips are computed",
    )


def _check_files(path: Path, files: Sequence[tuple[Path, Header]], rejects: pd.DataFrame) -> None:
    if not any(len(header.rows) for _, header in files):
        raise CacheError(
            "No clip could be embedded, so there is nothing to store",
            where=path,
            found=describe_reasons(rejects),
        )
    for source, header in files:
        if header.layout != files[0][1].layout:
            raise CacheError(
                "Files of one key have different layers",
                where=source,
                expected=f"as in {files[0][0].name}",
                fix="delete the shards and extract again",
            )


def _place(files: Sequence[tuple[Path, Header]], wanted: pd.DataFrame) -> tuple[list[str], list[MergeSource]]:
    """Give every clip its row: those of the finished file first, then the manifest's order, then by id."""
    n_finished = sum(header.sealed for _, header in files)
    kept = [clip_id for _, header in files[:n_finished] for clip_id in header.rows["clip_id"]]
    shard_ids = {clip_id for _, header in files[n_finished:] for clip_id in header.rows["clip_id"]} - set(kept)
    new = [clip_id for clip_id in wanted.index if clip_id in shard_ids]
    others = sorted(shard_ids.difference(new))  # from another process's manifest
    ids = [*kept, *new, *others]
    free = {clip_id: place for place, clip_id in enumerate(ids)}
    sources = []
    for source, header in files:
        taken = [(row, free.pop(clip_id)) for row, clip_id in enumerate(header.rows["clip_id"]) if clip_id in free]
        rows, places = np.array(taken, dtype=np.intp).reshape(-1, 2).T
        if len(rows):
            sources.append(MergeSource(source, header, rows, places))
    return ids, sources


def _merge_stored(sources: Sequence[MergeSource]) -> pd.DataFrame:
    parts = [source.header.rows[_STORED].iloc[source.rows].set_index(source.places) for source in sources]
    return pd.concat(parts).sort_index()


def _merge_rejects(files: Sequence[tuple[Path, Header]], wanted: pd.DataFrame) -> pd.DataFrame:
    everything = pd.concat([header.rejects for _, header in files]) if files else no_rejects()
    stored = {clip_id for _, header in files for clip_id in header.rows["clip_id"]}
    unique = everything[~everything["clip_id"].isin(stored)].drop_duplicates("clip_id")
    order = {clip_id: place for place, clip_id in enumerate(wanted.index)}
    ranks = [(order.get(clip_id, len(order)), clip_id) for clip_id in unique["clip_id"]]
    return unique.iloc[sorted(range(len(ranks)), key=ranks.__getitem__)].reset_index(drop=True)


def _equal(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    # As objects, because pandas has several types for text.
    return first.astype(object).equals(second.astype(object))


def _columns_of(header: Header) -> pd.DataFrame:
    return header.rows.drop(columns=_STORED)


def _merge_columns(ids: list[str], wanted: pd.DataFrame, old: Header | None) -> pd.DataFrame:
    """Return the manifest's columns for all clips: this manifest's where it has the clip, else the file's."""
    columns = wanted.reindex(ids)
    if old is not None:
        before = _columns_of(old).set_axis(old.rows["clip_id"], axis=0).reindex(ids)
        foreign = ~columns.index.isin(wanted.index)
        columns = columns.reindex(columns=list(dict.fromkeys([*before, *columns]))).astype(object)
        for name in before:
            # A column that this manifest does not have keeps its values for all clips.
            columns[name] = columns[name].where(~foreign, before[name]) if name in wanted else before[name]
        columns = columns.infer_objects()
    return plain_columns(columns.reset_index(drop=True))


def _made_now() -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    return {"created_utc": now.isoformat(timespec="seconds"), "packages": package_versions()}


def _write(
    path: Path,
    header: Header,
    sources: Sequence[MergeSource],
    *,
    safe: str = "the shards are complete and nothing is computed again",
) -> None:
    try:
        store_file.check_space(path, header)
        with atomic_path(path) as temporary:
            check_merged(header, sources, store_file.write_file(temporary, header, merge_blocks(header, sources)))
    except OSError as error:
        if error.errno is None:  # a complaint of HDF5's, not of the disk's
            raise
        size = header.shape[0] * header.layer_bytes
        raise store_file.disk_error(error, path, f"run the same command again: {safe}", needed_bytes=size) from error


@contextlib.contextmanager
def _only_sealer(path: Path) -> Iterator[None]:
    """Hold the right to replace the finished file; another process that wants it waits.

    Without it a sealer that read the old file could undo what a quicker one has just merged. The lock is
    the kernel's, so it ends with its process, however that ends.
    """
    folder = shards_folder(path)
    try:
        descriptor = _lock(folder / "seal.lock")
    except OSError as error:
        raise store_file.disk_error(error, path, "run the same command again") from error
    try:
        pattern = re.compile(re.escape(f".{path.stem}.") + r"\d+" + re.escape(f".partial{path.suffix}"))
        for leftover in filter(lambda file: pattern.fullmatch(file.name), list(path.parent.iterdir())):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        (folder / "seal.lock").unlink(missing_ok=True)
        os.close(descriptor)
        with contextlib.suppress(OSError):  # not empty: shards are left, or others are at work
            folder.rmdir()


def _lock(path: Path) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the folder was removed since
            continue
        try:
            held = lock(descriptor, path, wait=False)
        except BlockingIOError:
            logger.info("Another process is finishing this cache; waiting for it")
            held = lock(descriptor, path, wait=True)
        if not held:
            return descriptor
        # The one who held it before removed the file: a lock on it excludes nobody any more.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)
