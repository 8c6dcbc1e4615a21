"""The stamp after a file's HDF5 part: a hash of every byte but the embeddings, which have their own checksums.

HDF5's older structures, which every reader knows, have no checksums, and a flipped bit in them can make the library
loop forever. So a file is opened by HDF5 only after its stamp was verified. HDF5 ignores bytes after its part.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from ser_probe.errors import CacheError

_MAGIC = b"serprobe"
_STAMP = struct.Struct("<8sQQ16s")  # magic, where the embeddings begin and end, hash
_BLOCK_BYTES = 1 << 20


class DamagedCacheError(CacheError):
    """A file's bytes are not what ser-probe once wrote."""


@dataclass(frozen=True)
class Stamp:
    """The content of a valid stamp.

    Args:
        size: Bytes of the HDF5 part before it.
        hole: Where the embeddings begin and end, which are not hashed.
    """

    size: int
    hole: tuple[int, int]


def append_stamp(stream: BinaryIO, *, hole: tuple[int, int]) -> None:
    """Append the stamp to a file that is complete otherwise.

    Args:
        stream: The file, open for reading and writing.
        hole: Where the embeddings begin and end.
    """
    size = stream.seek(0, os.SEEK_END)
    stamp = _STAMP.pack(_MAGIC, *hole, _hash_around(stream, hole, size))
    stream.seek(size)
    stream.write(stamp)


def check_stamp(stream: BinaryIO, path: Path) -> Stamp:
    """Refuse a file that is not whole and as it was written; the embeddings themselves are not read.

    Returns:
        What the stamp says.

    Raises:
        DamagedCacheError: If there is no stamp at the end, or the file is not what the stamp says.
    """
    size = stream.seek(0, os.SEEK_END) - _STAMP.size
    stream.seek(max(size, 0))
    stamp = stream.read(_STAMP.size)
    if size < 0 or not stamp.startswith(_MAGIC):
        fault = "it is cut short, was changed by another program, or is no embedding cache at all"
    else:
        _, start, end, digest = _STAMP.unpack(stamp)
        if start <= end <= size and digest == _hash_around(stream, (start, end), size):
            return Stamp(size, (start, end))
        fault = "its bytes are not what was written"
    raise DamagedCacheError(
        f"The embedding cache cannot be read: {fault}", where=path, fix="delete it and extract again"
    )


def _hash_around(stream: BinaryIO, hole: tuple[int, int], size: int) -> bytes:
    digest = blake2b(struct.pack("<QQ", *hole), digest_size=16)
    for position, end in ((0, hole[0]), (hole[1], size)):
        stream.seek(position)
        while position < end:
            block = stream.read(min(_BLOCK_BYTES, end - position))
            if not block:
                break
            digest.update(block)
            position += len(block)
    return digest.digest()
