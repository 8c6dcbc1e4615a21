"""The embedding store as its users see it: `EmbeddingCache`, a reader of finished files.

It never writes. Several readers may be open at once, in threads, forked or spawned workers and on shared
disks, without file locks: the header is read when the file is opened, layers by plain reads at their offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

from ser_probe import files
from ser_probe.embeddings import store_file
from ser_probe.embeddings.key import CacheKey, check_key
from ser_probe.errors import CacheError

_LISTED_CLIPS = 3


class EmbeddingCache:
    """A finished file of embeddings: layers x clips x width.

    It shows the file as it was when opened, also when the path is sealed anew meanwhile. Open it with
    `EmbeddingCache.open`, as a context manager or not.

    Attributes:
        path: The file.
        key: What the values depend on.
        layer_names: The stored layers, in order.
        aliases: Further names of stored layers.
        width: Values per layer, D.
        clips: One row per clip, in file order: `clip_id`, `n_frames`, `duration_s`, `path` and the
            manifest's columns.
        rejects: Clips that could not be embedded: `clip_id`, `path`, `reason`.
        attributes: How the file was made: packages, device, speed, verify error and so on.
    """

    def __init__(self, path: Path, header: store_file.Header, stream: Any) -> None:
        self.path, self._header, self._stream = path, header, stream
        self.key, self.rejects, self.attributes = header.key, header.rejects, dict(header.attributes)
        self.layer_names, self.aliases = header.layout.layer_names, dict(header.layout.aliases)
        self.width = header.layout.width
        self.clips = header.rows.drop(columns="row_crc32")
        self._rows = pd.Index(self.clips["clip_id"])

    @classmethod
    def open(cls, path: Path | str, expect_key: CacheKey | None = None) -> EmbeddingCache:
        """Open a finished file for reading.

        Args:
            path: The file.
            expect_key: What the file must hold; None takes any.

        Raises:
            CacheError: If there is no such file, it is not a whole finished file of this version, or it was
                made from something else.
        """
        path = Path(path)
        _check_exists(path)
        stream = path.open("rb", buffering=0)
        try:
            header = store_file.read_header(stream, path)
            if not header.sealed:
                raise CacheError(
                    "This file is a shard of an unfinished extraction",
                    where=path,
                    fix="run the extraction again: it goes on from its shards and finishes the file",
                )
            if expect_key is not None:
                check_key(header.key, expect_key, where=path)
        except BaseException:
            stream.close()
            raise
        return cls(path, header, stream)

    @property
    def clip_ids(self) -> list[str]:
        """Ids of the clips, in file order."""
        return self.clips["clip_id"].tolist()

    @property
    def array(self) -> np.ndarray:
        """All embeddings as a read-only memory map, shape [L, N, D], in the type of storage."""
        return np.memmap(self._stream, self.key.dtype, mode="r", offset=self._header.offset, shape=self._header.shape)

    def layers(self) -> list[str]:
        """Return every name that `layer` takes: the stored layers, then the aliases."""
        return [*self.layer_names, *self.aliases]

    def layer(self, name: str) -> np.ndarray:
        """Return one layer as float32, shape [N, D], in one contiguous read.

        Raises:
            CacheError: If there is no such layer; the message lists those there are.
        """
        index = self._header.layout.index(name)
        return store_file.read_layer(self._stream, self._header, index).astype(np.float32, copy=False)

    def select(self, clip_ids: Sequence[str]) -> np.ndarray:
        """Return the rows of clips, in the order given; a clip may be named more than once.

        Raises:
            CacheError: If clips are missing; the message says how many.
        """
        rows = self._rows.get_indexer(pd.Index(clip_ids))
        missing = [clip_ids[int(place)] for place in np.flatnonzero(rows < 0)]
        if missing:
            rejected = len(set(missing) & set(self.rejects["clip_id"]))
            raise CacheError(
                f"{len(missing)} of {len(clip_ids)} clips are not in the cache ({rejected} of them were rejected)",
                where=self.path,
                found="missing " + ", ".join(missing[:_LISTED_CLIPS]) + (", ..." if missing[_LISTED_CLIPS:] else ""),
                fix="extract the manifest again: only new clips are computed",
            )
        return rows

    def to_frame(self, layer: str) -> pd.DataFrame:
        """Return one layer as a table: index `clip_id`, a column per dimension.

        Columns are the features' names where the file holds acoustic features, else '0', '1', ...
        """
        names = self.attributes.get("feature_names") or [str(place) for place in range(self.width)]
        return pd.DataFrame(self.layer(layer), index=self._rows, columns=names)

    def verify(self) -> list[str]:
        """Re-read the whole file against its checksums; return the faults in words, none where all is well."""
        faults = []
        sums = store_file.begin_checksums(self.clip_ids)
        for index, name in enumerate(self.layer_names):
            layer = store_file.read_layer(self._stream, self._header, index)
            if store_file.layer_checksum(layer) != self._header.checksums[index]:
                faults.append(f"layer {name} is not what was written")
            store_file.extend_checksums(sums, layer)
        changed = np.flatnonzero(np.array(sums) != self._header.rows["row_crc32"].to_numpy())
        return faults + [f"clip {self._rows[row]} is not what was written" for row in changed]

    def close(self) -> None:
        """Close the file; memory maps taken from it stay valid."""
        self._stream.close()

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        layers = f"{len(self.layer_names)} layers ({self.layer_names[0]}..{self.layer_names[-1]})"
        return (
            f"<EmbeddingCache {self.path.name}: {len(self)} clips x {layers} x {self.width}, "
            f"{self.key.kind}, {self.key.pooling}, {self.key.storage}, key {self.key.short}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker opens the file for itself; a file that was replaced by another content meanwhile is refused.
        return EmbeddingCache.open, (self.path, self.key)


def _check_exists(path: Path) -> None:
    if not path.is_file():
        begun = path.with_name(path.name + ".shards").is_dir()
        raise CacheError(
            "There is no embedding cache here" + (", only shards of an unfinished extraction" if begun else ""),
            where=path,
            found="a folder" if path.is_dir() else None,
            fix="run the extraction" + (" again: it goes on from its shards" if begun else ""),
        )
    if files.is_lfs_pointer(path):
        raise CacheError(
            "This embedding cache is a Git LFS pointer, not the file itself", where=path, fix="run: git lfs pull"
        )
