"""Mutators of HDF5 files: what lies in a file is changed through h5py, as another program would.

The stamp behind a file of ours is written anew, so that a change reaches what reads the layout. A change of values
alone, which no reader can tell from a file that was made so, is described as `value: ...`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ser_probe.embeddings.store_stamp import append_stamp
from tests.mutation import Mutator, NotApplicableError, change_value

_HUGE = (1 << 31, 1 << 40, (1 << 63) - 1)
Change = Callable[[h5py.File, random.Random], str]


def restamp(path: Path) -> None:
    """Write the stamp that ser-probe would: it hashes what is there now around the embeddings."""
    with h5py.File(path, "r") as file:
        place = file.get("embeddings", getlink=True)
        there = isinstance(place, h5py.HardLink) and isinstance(file["embeddings"], h5py.Dataset)
        start = (file["embeddings"].id.get_offset() or 0) if there else 0
        stop = start + (file["embeddings"].id.get_storage_size() if start else 0)
    with path.open("r+b") as stream:
        append_stamp(stream, hole=(start, stop))


def _stamped(change: Change) -> Mutator:
    def mutator(path: Path, rng: random.Random) -> str:
        whole = path.read_bytes()
        try:
            with h5py.File(path, "r+") as file:
                what = change(file, rng)
            restamp(path)
        except (
            NotApplicableError,
            OSError,
            ValueError,
            TypeError,
            OverflowError,
        ) as error:  # not every change fits every dataset
            path.write_bytes(whole)
            raise NotApplicableError from error
        return what

    return mutator


def _members(file: h5py.File, kind: type) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, kind) else None)
    if not found:
        raise NotApplicableError
    return sorted(found)


def _draw_attribute(file: h5py.File, rng: random.Random) -> tuple[h5py.Group, str, str]:
    holders = [file, *(file[name] for name in _members(file, h5py.Group))]
    places = [(holder, name) for holder in holders for name in sorted(holder.attrs)]
    if not places:
        raise NotApplicableError
    holder, name = rng.choice(places)
    return holder, name, f"attribute {holder.name}@{name}"


def _delete_attribute(file: h5py.File, rng: random.Random) -> str:
    holder, name, what = _draw_attribute(file, rng)
    del holder.attrs[name]
    return f"{what} deleted"


def _change_attribute(file: h5py.File, rng: random.Random) -> str:
    """Change what is in an attribute that holds JSON."""
    holder, name, what = _draw_attribute(file, rng)
    try:
        value = json.loads(holder.attrs[name])
    except (TypeError, ValueError) as error:
        raise NotApplicableError from error
    changed, how, raw = change_value(value, rng)
    text = json.dumps(changed)
    if raw is not None:
        text = text.replace('"place-of-what-no-writer-writes"', json.dumps(raw) if "twice" in how else raw)
    holder.attrs[name] = text[:60_000]  # what fits an attribute
    return f"{what} in JSON: {how}"


def _retype_attribute(file: h5py.File, rng: random.Random) -> str:
    holder, name, what = _draw_attribute(file, rng)
    values: dict[str, Any] = {
        "no JSON": "{not JSON",
        "empty": "",
        "a number": 7,
        "minus one": -1,
        "NaN": float("nan"),
        "true": np.True_,
        "bytes that are no text": np.bytes_(b"\xff\xfe"),
        "fixed-length text": np.bytes_(b'{"a": 1}'),
        "a list of numbers": np.arange(5),
        "a list of texts": ["0", "1", "2"],
        "an empty array": np.zeros(0),
        "nothing": h5py.Empty("f4"),
        "JSON null": "null",
        "a huge number": np.uint64(2**64 - 1),
        "a reference": file.ref,
        "a compound": np.array((1, 2.0), dtype=[("a", "<i4"), ("b", "<f8")]),
    }
    kind = rng.choice(sorted(values))
    holder.attrs[name] = values[kind]
    return f"{what} is {kind}"


def _delete_member(file: h5py.File, rng: random.Random) -> str:
    name = rng.choice(_members(file, h5py.HLObject))
    del file[name]
    return f"{name} deleted"


def _replace(file: h5py.File, rng: random.Random, make: Callable[[str, np.ndarray], str]) -> str:
    """Put something else in the place of a dataset; `make` is given its name and its values."""
    name = rng.choice(_members(file, h5py.Dataset))
    values = file[name][()]
    del file[name]
    return f"dataset {name} {make(name, values)}"


def _retype(file: h5py.File, rng: random.Random) -> str:
    kinds: dict[str, Any] = {
        "int8": "i1", "int64": "<i8", "uint64": "<u8", "float16": "<f2", "float32": "<f4", "float64": "<f8",
        "big-endian float": ">f4", "big-endian integers": ">i4", "complex": "c8", "fixed text": "S8",
        "text": h5py.string_dtype(), "truth values": "?", "pairs": [("a", "<i4"), ("b", "<f4")],
        "lists": h5py.vlen_dtype(np.dtype("<f4")), "opaque": "V4", "references": h5py.ref_dtype,
        "enumeration": h5py.enum_dtype({"a": 0, "b": 1}), "arrays": "(3,)<f4",
    }  # fmt: skip
    kind = rng.choice(sorted(kinds))

    def make(name: str, values: np.ndarray) -> str:
        if np.issubdtype(values.dtype, np.number) and ("int" in kind or "float" in kind):
            with np.errstate(all="ignore"):
                file.create_dataset(name, data=values.astype(kinds[kind]))
        else:
            file.create_dataset(name, shape=np.shape(values), dtype=kinds[kind])
        return f"is of {kind}"

    return _replace(file, rng, make)


def _reshape(file: h5py.File, rng: random.Random) -> str:
    how = rng.choice(["one less", "one more", "empty", "scalar", "a column", "a row", "flat", "turned", "no values"])

    def make(name: str, values: np.ndarray) -> str:
        values = np.asarray(values)
        first = values.reshape(-1)[:1]
        changed: Any = {
            "one less": lambda: values[..., :-1] if values.ndim > 1 and rng.random() < 0.5 else values[:-1],
            "one more": lambda: np.concatenate([values, values[-1:]]) if values.ndim else values,
            "empty": lambda: values[:0] if values.ndim else values,
            "scalar": lambda: first[0] if len(first) else 0,
            "a column": lambda: values[..., None],
            "a row": lambda: values[None],
            "flat": lambda: values.reshape(-1),
            "turned": lambda: np.ascontiguousarray(values.T),
            "no values": lambda: h5py.Empty("f4"),
        }[how]()
        dtype = h5py.string_dtype() if values.dtype == object else None
        if isinstance(changed, h5py.Empty):
            file.create_dataset(name, data=changed)
        else:
            file.create_dataset(name, data=changed, dtype=dtype)
        return f"is {how}"

    return _replace(file, rng, make)


def _link(file: h5py.File, rng: random.Random) -> str:
    kinds: dict[str, Any] = {
        "an external link": h5py.ExternalLink("other.h5", "/embeddings"),
        "an external link to itself": h5py.ExternalLink(Path(file.filename).name, "/embeddings"),
        "an external link to a device": h5py.ExternalLink("/dev/zero", "/x"),
        "a dangling link": h5py.SoftLink("/nowhere"),
        "a link in a circle": None,
        "a link to another dataset": h5py.SoftLink("/n_frames"),
    }
    kind = rng.choice(sorted(kinds))
    name = rng.choice(_members(file, h5py.HLObject))
    del file[name]
    file[name] = kinds[kind] or h5py.SoftLink(f"/{name}")
    return f"{name} is {kind}"


def _swap_kind(file: h5py.File, rng: random.Random) -> str:
    name = rng.choice(_members(file, h5py.HLObject))
    is_group = isinstance(file[name], h5py.Group)
    del file[name]
    if is_group:
        file[name] = np.arange(3)
    elif rng.random() < 0.5:
        file.create_group(name).attrs["order"] = "[]"
    else:
        file[name] = np.dtype("<f4")  # a named type
    return f"{name} is another kind of object"


def _inflate(file: h5py.File, rng: random.Random) -> str:
    """Give a dataset a size that no memory holds, of which nothing is stored."""
    kind, size = rng.choice(["chunked", "deflated", "contiguous", "virtual"]), rng.choice(_HUGE)

    def make(name: str, values: np.ndarray) -> str:
        values = np.asarray(values)
        shape = tuple(min(size, 2**62 // max(int(np.prod(values.shape[1:])), 1) // 16) if axis == 0 else length
                      for axis, length in enumerate(values.shape)) or (size // 16,)  # fmt: skip
        dtype = h5py.string_dtype() if values.dtype == object else values.dtype
        if kind == "virtual":
            layout = h5py.VirtualLayout(shape, dtype)
            layout[:1] = h5py.VirtualSource("other.h5", "x", (1, *shape[1:]))
            file.create_virtual_dataset(name, layout)
        elif kind == "contiguous":
            file.create_dataset(name, shape, dtype)
        else:
            chunks = tuple(min(length, 64) or 1 for length in shape)
            file.create_dataset(name, shape, dtype, chunks=chunks, compression="gzip" if kind == "deflated" else None)
        return f"is {kind} and {shape} large"

    return _replace(file, rng, make)


def _store_elsewhere(file: h5py.File, rng: random.Random) -> str:
    """Store the same values in another way: chunked, filtered, virtual, or in a file beside."""
    kind = rng.choice(["chunked", "deflated", "shuffled", "with checksums", "virtual", "in another file"])

    def make(name: str, values: np.ndarray) -> str:
        values = np.asarray(values)
        dtype = h5py.string_dtype() if values.dtype == object else values.dtype
        ways: dict[str, dict[str, Any]] = {
            "chunked": {"chunks": True}, "deflated": {"compression": "gzip"}, "shuffled": {"shuffle": True},
            "with checksums": {"fletcher32": True}, "in another file": {"external": [("beside.bin", 0, 1 << 20)]},
        }  # fmt: skip
        if not values.size or (values.dtype == object and kind in ("in another file", "virtual")):
            raise NotApplicableError
        if kind == "virtual":
            file[f"{name} source"] = values
            layout = h5py.VirtualLayout(values.shape, dtype)
            layout[...] = h5py.VirtualSource(file[f"{name} source"])
            file.create_virtual_dataset(name, layout)
        else:
            file.create_dataset(name, data=None if kind == "in another file" else values, shape=values.shape,
                                dtype=dtype, **ways[kind])  # fmt: skip
        return f"is {kind}"

    return _replace(file, rng, make)


def _change_values(file: h5py.File, rng: random.Random) -> str:
    name = rng.choice(_members(file, h5py.Dataset))
    dataset = file[name]
    if not dataset.size or dataset.ndim == 0:
        raise NotApplicableError
    kind = dataset.dtype.kind
    numbers = [float("nan"), float("inf"), -1.0, 1e300] if kind == "f" else [-1, 0, 2**31 - 1]
    texts = ["", "x", "a\0b", "\u202e", b"\xff\xfe", dataset[-1] if dataset.ndim == 1 else ""]
    value: Any = rng.choice(texts if kind in "OS" else numbers)
    everywhere = rng.random() < 0.2
    with np.errstate(over="ignore"):
        dataset[... if everywhere else 0] = np.float64(value).astype(dataset.dtype) if kind == "f" else value
    return f"value: {name}{'' if everywhere else '[0]'} = {value!r}"


def _add(file: h5py.File, rng: random.Random) -> str:
    name = rng.choice(["more", "columns/more", "rejects/more", "record/more", "frame_offset", "path2"])
    if name in file or name.partition("/")[0] not in (*file, name):
        raise NotApplicableError
    if rng.random() < 0.5:
        file[name] = np.arange(4)
    else:
        file.create_group(name)
    return f"{name} added"


HDF5: dict[str, Mutator] = {
    "delete attribute": _stamped(_delete_attribute),
    "change attribute": _stamped(_change_attribute),
    "retype attribute": _stamped(_retype_attribute),
    "delete member": _stamped(_delete_member),
    "retype": _stamped(_retype),
    "reshape": _stamped(_reshape),
    "link": _stamped(_link),
    "swap kind": _stamped(_swap_kind),
    "inflate": _stamped(_inflate),
    "store elsewhere": _stamped(_store_elsewhere),
    "change values": _stamped(_change_values),
    "add": _stamped(_add),
}
