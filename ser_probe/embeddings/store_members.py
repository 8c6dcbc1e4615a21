"""Reads an HDF5 file of unknown origin: each member is checked before it is read, and errors name it.

Links are never followed, so no other file is opened, and no more memory is allocated than the file has bytes for. What
the members must be is in `store_layout`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import h5py
import numpy as np

from ser_probe.embeddings.store_stamp import DamagedCacheError
from ser_probe.files import parse_json

TEXT = "text"
_SHOWN_CHARACTERS = 60
_LAYOUTS = {h5py.h5d.CONTIGUOUS: "contiguous", h5py.h5d.COMPACT: "compact", h5py.h5d.CHUNKED: "chunked"}
T = TypeVar("T")


@dataclass(frozen=True)
class Members:
    """The members of a group of an open file, checked before they are read.

    Args:
        holder: The file or the group.
        path: The file.
        size: Bytes of its HDF5 part.
        inside: Name of the group with a slash; empty for the file itself.
    """

    holder: h5py.Group
    path: Path
    size: int
    inside: str = ""

    def refuse(self, place: str, expected: object, found: object) -> NoReturn:
        """Refuse the file for a difference from the layout.

        Raises:
            DamagedCacheError: Always.
        """
        raise DamagedCacheError(
            "The embedding file is not laid out as one of ser-probe's",
            where=f"{self.path}, {place}",
            expected=expected,
            found=found,
            fix="delete it and extract again; docs/cache-format.md says what is in a file",
        )

    def read(self, place: str, expected: object, reading: Callable[[], T]) -> T:
        """Return what is read; refuse the file if HDF5 or a decoder cannot read it."""
        try:
            return reading()
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # raised by the disk, not by HDF5
                raise
            self.refuse(place, expected, f"what cannot be read: {' '.join(str(error).split())}")

    def attribute(self, name: str) -> Any:
        """Return an attribute as HDF5 gives it."""
        place = f"attribute {self.inside}{name}"
        if name not in self.holder.attrs:
            self.refuse(place, "an attribute of that name", "none")
        return self.read(place, "a value", lambda: self.holder.attrs[name])

    def text_attribute(self, name: str) -> str:
        """Return an attribute that is one text."""
        value = self.attribute(name)
        if not isinstance(value, str):
            self.refuse(f"attribute {self.inside}{name}", "a text", shown(value))
        return value

    def json(self, name: str, kind: Any, expected: str) -> Any:
        """Return the JSON value of an attribute."""
        text, place = self.text_attribute(name), f"attribute {self.inside}{name}"
        try:
            value = parse_json(text)
        except ValueError as error:
            self.refuse(place, f"JSON: {expected}", str(error))
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not object):
            self.refuse(place, f"JSON: {expected}", shown(value))
        return value

    def group(self, name: str) -> Members:
        """Return the members of a group within this one."""
        holder = self._member(name, h5py.Group, f"group {self.inside}{name}", "a group")
        return Members(holder, self.path, self.size, f"{self.inside}{name}/")

    def dataset(self, name: str, shape: tuple[int | None, ...], kind: Any) -> h5py.Dataset:
        """Return a dataset whose values may be read.

        Args:
            name: Its name in the group.
            shape: Its shape; None stands for any length.
            kind: Its numpy type, little-endian; `text` for text, None for float64 or text.
        """
        place = f"dataset {self.inside}{name}"
        dataset = self._member(name, h5py.Dataset, place, "a dataset")
        actual = self.read(place, "a dataset", lambda: (dataset.shape, dataset.dtype))
        self._check_type(place, kind, actual[1])
        self._check_shape(place, shape, actual[0])
        self.read(place, "values in one piece within the file", lambda: self._check_place(dataset, place))
        return dataset

    def numbers(self, name: str, shape: tuple[int, ...], kind: Any) -> np.ndarray:
        """Return the numbers of a dataset."""
        dataset = self.dataset(name, shape, np.dtype(kind))
        return self.read(f"dataset {self.inside}{name}", "numbers", lambda: dataset[...])

    def text(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Return the texts of a dataset."""
        dataset = self.dataset(name, shape, TEXT)
        return self.read(f"dataset {self.inside}{name}", "text in UTF-8", lambda: dataset.asstr()[...])

    def _member(self, name: str, kind: type, place: str, expected: str) -> Any:
        link = self.holder.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
            where = f"{link.filename} " if isinstance(link, h5py.ExternalLink) else ""
            self.refuse(place, expected, f"a link to {where}{link.path}, and links are not followed")
        if link is None:
            self.refuse(place, expected, "nothing of that name")
        member = self.read(place, expected, lambda: self.holder[name])
        if not isinstance(member, kind):
            self.refuse(place, expected, f"a {type(member).__name__.lower()}")
        return member

    def _check_type(self, place: str, kind: Any, found: np.dtype) -> None:
        text = h5py.check_string_dtype(found) is not None
        right = text if kind == TEXT else found == kind if kind is not None else text or found == np.dtype("<f8")
        if not right:
            expected = TEXT if kind == TEXT else "float64 or text" if kind is None else name_type(kind)
            self.refuse(place, expected, TEXT if text else name_type(found))

    def _check_shape(self, place: str, shape: tuple[int | None, ...], found: tuple[int, ...] | None) -> None:
        if found is None:
            self.refuse(place, f"shape {name_shape(shape)}", "no values")
        fits = len(found) == len(shape) and all(want in (None, has) for want, has in zip(shape, found, strict=True))
        if not fits:
            self.refuse(place, f"shape {name_shape(shape)}", name_shape(found))

    def _check_place(self, dataset: h5py.Dataset, place: str) -> None:
        """Refuse values that are not stored plainly in the file: a stated size alone may exceed any memory."""
        settings, low = dataset.id.get_create_plist(), dataset.id
        kind = _LAYOUTS.get(settings.get_layout(), "virtual")
        n_bytes = math.prod(dataset.shape) * low.get_type().get_size()
        expected = f"{n_bytes:,} bytes in one piece within the file, not filtered"
        if kind in ("chunked", "virtual"):
            self.refuse(place, expected, f"a {kind} dataset")
        if settings.get_external_count():
            self.refuse(place, expected, "values in another file")
        if settings.get_nfilters():
            self.refuse(place, expected, "filtered values")
        start = low.get_offset() if kind == "contiguous" and n_bytes else 0
        if low.get_storage_size() < n_bytes or start is None or start + n_bytes > self.size:
            self.refuse(place, expected, f"{low.get_storage_size():,} bytes, and a file of {self.size:,}")


def shown(value: Any) -> str:
    """Return what was found, for a message: numbers and texts as they stand in JSON, of long ones the beginning."""
    if isinstance(value, h5py.Empty):
        return "no value"
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def name_type(dtype: np.dtype) -> str:
    """Return a type's name for a message."""
    if dtype.kind in "biufc":
        return ("big-endian " if dtype.str.startswith(">") else "") + dtype.name
    return {"V": "a compound or opaque type", "O": "lists or references"}.get(dtype.kind, "another type")


def name_shape(shape: tuple[int | None, ...]) -> str:
    """Return a shape for a message; None stands for any length."""
    return " x ".join("any" if length is None else str(length) for length in shape) or "one value"
