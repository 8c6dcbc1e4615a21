"""Checks the layout of a file: each member is checked before it is read, and errors name what differs.

A valid stamp proves that the bytes are those that were written, not that ser-probe wrote them. So presence, kind,
shape, type and size of everything that `docs/cache-format.md` describes are checked here, for all code that opens a
file: links are never followed, and no more memory is allocated than the file has bytes for.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from ser_probe.embeddings.key import STORAGES, CacheKey
from ser_probe.embeddings.store_header import REJECT_COLUMNS, ROW_COLUMNS, Header, Layout
from ser_probe.embeddings.store_members import Members, name_shape, shown
from ser_probe.embeddings.store_stamp import Stamp

FORMAT = "ser-probe embeddings"
_CHECKSUM_DIGITS = 32
_KEY_KINDS: dict[str, type] = {
    **{name: str for name in ("kind", "weights", "pooling", "precision", "storage")},
    **{name: dict for name in ("architecture", "model_input", "audio", "extra")},
    "layer_contract": int,
}
_NUMBER = (int, float, type(None))
_NAME = (str, type(None))
_RECORD_KINDS: dict[str, Any] = {
    **{name: _NAME for name in ("model", "checkpoint", "revision", "source", "audio_root", "pooling", "created_utc")},
    **{name: _NUMBER for name in ("step", "verify_error", "clips_per_s", "audio_s_per_s", "wait_share")},
    "packages": dict,
    "feature_names": list,
    "unread": list,
}


def read_version(file: h5py.File, path: Path) -> int:
    """Return the schema version of an open file.

    Raises:
        DamagedCacheError: If it does not say that it is a file of ser-probe's, and of which version.
    """
    members = Members(file, path, 0)
    format_name = members.text_attribute("format")
    if format_name != FORMAT:
        members.refuse("attribute format", FORMAT, shown(format_name))
    version = members.attribute("schema_version")
    if not isinstance(version, np.integer):
        members.refuse("attribute schema_version", "a whole number", shown(version))
    return int(version)


def read_layout(file: h5py.File, path: Path, stamp: Stamp) -> Header:
    """Return the header of an open file of a version that is read.

    Raises:
        DamagedCacheError: If anything is not as `docs/cache-format.md` says: file, place, expected, found.
    """
    members = Members(file, path, stamp.size)
    sealed = members.attribute("sealed")
    if not isinstance(sealed, np.bool_):
        members.refuse("attribute sealed", "true or false", shown(sealed))
    key = _read_key(members)
    layer_names, aliases = _read_layers(members)
    clip_ids = _read_clip_ids(members)
    n_clips = len(clip_ids)
    if sealed and not n_clips:
        members.refuse("dataset clip_id", "at least one clip", "none")
    ragged = "frame_offset" in file
    rows = pd.DataFrame({"clip_id": clip_ids})
    for name in list(ROW_COLUMNS)[1:]:
        rows[name] = members.numbers(name, (n_clips,), ROW_COLUMNS[name])
    _check_rows(members, rows, ragged)
    layout = Layout(layer_names, 0, aliases, ragged)
    offsets = layout.offsets(rows["n_frames"])
    if ragged and not np.array_equal(members.numbers("frame_offset", (n_clips + 1,), "<i8"), offsets):
        members.refuse("dataset frame_offset", "where the frames that n_frames counts begin", "other places")
    if sealed or "path" in file:
        rows["path"] = members.text("path", (n_clips,))
    start, width = _find_embeddings(members, (len(layer_names), int(offsets[-1])), key.dtype, stamp)
    columns = _read_columns(members, n_clips)
    for name in {*columns} & {*rows}:
        members.refuse(f"dataset columns/{name}", "columns of the manifest", f"{name}, which the file has already")
    return Header(
        key=key,
        layout=dataclasses.replace(layout, width=width),
        rows=pd.concat([rows, pd.DataFrame(columns, index=rows.index)], axis=1) if columns else rows,
        rejects=_read_rejects(members, set(clip_ids) if sealed else set()),
        sealed=bool(sealed),
        attributes=_read_record(members, width),
        checksums=_read_checksums(members, layout, bool(sealed)),
        start=start,
    )


def member_name(column: str) -> str:
    """Return a column's name as one HDF5 name: a slash would open a group, and '' and '.' are the group itself."""
    special = {"": "%", ".": "%2E"}
    return special.get(column) or column.replace("%", "%25").replace("/", "%2F")


def _read_key(members: Members) -> CacheKey:
    ingredients = members.json("key_ingredients", dict, "the key's ingredients")
    place = "attribute key_ingredients"
    required = [
        field.name for field in dataclasses.fields(CacheKey)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]  # fmt: skip
    if wrong := [name for name in required if name not in ingredients]:
        members.refuse(place, ", ".join(required), f"without {', '.join(wrong)}")
    for name, value in ingredients.items():
        if name not in _KEY_KINDS:
            members.refuse(place, ", ".join(_KEY_KINDS), name)
        if type(value) is not _KEY_KINDS[name]:
            members.refuse(place, f"{name}: {_name_kind(_KEY_KINDS[name])}", shown(value))
    if ingredients.get("storage", "float32") not in STORAGES:
        members.refuse(place, f"storage: {' or '.join(STORAGES)}", shown(ingredients["storage"]))
    key = CacheKey(**ingredients)
    digest = members.read(place, "finite numbers", lambda: key.digest)
    if members.text_attribute("key") != digest:
        members.refuse("attribute key", f"{digest}, the ingredients' SHA-256", shown(members.attribute("key")))
    return key


