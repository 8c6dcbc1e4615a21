"""Shards: how embeddings reach the disk while they are computed, and what is there already.

A shard holds some complete batches and appears under its name in one step, so a run that is killed loses at most its
open shard. Several processes and hosts may write shards of one cache side by side: every shard has a unique name, and
is never changed.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd

from ser_probe.embeddings import store_file
from ser_probe.embeddings.key import CacheKey, check_key
from ser_probe.embeddings.partials import name_node, remove_stale_partials, shards_folder
from ser_probe.embeddings.store_header import REJECT_COLUMNS, Header, Layout, no_rows, plain_columns
from ser_probe.embeddings.store_stamp import DamagedCacheError
from ser_probe.errors import CacheError
from ser_probe.files import atomic_path
from ser_probe.runtime import logger

SECONDS_PER_SHARD = 20.0
BYTES_PER_SHARD = 64 << 20
BYTES_PER_SHARD_OF_FRAMES = 256 << 20
"""Frames are some hundred times as many bytes a second: larger shards, so that a corpus has hundreds and not thousands.
They are held in memory until written, for each cache separately."""


@dataclass(frozen=True)
class Rows:
    """The embeddings of one batch.

    Args:
        clip_ids: Ids of the clips, shape [B].
        embeddings: Values, shape [L, B, D]; of a ragged layout [L, P, D], the clips' frames one after another.
        n_frames: Frames the pooling saw, shape [B], 0 for a vector that is not pooled from frames; of a ragged layout
            those of each clip, in all P.
        duration_s: Durations in s, shape [B].
    """

    clip_ids: Sequence[str]
    embeddings: np.ndarray
    n_frames: Sequence[int] | np.ndarray
    duration_s: Sequence[float] | np.ndarray

    def only(self, kept: np.ndarray, *, ragged: bool) -> Rows:
        """Return some of the clips, those that `kept`, bool of shape [B], names."""
        ids = [clip_id for clip_id, keep in zip(self.clip_ids, kept, strict=True) if keep]
        n_frames = np.asarray(self.n_frames)
        vectors = np.repeat(kept, n_frames) if ragged else kept
        return Rows(ids, self.embeddings[:, vectors], n_frames[kept], np.asarray(self.duration_s)[kept])


class NotFiniteError(CacheError):
    """Embeddings that are not finite, or not once they are stored; `places` has layer and value by row of the batch."""

    places: dict[int, str]


@dataclass(frozen=True)
class Committed:
    """Clips that are on disk and need not be computed again.

    Args:
        clips: Clip id -> the file that holds it.
        rejects: Id of a clip that could not be embedded -> the reason.
    """

    clips: dict[str, Path]
    rejects: dict[str, str]

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self.clips or clip_id in self.rejects

    def __len__(self) -> int:
        return len(self.clips) + len(self.rejects)


class ShardWriter:
    """Collects batches and commits them as shards; a context manager.

    Leaving the context commits complete batches, also after an error or Ctrl-C, so that nothing computed is lost; it
    does not try again after a disk error.

    Args:
        path: The finished file to be; shards go to a folder beside it.
        key: What the values depend on.
        layout: Layers and width.
        seconds_per_shard: Wall time after which the open shard is committed.
        bytes_per_shard: Size at which it is committed earlier; by default 64 MiB, of frames 256 MiB.
    """

    def __init__(
        self,
        path: Path,
        key: CacheKey,
        layout: Layout,
        *,
        seconds_per_shard: float = SECONDS_PER_SHARD,
        bytes_per_shard: int | None = None,
    ) -> None:
        self.path, self.key, self.layout = path, key, layout
        self.seconds_per_shard = seconds_per_shard
        self.bytes_per_shard = bytes_per_shard or (BYTES_PER_SHARD_OF_FRAMES if layout.ragged else BYTES_PER_SHARD)
        self._batches: list[tuple[pd.DataFrame, np.ndarray]] = []
        self._rejects: list[tuple[str, str, str]] = []
        self._opened_s = time.monotonic()
        self._disk_failed = False

    def add(self, rows: Rows) -> None:
        """Take a batch; commit the open shard if it is old or large enough.

        Raises:
            NotFiniteError: If a value is not finite, or not once it is stored as float16; nothing is taken then.
            CacheError: If the disk is full.
            ValueError: If the arrays do not fit each other or the layout.
        """
        offsets = self.layout.offsets(rows.n_frames)
        self._check_shape(rows, offsets)
        values = self._cast(rows, offsets)
        table = pd.DataFrame({
            "clip_id": pd.Series(list(rows.clip_ids), dtype=object),
            "n_frames": np.asarray(rows.n_frames, dtype=np.int32),
            "duration_s": np.asarray(rows.duration_s, dtype=np.float64),
            "row_crc32": np.zeros(len(rows.clip_ids), dtype=np.uint32),
        })  # fmt: skip
        self._batches.append((table, values))
        size = sum(batch.nbytes for _, batch in self._batches)
        if size >= self.bytes_per_shard or time.monotonic() - self._opened_s >= self.seconds_per_shard:
            self.commit()

    def reject(self, clip_id: str, path: str, reason: str) -> None:
        """Note that a clip cannot be embedded, so that a resumed run does not try it again."""
        self._rejects.append((clip_id, path, reason))

    def commit(self) -> None:
        """Write the open shard, unless it is empty.

        Raises:
            CacheError: If the disk is full or not writable; earlier shards are safe.
        """
        if self._batches or self._rejects:
            tables = [table for table, _ in self._batches] or [no_rows()]
            header = Header(
                key=self.key,
                layout=self.layout,
                rows=pd.concat(tables, ignore_index=True),
                rejects=plain_columns(pd.DataFrame(self._rejects, columns=list(REJECT_COLUMNS), dtype=object)),
                sealed=False,
            )
            try:
                self._write(header)
            except OSError as error:
                self._disk_failed = True
                if error.errno is None:  # raised by HDF5, not by the disk
                    raise
                raise _disk_error(error, self.path, self.key) from error
            self._batches, self._rejects = [], []
        self._opened_s = time.monotonic()

    def _write(self, header: Header) -> None:
        shard = shards_folder(self.path) / f"shard-{name_node()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.h5"
        for attempt in ("first", "last"):
            # A layer in one piece, because many small writes take longer.
            layers = range(header.shape[0]) if self._batches else ()
            blocks = (np.concatenate([values[layer] for _, values in self._batches]) for layer in layers)
            try:
                with atomic_path(shard) as temporary:
                    store_file.write_file(temporary, header, blocks)
                return
            except FileNotFoundError:
                # Another process sealed all other shards and removed the empty folder.
                if attempt == "last":
                    raise

    def _check_shape(self, rows: Rows, offsets: np.ndarray) -> None:
        n_clips = len(rows.clip_ids)
        expected = (len(self.layout.layer_names), int(offsets[-1]), self.layout.width)
        if rows.embeddings.shape != expected or len(rows.n_frames) != n_clips or len(rows.duration_s) != n_clips:
            raise ValueError(f"The batch does not fit the layout: {rows.embeddings.shape} against {expected}")
        if (np.diff(offsets) < 1).any():
            raise ValueError("A clip without frames cannot be stored: reject it")

    def _cast(self, rows: Rows, offsets: np.ndarray) -> np.ndarray:
        """Return the values as stored, refusing any that are not finite."""
        with np.errstate(over="ignore"):
            # A copy, because the caller may use its array again for the next batch.
            values = np.array(rows.embeddings, dtype=self.key.dtype, order="C")
        places: dict[int, tuple[int, int]] = {}
        for layer, stored in enumerate(values):
            finite = np.isfinite(stored).all(axis=1)
            for vector in () if finite.all() else np.flatnonzero(~finite):
                clip = int(np.searchsorted(offsets, vector, side="right")) - 1
                places.setdefault(clip, (layer, int(vector)))
        if places:
            raise self._not_finite(rows, places)
        return values

    def _not_finite(self, rows: Rows, places: dict[int, tuple[int, int]]) -> NotFiniteError:
        """Return the error, which names the first clip and holds the place of each clip's first such value."""
        vectors = {clip: rows.embeddings[place] for clip, place in places.items()}
        overflows = all(np.isfinite(vector).all() for vector in vectors.values())
        names = {clip: f"layer {self.layout.layer_names[layer]}" for clip, (layer, _) in places.items()}
        first = next(iter(places))
        error = NotFiniteError(
            "An embedding is too large for float16" if overflows else "The model's output is not finite",
            where=f"clip {rows.clip_ids[first]}, {names[first]}",
            expected=f"at most {np.finfo(np.float16).max:.0f}" if overflows else "finite values",
            found=f"{np.abs(vectors[first]).max():.6g}" if overflows else "NaN or infinity",
            fix="store it as float32 (extract.storage)"
            if overflows
            else "compute in fp32 (extract.precision), or look at the clip",
        )
        error.places = names
        return error

    def __enter__(self) -> ShardWriter:
        self._opened_s = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._disk_failed:
            return
        try:
            self.commit()
        except CacheError as fault:
            if error is None:
                raise
            logger.error("%s", fault)  # the error that ended the run is raised instead


