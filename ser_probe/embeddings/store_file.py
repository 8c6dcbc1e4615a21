"""The HDF5 layout of finished files and shards, which is one and the same: the door to h5py.

The layout is described in `docs/cache-format.md`. A file is written once, from start to end, and read without
locks; what is written when, and what becomes of shards, is for `shards` and `seal`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import pandas as pd

from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.store_image import MemoryFile
from ser_probe.embeddings.store_stamp import DamagedCacheError, append_stamp, check_stamp
from ser_probe.errors import CacheError, did_you_mean

FORMAT = "ser-probe embeddings"
SCHEMA_VERSION = 1
ROW_COLUMNS: dict[str, Any] = {"clip_id": object, "n_frames": "<i4", "duration_s": "<f8", "row_crc32": "<u4"}
REJECT_COLUMNS = ("clip_id", "path", "reason")
_CHECKSUM_BYTES = 16
_TEXT = h5py.string_dtype("utf-8")


@dataclass(frozen=True)
class Layout:
    """The shape of one clip's embeddings.

    Args:
        layer_names: Names of the stored layers, in order.
        width: Values per layer, D.
        aliases: Names that stand for a stored layer, such as `final` for the last block's output.
    """

    layer_names: tuple[str, ...]
    width: int
    aliases: Mapping[str, str] = field(default_factory=dict)

    def index(self, name: str) -> int:
        """Return a layer's place in the file; an alias resolves.

        Raises:
            CacheError: If there is no such layer.
        """
        try:
            return self.layer_names.index(self.aliases.get(name, name))
        except ValueError:
            raise CacheError(
                "The cache has no such layer",
                expected=", ".join([*self.layer_names, *self.aliases]),
                found=name,
                fix=did_you_mean(name, [*self.layer_names, *self.aliases]),
            ) from None


@dataclass(frozen=True)
class Header:
    """All of a file but the embeddings.

    Args:
        key: What the values depend on.
        layout: Layers and width.
        rows: One row per clip: `ROW_COLUMNS`, and in a finished file `path` and the manifest's columns.
        rejects: Clips that could not be embedded: `REJECT_COLUMNS`.
        sealed: True in a finished file, False in a shard.
        attributes: How the file was made, JSON-like.
        checksums: BLAKE2b of each layer's bytes, hex; filled when read.
        offset: Where the embeddings begin in the file; filled when read.
    """

    key: CacheKey
    layout: Layout
    rows: pd.DataFrame
    rejects: pd.DataFrame
    sealed: bool
    attributes: Mapping[str, Any] = field(default_factory=dict)
    checksums: tuple[str, ...] = ()
    offset: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers, clips, width."""
        return len(self.layout.layer_names), len(self.rows), self.layout.width

    @property
    def layer_bytes(self) -> int:
        """Bytes of one layer."""
        return len(self.rows) * self.layout.width * self.key.dtype.itemsize


def write_file(path: Path, header: Header, layers: Iterable[np.ndarray]) -> None:
    """Write a file under a temporary name; only one layer is in memory at a time.

    HDF5 brings the process down when a disk fills up beneath it, so it writes its part to memory, and all
    bytes go to disk by plain writes, which fail in an orderly way.

    Args:
        path: Where to write.
        header: All but the embeddings.
        layers: The layers in order, each of shape [N, D] and of the storage's type.

    Raises:
        OSError: If the disk is full or not writable.
    """
    image = MemoryFile()
    with path.open("w+b") as stream:
        with h5py.File(image, "w") as file:
            _write_header(file, header)
            offset = _allocate(file, header)
            digests = []
            stream.seek(offset)
            for layer in layers:
                digests.append(layer_checksum(layer))
                stream.write(_bytes_of(layer))
            file["layer_checksum"][...] = np.array(digests, dtype="S")
        hole = (offset, offset + len(digests) * header.layer_bytes)
        image.copy_to(stream, hole=hole)
        append_stamp(stream, hole=hole)


