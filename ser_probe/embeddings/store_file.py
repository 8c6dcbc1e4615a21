"""The HDF5 layout that finished files and shards share: the door to h5py.

The layout is described in `docs/cache-format.md`. A file is written once, from start to end, and read without
locks; what is written when, and what becomes of shards, is for `shards` and `seal`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
import pandas as pd

from ser_probe.embeddings.store_header import REJECT_COLUMNS, ROW_COLUMNS, Header
from ser_probe.embeddings.store_image import MemoryFile
from ser_probe.embeddings.store_layout import FORMAT, member_name, read_layout, read_version
from ser_probe.embeddings.store_stamp import DamagedCacheError, append_stamp, check_stamp
from ser_probe.embeddings.store_vectors import BLOCKS_AT_ONCE, CHECKSUM_BYTES, FileChecksums, bytes_of
from ser_probe.errors import CacheError

POOLED_VERSION, RAGGED_VERSION = 1, 2
"""Versions of the layout: a pooled file is what it always was, so older readers read it and refuse a ragged one."""
READ_VERSIONS = (POOLED_VERSION, RAGGED_VERSION)
_TEXT = h5py.string_dtype("utf-8")


class SchemaVersionError(CacheError):
    """A file's layout is of a version that this one does not read."""


def write_file(path: Path, header: Header, blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Write a file under a temporary name; only some blocks of vectors are in memory at a time.

    HDF5 crashes the process when the disk is full, so it writes its part to memory, and all bytes go to disk by plain
    writes, which raise an error.

    Args:
        path: Where to write.
        header: All but the embeddings and the checksums.
        blocks: The vectors of one layer after another, each block of shape [P, D], of the storage's type and
            within one layer. A block stays as it is until `BLOCKS_AT_ONCE` - 1 more have been asked for.

    Returns:
        The CRC-32 of each clip, as written: uint32 of shape [N].

    Raises:
        OSError: If the disk is full or not writable.
    """
    image = MemoryFile()
    with path.open("w+b") as stream:
        with h5py.File(image, "w") as file, FileChecksums(header) as sums:
            _write_header(file, header)
            start = _allocate(file, header)
            stream.seek(start)
            n_vectors, written = header.shape[1], 0
            for block in blocks:
                sums.extend(written // n_vectors, written % n_vectors, block)
                stream.write(bytes_of(block))
                written += len(block)
                sums.wait(BLOCKS_AT_ONCE - 1)
            sums.wait()
            file["layer_checksum"][...] = np.array(sums.layers, dtype="S")
            file["row_crc32"][...] = sums.rows
        hole = (start, start + len(header.layout.layer_names) * header.layer_bytes)
        image.copy_to(stream, hole=hole)
        append_stamp(stream, hole=hole)
    return sums.rows


def read_header(stream: BinaryIO, path: Path) -> Header:
    """Read all but the embeddings from an open file.

    Raises:
        DamagedCacheError: If the bytes are not those of a whole file that ser-probe wrote, or not laid out as one.
        CacheError: If the file is of another schema version.
    """
    stamp = check_stamp(stream, path)
    try:
        opened = h5py.File(stream, "r")
    except (OSError, ValueError) as error:
        raise DamagedCacheError(
            "The embedding file is no HDF5 file", where=path, found=" ".join(str(error).split()),
            fix="delete it and extract again",
        ) from error  # fmt: skip
    with opened as file:
        version = read_version(file, path)
        if version in READ_VERSIONS:
            return read_layout(file, path, stamp)
    raise SchemaVersionError(
        "The embedding cache has another schema version",
        where=path,
        expected=" or ".join(map(str, READ_VERSIONS)),
        found=version,
        fix="delete it and extract again" if version < min(READ_VERSIONS) else "update ser-probe",
    )


def header_of(path: Path) -> Header:
    """Read all but the embeddings from a file; see `read_header`."""
    with path.open("rb") as stream:
        return read_header(stream, path)


def check_space(path: Path, header: Header) -> None:
    """Refuse to begin a file that the disk cannot hold.

    Raises:
        OSError: If there is less space than the embeddings need.
    """
    if shutil.disk_usage(path.parent).free < len(header.layout.layer_names) * header.layer_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def disk_error(error: OSError, path: Path, fix: str, *, needed_bytes: int | None = None) -> CacheError:
    """Return the error for a write that failed; `needed_bytes` is the size of the new file."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    free_mb = shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free / 1e6
    return CacheError(
        "The disk is full" if full else "The embedding cache cannot be written",
        where=path,
        expected=None if needed_bytes is None or not full else f"{needed_bytes / 1e6:.1f} MB for the new file",
        found=f"{error.strerror or error} ({free_mb:.1f} MB free)",
        fix=("free some space and " if full else "see to the disk and ") + fix,
    )


def _write_header(file: h5py.File, header: Header) -> None:
    file.attrs.update({
        "format": FORMAT,
        "schema_version": RAGGED_VERSION if header.layout.ragged else POOLED_VERSION,
        "sealed": header.sealed,
        "key": header.key.digest,
        "key_ingredients": json.dumps(header.key.ingredients),
        "layer_names": json.dumps(header.layout.layer_names),
        "aliases": json.dumps(dict(header.layout.aliases)),
    })  # fmt: skip
    record = file.create_group("record")
    record.attrs.update({name: json.dumps(value, default=str) for name, value in header.attributes.items()})
    rows = header.rows
    # Fixed length, because clip ids are hashes: readable in one piece and without a heap.
    ids = [clip_id.encode() for clip_id in rows["clip_id"]]
    fixed = h5py.string_dtype("utf-8", max(map(len, ids), default=1))
    file.create_dataset("clip_id", data=np.array(ids, dtype=fixed))
    for name in ("n_frames", "duration_s"):
        file.create_dataset(name, data=rows[name].to_numpy(dtype=ROW_COLUMNS[name]))
    file.create_dataset("row_crc32", shape=len(rows), dtype=ROW_COLUMNS["row_crc32"])
    if header.layout.ragged:
        file.create_dataset("frame_offset", data=header.offsets.astype("<i8"))
    columns = [str(name) for name in rows if name not in ROW_COLUMNS and name != "path"]
    if "path" in rows:
        _write_column(file, "path", rows["path"])
    group = file.create_group("columns")
    group.attrs["order"] = json.dumps(columns)
    for column in columns:
        _write_column(group, member_name(column), rows[column])
    rejects = file.create_group("rejects")
    for column in REJECT_COLUMNS:
        _write_column(rejects, column, header.rejects[column])
    file.create_dataset("layer_checksum", shape=header.shape[0], dtype=f"S{2 * CHECKSUM_BYTES}")


def _write_column(group: h5py.Group, name: str, values: pd.Series) -> None:
    if pd.api.types.is_numeric_dtype(values):
        group.create_dataset(name, data=values.to_numpy(dtype="<f8"))
    else:
        group.create_dataset(name, data=values.tolist(), dtype=_TEXT, shape=len(values))


def _allocate(file: h5py.File, header: Header) -> int:
    """Reserve the embeddings' place, last and in one piece, and return where it begins."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind = h5py.h5t.py_create(header.key.dtype, logical=True)
    space = h5py.h5s.create_simple(header.shape)
    return h5py.h5d.create(file.id, b"embeddings", kind, space, settings).get_offset() or 0
