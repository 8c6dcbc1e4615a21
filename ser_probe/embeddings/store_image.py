"""A file in memory, to which HDF5 writes its part of a file, because a full disk would crash it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

_PAGE_BYTES = 1 << 16


class MemoryFile(io.RawIOBase):
    """A writable file of pages in memory; unwritten pages take no memory and read as zero."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._position = self._size = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        return self._size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        for page, inside, part in self._parts(len(view)):
            view[part] = self._pages.get(page, bytes(_PAGE_BYTES))[inside]
        self._position += len(view)
        return len(view)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for page, inside, part in self._parts(len(view)):
            self._pages.setdefault(page, bytearray(_PAGE_BYTES))[inside] = view[part]
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def _parts(self, length: int) -> Iterator[tuple[int, slice, slice]]:
        """Cut the next `length` bytes at page borders: page, place inside the page, place in the data."""
        done = 0
        while done < length:
            page, start = divmod(self._position + done, _PAGE_BYTES)
            count = min(_PAGE_BYTES - start, length - done)
            yield page, slice(start, start + count), slice(done, done + count)
            done += count

    def copy_to(self, stream: BinaryIO, *, hole: tuple[int, int]) -> None:
        """Write the pages to a file, but nothing between the two offsets of `hole`."""
        for page, data in sorted(self._pages.items()):
            start = page * _PAGE_BYTES
            for low, high in ((start, min(start + _PAGE_BYTES, hole[0])), (max(start, hole[1]), start + _PAGE_BYTES)):
                if low < high:
                    stream.seek(low)
                    stream.write(data[low - start : high - start])
        stream.truncate(self._size)