def read_header(stream: BinaryIO, path: Path) -> Header:
    """Read all but the embeddings from an open file.

    Raises:
        DamagedCacheError: If the bytes are not those of a whole file that ser-probe wrote.
        CacheError: If the file is of another schema version.
    """
    check_stamp(stream, path)
    with h5py.File(stream, "r") as file:
        version = int(file.attrs["schema_version"])
        if version == SCHEMA_VERSION:
            return _parse_header(file)
    raise CacheError(
        "The embedding cache has another schema version",
        where=path,
        expected=SCHEMA_VERSION,
        found=version,
        fix="delete it and extract again" if version < SCHEMA_VERSION else "update ser-probe",
    )


def read_layer(stream: BinaryIO, header: Header, index: int) -> np.ndarray:
    """Return one layer as stored, shape [N, D]: one contiguous read that needs neither HDF5 nor a lock.

    The position of `stream` is not used, so threads and forked workers may share it.
    """
    layer = np.empty(header.shape[1:], dtype=header.key.dtype)
    buffer = _bytes_of(layer)
    start, done = header.offset + index * header.layer_bytes, 0
    while done < len(buffer):
        count = os.preadv(stream.fileno(), [buffer[done:]], start + done)
        if count == 0:
            raise DamagedCacheError("The embedding cache is cut short", where=getattr(stream, "name", None))
        done += count
    return layer


def layer_checksum(layer: np.ndarray) -> str:
    """Return the BLAKE2b of a layer's bytes, hex."""
    return blake2b(_bytes_of(layer), digest_size=_CHECKSUM_BYTES).hexdigest()


def begin_checksums(clip_ids: Iterable[str]) -> list[int]:
    """Return the CRC-32 of each clip's id, so that values under another clip's id do not pass."""
    return [zlib.crc32(clip_id.encode()) for clip_id in clip_ids]


def extend_checksums(sums: list[int], layer: np.ndarray) -> None:
    """Take a layer, shape [N, D], into the clips' checksums; layers come in their order."""
    for row, values in enumerate(layer):
        sums[row] = zlib.crc32(values, sums[row])


def no_rows() -> pd.DataFrame:
    """Return a row table without rows."""
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in ROW_COLUMNS.items()})


def no_rejects() -> pd.DataFrame:
    """Return a table of rejects without rows."""
    return pd.DataFrame({name: pd.Series(dtype=object) for name in REJECT_COLUMNS})


def plain_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return columns as the file holds them: numbers as float64, anything else as text, missing text empty."""
    plain = {}
    for name, values in table.items():
        if pd.api.types.is_numeric_dtype(values):
            plain[str(name)] = values.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            texts = ["" if pd.isna(value) else str(value).replace("\0", "\ufffd") for value in values]
            plain[str(name)] = np.array(texts, dtype=object)
    return pd.DataFrame({name: pd.Series(values, table.index) for name, values in plain.items()}, table.index)


def check_space(path: Path, header: Header) -> None:
    """Refuse to begin a file that the disk cannot hold.

    Raises:
        OSError: If there is less space than the embeddings need.
    """
    if shutil.disk_usage(path.parent).free < len(header.layout.layer_names) * header.layer_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def disk_error(error: OSError, path: Path, fix: str) -> CacheError:
    """Return the message for a write that failed."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    free_mb = shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free / 1e6
    return CacheError(
        "The disk is full" if full else "The embedding cache cannot be written",
        where=path,
        found=f"{error.strerror or error} ({free_mb:.1f} MB free)",
        fix=("free some space and " if full else "see to the disk and ") + fix,
    )


# ---------------------------------------------------------------------------------------------------- layout


