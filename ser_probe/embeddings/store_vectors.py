"""The vectors of a file, read by plain reads at their place, and their checksums: neither HDF5 nor a lock is needed.

A layer of frames can be larger than memory, so whoever needs all of it takes it in blocks.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, BinaryIO

import numpy as np

from ser_probe.embeddings.store_header import Header
from ser_probe.embeddings.store_stamp import DamagedCacheError

BLOCK_BYTES = 256 << 20
"""What is held of a layer at a time by those who need all of it."""
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
    whole = np.empty((max((stop - start for start, stop in borders), default=0), header.layout.width), header.key.dtype)
    for start, stop in borders:
        yield start, read_vectors(stream, header, layer, start, stop, whole[: stop - start])


class LayerChecksum:
    """The BLAKE2b of a layer's bytes, taken in block by block."""

    def __init__(self) -> None:
        self._digest = blake2b(digest_size=CHECKSUM_BYTES)

    def extend(self, block: np.ndarray) -> None:
        """Take the next vectors in."""
        self._digest.update(bytes_of(block))

    def hex(self) -> str:
        """Return the checksum of what was taken in so far, hex."""
        return self._digest.hexdigest()


def begin_checksums(clip_ids: Iterable[str]) -> list[int]:
    """Return the CRC-32 of each clip's id, so that values under another clip's id do not pass."""
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