def committed(path: Path, key: CacheKey) -> Committed:
    """Return the clips that the finished file and its shards hold already.

    Leftovers of dead processes are removed; a shard that cannot be read is set aside with a warning.

    Raises:
        CacheError: If the file or a shard was made from something else.
    """
    remove_stale_partials(path)
    sources = read_shards(path, key)
    # The file after the shards: a shard that is removed meanwhile was merged into it.
    if path.exists():
        header = store_file.header_of(path)
        check_key(header.key, key, where=path)
        sources.append((path, header))
    clips = {clip_id: source for source, header in sources for clip_id in header.rows["clip_id"]}
    rejects = {
        clip_id: reason
        for _, header in sources
        for clip_id, reason in zip(header.rejects["clip_id"], header.rejects["reason"], strict=True)
        if clip_id not in clips
    }
    return Committed(clips, rejects)


def read_shards(path: Path, key: CacheKey) -> list[tuple[Path, Header]]:
    """Return the shards of a cache with their headers, in the order of their names.

    Raises:
        CacheError: If a shard was made from something else.
    """
    shards = []
    for shard in sorted(shards_folder(path).glob("shard-*.h5")):
        try:
            header = store_file.header_of(shard)
        except FileNotFoundError:
            continue
        except DamagedCacheError as error:
            set_aside(shard, error)
            continue
        check_key(header.key, key, where=shard)
        shards.append((shard, header))
    return shards


def survey_shards(path: Path) -> tuple[list[Header], int]:
    """Return the headers of a cache's shards, of whatever key, and how many shards are damaged; nothing is changed."""
    headers, n_damaged = [], 0
    for shard in sorted(shards_folder(path).glob("shard-*.h5")):
        try:
            headers.append(store_file.header_of(shard))
        except FileNotFoundError:
            continue
        except CacheError:
            n_damaged += 1
    return headers, n_damaged + len(list(shards_folder(path).glob("*.damaged")))


def set_aside(shard: Path, error: CacheError) -> None:
    """Rename a damaged shard, so that its clips are computed again and the file can be looked at."""
    logger.warning("A damaged shard is set aside as %s.damaged; its clips are computed again.\n%s", shard.name, error)
    shard.rename(shard.with_name(shard.name + ".damaged"))


def _disk_error(error: OSError, path: Path, key: CacheKey) -> CacheError:
    safe = len(committed(path, key))
    return store_file.disk_error(
        error,
        shards_folder(path),
        f"run the same command again: {safe} clips are safe on disk and are not computed again",
    )