def _write_header(file: h5py.File, header: Header) -> None:
    file.attrs.update({
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "sealed": header.sealed,
        "key": header.key.digest,
        "key_ingredients": json.dumps(header.key.ingredients),
        "layer_names": json.dumps(header.layout.layer_names),
        "aliases": json.dumps(dict(header.layout.aliases)),
    })  # fmt: skip
    record = file.create_group("record")
    record.attrs.update({name: json.dumps(value, default=str) for name, value in header.attributes.items()})
    rows = header.rows
    # Fixed length, because a clip id is a hash: readable at once and without a heap.
    ids = [clip_id.encode() for clip_id in rows["clip_id"]]
    fixed = h5py.string_dtype("utf-8", max(map(len, ids), default=1))
    file.create_dataset("clip_id", data=np.array(ids, dtype=fixed))
    for name, dtype in list(ROW_COLUMNS.items())[1:]:
        file.create_dataset(name, data=rows[name].to_numpy(dtype=dtype))
    columns = [str(name) for name in rows if name not in ROW_COLUMNS and name != "path"]
    if "path" in rows:
        _write_column(file, "path", rows["path"])
    group = file.create_group("columns")
    group.attrs["order"] = json.dumps(columns)
    for column in columns:
        _write_column(group, _member(column), rows[column])
    rejects = file.create_group("rejects")
    for column in REJECT_COLUMNS:
        _write_column(rejects, column, header.rejects[column])
    file.create_dataset("layer_checksum", shape=header.shape[0], dtype=f"S{2 * _CHECKSUM_BYTES}")


def _write_column(group: h5py.Group, name: str, values: pd.Series) -> None:
    if pd.api.types.is_numeric_dtype(values):
        group.create_dataset(name, data=values.to_numpy(dtype="<f8"))
    else:
        group.create_dataset(name, data=values.tolist(), dtype=_TEXT, shape=len(values))


def _member(column: str) -> str:
    """Return a column's name as one HDF5 name: a slash would open a group, and '' and '.' are the group itself."""
    special = {"": "%", ".": "%2E"}
    return special.get(column) or column.replace("%", "%25").replace("/", "%2F")


def _allocate(file: h5py.File, header: Header) -> int:
    """Reserve the embeddings' place, last and in one piece, and return where it begins."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind = h5py.h5t.py_create(header.key.dtype, logical=True)
    space = h5py.h5s.create_simple(header.shape)
    return h5py.h5d.create(file.id, b"embeddings", kind, space, settings).get_offset() or 0


def _parse_header(file: h5py.File) -> Header:
    attrs = file.attrs
    embeddings = file["embeddings"]
    layer_names = tuple(json.loads(attrs["layer_names"]))
    rows = pd.DataFrame({"clip_id": _read_column(file["clip_id"])})
    for name in list(ROW_COLUMNS)[1:]:
        rows[name] = file[name][...]
    if "path" in file:
        rows["path"] = _read_column(file["path"])
    group = file["columns"]
    extra = {name: _read_column(group[_member(name)]) for name in json.loads(group.attrs["order"])}
    return Header(
        key=CacheKey(**json.loads(attrs["key_ingredients"])),
        layout=Layout(layer_names, int(embeddings.shape[2]), json.loads(attrs["aliases"])),
        rows=pd.concat([rows, pd.DataFrame(extra, index=rows.index)], axis=1) if extra else rows,
        rejects=pd.DataFrame({name: _read_column(file["rejects"][name]) for name in REJECT_COLUMNS}),
        sealed=bool(attrs["sealed"]),
        attributes={name: json.loads(value) for name, value in file["record"].attrs.items()},
        checksums=tuple(file["layer_checksum"].asstr()[...]),
        offset=embeddings.id.get_offset() or 0,
    )


def _read_column(dataset: h5py.Dataset) -> np.ndarray:
    return dataset.asstr()[...] if dataset.dtype.kind in "OS" else dataset[...]


def _bytes_of(layer: np.ndarray) -> memoryview:
    """Return a view of an array's bytes; an empty array has none to view."""
    return memoryview(np.ascontiguousarray(layer).data).cast("B") if layer.size else memoryview(b"")
