"""The content of a file besides its embeddings: layers, clips, rejects, key, and where each clip's values are.

A file is made of vectors, layer after layer. A pooled file has one vector a clip; a ragged one has the clip's frames,
one after another. `Header.offsets` tells which vectors of a layer belong to which clip.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.embeddings.key import CacheKey
from ser_probe.errors import CacheError, did_you_mean

ROW_COLUMNS: dict[str, Any] = {"clip_id": object, "n_frames": "<i4", "duration_s": "<f8", "row_crc32": "<u4"}
REJECT_COLUMNS = ("clip_id", "path", "reason")


@dataclass(frozen=True)
class Layout:
    """The shape of one clip's embeddings.

    Args:
        layer_names: Names of the stored layers, in order.
        width: Values per layer and vector, D.
        aliases: Names that stand for a stored layer, such as `final` for the last block's output.
        ragged: Whether a clip has a vector per frame, and not one in all.
    """

    layer_names: tuple[str, ...]
    width: int
    aliases: Mapping[str, str] = field(default_factory=dict)
    ragged: bool = False

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

    def offsets(self, n_frames: Any) -> np.ndarray:
        """Return where each clip's vectors begin in a layer, and where the last one's end: int64 [N + 1].

        Args:
            n_frames: Frames of each clip, [N].
        """
        counts = np.asarray(n_frames, dtype=np.int64) if self.ragged else np.ones(len(n_frames), dtype=np.int64)
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])


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
        checksums: Of each layer's bytes, hex; filled when read.
        start: Where the embeddings begin in the file; filled when read.
    """

    key: CacheKey
    layout: Layout
    rows: pd.DataFrame
    rejects: pd.DataFrame
    sealed: bool
    attributes: Mapping[str, Any] = field(default_factory=dict)
    checksums: tuple[str, ...] = ()
    start: int = 0

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """Where each clip's vectors begin in a layer, and where the last one's end, int64 [N + 1]."""
        return self.layout.offsets(self.rows["n_frames"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers, vectors of a layer, width."""
        return len(self.layout.layer_names), int(self.offsets[-1]), self.layout.width

    @property
    def vector_bytes(self) -> int:
        """Bytes of one vector."""
        return self.layout.width * self.key.dtype.itemsize

    @property
    def layer_bytes(self) -> int:
        """Bytes of one layer."""
        return self.shape[1] * self.vector_bytes


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
