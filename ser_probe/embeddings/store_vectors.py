"""The vectors of a file, read by plain reads at their offset, and their checksums: without HDF5 and without locks.

A layer of frames can be larger than memory, so a whole layer is read in blocks.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from ser_probe.embeddings.store_header import Header
from ser_probe.embeddings.store_stamp import DamagedCacheError

BLOCK_BYTES = 64 << 20
"""Size of the blocks in which a whole layer is read."""
BLOCKS_AT_ONCE = 4
"""Blocks held while a file is written: the disk and the checksum threads work on them at the same time."""
CHECKSUM_BYTES = 16


def read_vectors(
    stream: BinaryIO, header: Header, layer: int, start: int = 0, stop: int | None = None, out: np.ndarray | None = None
) -> np.ndarray:
    """Return vectors `start` to `stop` of a layer as stored, shape [P, D], in one contiguous read.

    The position of `stream` is not used, so threads and forked workers may share it.

    Args:
        stream: The file.
        header: Its header.
        layer: Place of the layer in the file.
        start: First vector.
        stop: Behind the last vector; None for the layer's end.
        out: Where to read to, C-contiguous; by default a new array.

    Raises:
        DamagedCacheError: If the file ends before the vectors do.
    """
    if out is None:
        out = np.empty(((header.shape[1] if stop is None else stop) - start, header.layout.width), header.key.dtype)
    buffer = bytes_of(out)
    place, done = header.start + layer * header.layer_bytes + start * header.vector_bytes, 0
    while done < len(buffer):
        count = os.preadv(stream.fileno(), [buffer[done:]], place + done)
        if count == 0:
            raise DamagedCacheError("The embedding cache is cut short", where=getattr(stream, "name", None))
        done += count
    return out


def cut_blocks(header: Header) -> list[tuple[int, int]]:
    """Return the borders of a layer's blocks, as (start, stop) in vectors; a clip's frames may lie in several."""
    n_vectors = header.shape[1]
    step = max(BLOCK_BYTES // max(header.vector_bytes, 1), 1)
    return [(start, min(start + step, n_vectors)) for start in range(0, n_vectors, step)]


def read_blocks(stream: BinaryIO, header: Header, layer: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield a layer in blocks, each with its first vector's place; a block is valid until the next is asked for."""
    borders = cut_blocks(header)
    buffer = np.empty(
        (max((stop - start for start, stop in borders), default=0), header.layout.width), header.key.dtype
    )
    for start, stop in borders:
        yield start, read_vectors(stream, header, layer, start, stop, buffer[: stop - start])


class LayerChecksum:
    """The checksum of a layer's bytes, taken in block by block: BLAKE2b, of frames CRC-32.

    Frames are a hundred times as many bytes, and BLAKE2b is slower than a disk.

    Args:
        header: The file's header.
    """

    def __init__(self, header: Header) -> None:
        self._digest = None if header.layout.ragged else blake2b(digest_size=CHECKSUM_BYTES)
        self._crc32 = 0

    def extend(self, block: np.ndarray) -> None:
        """Take the next vectors in."""
        if self._digest is None:
            self._crc32 = zlib.crc32(bytes_of(block), self._crc32)
        else:
            self._digest.update(bytes_of(block))

    def hex(self) -> str:
        """Return the checksum of what was taken in so far, hex."""
        return f"{self._crc32:08x}" if self._digest is None else self._digest.hexdigest()


class FileChecksums:
    """The checksums of a file's vectors, taken by threads while they are written; a context manager.

    Args:
        header: The file's header.
    """

    def __init__(self, header: Header) -> None:
        self._header = header
        self._rows = begin_checksums(header.rows["clip_id"])
        # A shard's layers have no checksums: merging compares those of its clips.
        self._layers = [LayerChecksum(header) for _ in header.layout.layer_names] if header.sealed else []
        # A checksum needs its blocks in order, so it stays on one thread; layers are spread over the threads.
        n_threads = min(BLOCKS_AT_ONCE, os.cpu_count() or 1) if header.sealed else 0
        self._row_thread = ThreadPoolExecutor(1)
        self._layer_threads = [ThreadPoolExecutor(1) for _ in range(n_threads)]
        self._begun: deque[list[Future[None]]] = deque()

    def extend(self, layer: int, start: int, block: np.ndarray) -> None:
        """Take the next vectors in; they must stay as they are until `BLOCKS_AT_ONCE` - 1 more blocks were taken."""
        begun = [self._row_thread.submit(extend_checksums, self._rows, block, self._header.offsets, start)]
        if self._layers:
            thread = self._layer_threads[layer % len(self._layer_threads)]
            begun.append(thread.submit(self._layers[layer].extend, block))
        self._begun.append(begun)

    def wait(self, most: int = 0) -> None:
        """Return when at most so many blocks are left to be taken in."""
        while len(self._begun) > most:
            for task in self._begun.popleft():
                task.result()

    @property
    def rows(self) -> np.ndarray:
        """CRC-32 of each clip, uint32 [N]."""
        return np.array(self._rows, dtype=np.uint32)

    @property
    def layers(self) -> list[str]:
        """Checksum of each layer, hex; empty texts of a shard."""
        return [checksum.hex() for checksum in self._layers] or [""] * self._header.shape[0]

    def __enter__(self) -> FileChecksums:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for threads in (self._row_thread, *self._layer_threads):
            threads.shutdown(cancel_futures=True)


def begin_checksums(clip_ids: Iterable[str]) -> list[int]:
    """Return the CRC-32 of each clip's id, so that values under another clip's id are noticed."""
    return [zlib.crc32(clip_id.encode()) for clip_id in clip_ids]


def extend_checksums(sums: list[int], block: np.ndarray, offsets: np.ndarray, start: int = 0) -> None:
    """Take vectors of a layer into the clips' checksums; layers come in their order, and blocks in theirs.

    Args:
        sums: One checksum a clip, changed in place.
        block: Vectors, shape [P, D].
        offsets: Where each clip's vectors begin in the layer, [N + 1].
        start: Place of the block's first vector in the layer.
    """
    first = int(np.searchsorted(offsets, start, side="right")) - 1
    last = int(np.searchsorted(offsets, start + len(block), side="left"))
    width = block.shape[1] * block.itemsize
    borders = ((offsets[first : last + 1] - start).clip(0, len(block)) * width).tolist()
    view = bytes_of(block)
    for row, low, high in zip(range(first, last), borders[:-1], borders[1:], strict=True):
        sums[row] = zlib.crc32(view[low:high], sums[row])


def bytes_of(block: Any) -> memoryview:
    """Return a view of an array's bytes; an empty array has none to view."""
    return memoryview(np.ascontiguousarray(block).data).cast("B") if block.size else memoryview(b"")
