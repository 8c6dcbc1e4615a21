"""Sealing: the shards become the finished file, in one atomic step.

Whatever kills a sealing process, the finished file is the complete old or new one, and the shards are removed only when
the new one is in place: sealing again completes the work.
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
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.merge import MergeSource, check_merged, merge_blocks
from ser_probe.embeddings.notes import describe_reasons, read_unread, remove_notes
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.shards import committed
from ser_probe.embeddings.stock import STORED_COLUMNS, read_finished, recorded_unread, take_stock
from ser_probe.embeddings.store_header import Header, plain_columns
from ser_probe.errors import CacheError
from ser_probe.files import atomic_path, lock
from ser_probe.runtime import logger, package_versions

_LISTED_CLIPS = 3


class IncompleteCacheError(CacheError):
    """Clips are still to be computed."""


@dataclass(frozen=True)
class Sealed:
    """The result of sealing.

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
        stock = take_stock(path, key, clips)
        if stock.missing and not allow_missing:
            raise _incomplete(path, stock.missing, len(stock.manifest))
        _check_files(path, stock.files, pd.concat([stock.rejects, stock.unread]))
        ids, sources = _place(stock.files, stock.manifest)
        old = stock.old
        columns = _merge_columns(ids, stock.manifest, old)
        unchanged = (
            old is not None
            and len(ids) == len(old.rows)
            and _equal(columns, _columns_of(old))
            and _equal(stock.rejects, old.rejects)
            and _equal(stock.unread, recorded_unread(old))
        )
        if not unchanged:
            record = {**(old.attributes if old else {}), **_creation(), **(attributes or {})}
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
    # Files after notes: a note that is removed meanwhile is in the finished file's record.
    recorded = [recorded_unread(header) for _, header in read_finished(path, key)]
    accounted = {*done.clips, *done.rejects, *pd.concat([unread, *recorded])["clip_id"]}
    return [clip_id for clip_id in dict.fromkeys(clips["clip_id"]) if clip_id not in accounted]


def update_attributes(path: Path, attributes: Mapping[str, Any]) -> None:
    """Add to what a finished file records of how it was made; the file is rewritten in one atomic step.

    Raises:
        CacheError: If the file is missing or damaged, or the disk is full.
    """
    with _only_sealer(path):
        if not path.is_file():
            raise CacheError("There is no embedding cache here", where=path, fix="run the extraction")
        header = store_file.header_of(path)
        all_rows = np.arange(len(header.rows))
        changed = dataclasses.replace(header, attributes={**header.attributes, **attributes})
        source = MergeSource(path, header, all_rows, all_rows)
        _write(path, changed, [source], safe="the finished file is as it was")


def keep_clips(path: Path, clip_ids: Collection[str]) -> int:
    """Remove all other clips, stored and rejected, from a finished file in one atomic step; return how many went.

    Raises:
        CacheError: If none of the clips is in the file, it is damaged, or the disk is full.
    """
    with _only_sealer(path):
        header = store_file.header_of(path)
        kept = np.flatnonzero(header.rows["clip_id"].isin(clip_ids))
        if not len(kept):
            raise CacheError("None of the clips to keep is in the file", where=path, fix="delete the file instead")
        if len(kept) < len(header.rows):
            rejects, unread = (
                table[table["clip_id"].isin(clip_ids)].reset_index(drop=True)
                for table in (header.rejects, recorded_unread(header))
            )
            record = {**header.attributes, "unread": unread.to_dict("records")}
            rows = header.rows.iloc[kept].reset_index(drop=True)
            changed = dataclasses.replace(header, rows=rows, rejects=rejects, attributes=record)
            _write(path, changed, [MergeSource(path, header, kept, np.arange(len(kept)))], safe="the file is as it was")
    return len(header.rows) - len(kept)


def _incomplete(path: Path, missing: Sequence[str], n_clips: int) -> IncompleteCacheError:
    return IncompleteCacheError(
        f"{len(missing)} of {n_clips} clips are not computed yet, so the cache cannot be finished",
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


def _place(files: Sequence[tuple[Path, Header]], manifest: pd.DataFrame) -> tuple[list[str], list[MergeSource]]:
    """Give every clip its row: those of the finished file first, then the manifest's order, then by id."""
    n_finished = sum(header.sealed for _, header in files)
    kept = [clip_id for _, header in files[:n_finished] for clip_id in header.rows["clip_id"]]
    shard_ids = {clip_id for _, header in files[n_finished:] for clip_id in header.rows["clip_id"]} - set(kept)
    new = [clip_id for clip_id in manifest.index if clip_id in shard_ids]
    foreign = sorted(shard_ids.difference(new))  # from another process's manifest
    ids = [*kept, *new, *foreign]
    free = {clip_id: place for place, clip_id in enumerate(ids)}
    sources = []
    for source, header in files:
        pairs = [(row, free.pop(clip_id)) for row, clip_id in enumerate(header.rows["clip_id"]) if clip_id in free]
        rows, places = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        if len(rows):
            sources.append(MergeSource(source, header, rows, places))
    return ids, sources


def _merge_stored(sources: Sequence[MergeSource]) -> pd.DataFrame:
    parts = [source.header.rows[STORED_COLUMNS].iloc[source.rows].set_index(source.places) for source in sources]
    return pd.concat(parts).sort_index()


def _equal(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    # Compared as objects, because pandas has several types for text.
    return first.astype(object).equals(second.astype(object))


def _columns_of(header: Header) -> pd.DataFrame:
    return header.rows.drop(columns=STORED_COLUMNS)


def _merge_columns(ids: list[str], manifest: pd.DataFrame, old: Header | None) -> pd.DataFrame:
    """Return the manifest's columns for all clips: this manifest's where it has the clip, else the file's."""
    columns = manifest.reindex(ids)
    if old is not None:
        stored = _columns_of(old).set_axis(old.rows["clip_id"], axis=0).reindex(ids)
        foreign = ~columns.index.isin(manifest.index)
        columns = columns.reindex(columns=list(dict.fromkeys([*stored, *columns]))).astype(object)
        for name in stored:
            # A column that this manifest does not have keeps its values for all clips.
            columns[name] = columns[name].where(~foreign, stored[name]) if name in manifest else stored[name]
        columns = columns.infer_objects()
    return plain_columns(columns.reset_index(drop=True))


def _creation() -> dict[str, Any]:
    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"created_utc": time, "packages": package_versions()}


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
        if error.errno is None:  # raised by HDF5, not by the disk
            raise
        size = header.shape[0] * header.layer_bytes
        raise store_file.disk_error(error, path, f"run the same command again: {safe}", needed_bytes=size) from error


@contextlib.contextmanager
def _only_sealer(path: Path) -> Iterator[None]:
    """Hold the right to replace the finished file; another process that wants it waits.

    Without it a process that read the old file could undo what a faster one has just merged. The kernel releases
    the lock when its process ends, however that ends.
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
        # The previous holder removed the file: a lock on the removed file excludes nobody.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)