def _read_layers(members: Members) -> tuple[tuple[str, ...], dict[str, str]]:
    expected = "a list of the layers' names, each once"
    names = members.json("layer_names", list, expected)
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        members.refuse("attribute layer_names", f"JSON: {expected}", shown(names))
    expected = "further names of stored layers"
    aliases = members.json("aliases", dict, expected)
    wrong = [f"{name}: {shown(layer)}" for name, layer in aliases.items() if layer not in names or name in names]
    if wrong:
        members.refuse("attribute aliases", f"JSON: {expected}", ", ".join(wrong))
    return tuple(names), aliases


def _read_clip_ids(members: Members) -> np.ndarray:
    ids = members.text("clip_id", (None,))
    if "" in ids:
        members.refuse("dataset clip_id", "an id for every clip", f"none in row {list(ids).index('')}")
    if len(set(ids)) < len(ids):
        members.refuse(
            "dataset clip_id", "each clip once", f"{pd.Series(ids)[pd.Series(ids).duplicated()].iloc[0]} twice"
        )
    return ids


def _check_rows(members: Members, rows: pd.DataFrame, ragged: bool) -> None:
    least = 1 if ragged else 0
    for name, low in (("n_frames", least), ("duration_s", 0.0)):
        wrong = ~(np.isfinite(rows[name]) & (rows[name] >= low))
        if wrong.any():
            where = int(np.argmax(wrong))
            members.refuse(f"dataset {name}", f"{low} or more", f"{rows[name].iloc[where]} in row {where}")


def _find_embeddings(members: Members, shape: tuple[int, int], dtype: np.dtype, stamp: Stamp) -> tuple[int, int]:
    """Return where the embeddings begin, and their width."""
    dataset = members.dataset("embeddings", (*shape, None), dtype)
    if dataset.id.get_create_plist().get_layout() != h5py.h5d.CONTIGUOUS or not dataset.shape[2]:
        members.refuse(
            "dataset embeddings", "one contiguous block of at least one value a vector", name_shape(dataset.shape)
        )
    start = dataset.id.get_offset() or 0
    n_bytes = math.prod(dataset.shape) * dtype.itemsize
    if n_bytes and stamp.hole != (start, start + n_bytes):
        members.refuse(
            "the stamp", f"embeddings from byte {start} to {start + n_bytes}", f"{stamp.hole[0]} to {stamp.hole[1]}"
        )
    return start, int(dataset.shape[2])


def _read_columns(members: Members, n_clips: int) -> dict[str, np.ndarray]:
    group = members.group("columns")
    expected = "a list of the columns' names, each once"
    order = group.json("order", list, expected)
    if not all(isinstance(name, str) for name in order) or len(set(order)) < len(order):
        group.refuse("attribute columns/order", f"JSON: {expected}", shown(order))
    if unnamed := sorted({*group.holder} - {member_name(name) for name in order}):
        group.refuse("attribute columns/order", "the names of all columns", f"without {', '.join(unnamed)}")
    columns = {}
    for name in order:
        member = member_name(name)
        is_text = h5py.check_string_dtype(group.dataset(member, (n_clips,), None).dtype) is not None
        columns[name] = group.text(member, (n_clips,)) if is_text else group.numbers(member, (n_clips,), "<f8")
    return columns


def _read_rejects(members: Members, stored: set[str]) -> pd.DataFrame:
    group = members.group("rejects")
    ids = group.text("clip_id", (None,))
    rejects = {name: group.text(name, (len(ids),)) for name in REJECT_COLUMNS}
    if both := sorted({*ids} & stored):
        group.refuse("dataset rejects/clip_id", "clips that are not stored", both[0])
    return pd.DataFrame(rejects)


def _read_record(members: Members, width: int) -> dict[str, Any]:
    group = members.group("record")
    record = {str(name): group.json(name, object, "a value") for name in group.holder.attrs}
    for name, kinds in _RECORD_KINDS.items():
        value = record.get(name)
        if name in record and (not isinstance(value, kinds) or isinstance(value, bool)):
            group.refuse(f"attribute record/{name}", f"JSON: {_name_kind(kinds)}", shown(value))
    names = record.get("feature_names")
    if names is not None and not (all(isinstance(name, str) for name in names) and len(names) == width):
        group.refuse("attribute record/feature_names", f"JSON: {width} names", f"{len(names)} values: {shown(names)}")
    for clip in record.get("unread", []):
        if not isinstance(clip, Mapping) or not all(isinstance(clip.get(name), str) for name in REJECT_COLUMNS):
            group.refuse("attribute record/unread", f"JSON: clips with {', '.join(REJECT_COLUMNS)}", shown(clip))
    return record


def _read_checksums(members: Members, layout: Layout, sealed: bool) -> tuple[str, ...]:
    sums = members.text("layer_checksum", (len(layout.layer_names),))
    digits = 0 if not sealed else 8 if layout.ragged else _CHECKSUM_DIGITS
    for text in sums:
        if len(text) != digits or not set(text) <= set("0123456789abcdef"):
            members.refuse("dataset layer_checksum", f"{digits} hex digits a layer", shown(text))
    return tuple(sums)


def _name_kind(kinds: Any) -> str:
    names = {str: "a text", dict: "names with values", list: "a list", int: "a number", type(None): "null"}
    return " or ".join(names[kind] for kind in (kinds if isinstance(kinds, tuple) else (kinds,)) if kind is not float)
