"""The stamp behind a finished file's HDF5 part: a hash of every byte but the embeddings, which have their own.

HDF5's older structures, which every reader knows, carry no checksums, and one flipped bit in them can keep the
library busy for ever. So nothing is given to HDF5 before its stamp is found right. HDF5 ignores what follows it.
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
    """What a right stamp says.

    Args:
        size: Bytes of the HDF5 part before it.
        hole: Where the embeddings, which it does not hash, begin and end.
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
