"""`EmbeddingCache`, the reader of finished embedding files.

It never writes. Several readers may be open at once, in threads, forked or spawned workers and on shared
disks, without file locks: the header is read when the file is opened, layers by plain reads at their offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

from ser_probe import files
from ser_probe.embeddings import store_file
from ser_probe.embeddings.key import CacheKey, check_key
from ser_probe.embeddings.store_header import Header
from ser_probe.embeddings.store_stamp import DamagedCacheError
from ser_probe.embeddings.store_vectors import (
    LayerChecksum,
    begin_checksums,
    extend_checksums,
    read_blocks,
    read_vectors,
)
from ser_probe.errors import CacheError

ClipNames = Sequence[str] | pd.Series | pd.Index | pd.DataFrame
"""Clips by their ids, or a table of clips."""

_LISTED_CLIPS = 3


class EmbeddingCache:
    """A finished file of embeddings: layers x clips x width, or of every frame: layers x frames x width.

    It shows the file as it was when opened, even if the path is sealed again meanwhile. Open it with
    `EmbeddingCache.open`, as a context manager or not.

    Attributes:
        path: The file.
        key: What the values depend on.
        layer_names: The stored layers, in order.
        aliases: Further names of stored layers.
        width: Values per layer and vector, D.
        ragged: Whether a clip has a vector per frame, and not one in all.
        offsets: Where each clip's vectors begin in a layer, and where the last one's end, int64 [N + 1].
        clips: One row per clip, in file order: `clip_id`, `n_frames`, `duration_s`, `path` and the
            manifest's columns.
        rejects: Clips that could not be embedded: `clip_id`, `path`, `reason`.
        attributes: How the file was made: packages, device, speed, verify error and so on.
    """

    def __init__(self, path: Path, header: Header, stream: Any) -> None:
        self.path, self._header, self._stream = path, header, stream
        self.key, self.rejects, self.attributes = header.key, header.rejects, dict(header.attributes)
        self.layer_names, self.aliases = header.layout.layer_names, dict(header.layout.aliases)
        self.width, self.ragged, self.offsets = header.layout.width, header.layout.ragged, header.offsets
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
        path = Path(path).expanduser()
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
        """All embeddings as a read-only memory map, shape [L, N, D] ([L, F, D] if ragged), in the type of storage.

        Values read through it are not compared with the checksums; `check_layer` does that.
        """
        return np.memmap(self._stream, self.key.dtype, mode="r", offset=self._header.start, shape=self._header.shape)

    def layers(self) -> list[str]:
        """Return every name that `layer` takes: the stored layers, then the aliases."""
        return [*self.layer_names, *self.aliases]

    def layer(self, name: str, clips: ClipNames | None = None) -> np.ndarray:
        """Return one layer as float32 in one contiguous read: shape [N, D], of a ragged cache [F, D].

        Args:
            name: One of `layers()`.
            clips: Of which clips, as `positions` takes them; the rows come back in this order, [B, D]. None: all
                clips, in file order. Of a ragged cache `frames` gives a clip's.

        Raises:
            CacheError: If there is no such layer, the message lists those there are; or it is not what was written,
                or holds a value that is not finite; or clips are not in the cache or named twice.
        """
        index = self._header.layout.index(name)
        if clips is not None and self.ragged:
            raise CacheError(
                "This cache holds every frame of a clip, so that clips are no rows of a layer",
                where=self.path,
                fix="take the frames of one clip: frames(layer, clip_id)",
            )
        places = None if clips is None else self.positions(clips)
        values = read_vectors(self._stream, self._header, index)
        checksum = LayerChecksum(self._header)
        checksum.extend(values)
        self._check_sum(index, checksum)
        self._check_finite(index, values)
        return (values if places is None else values[places]).astype(np.float32, copy=False)

    def frames(self, name: str, clip_id: str) -> np.ndarray:
        """Return one clip's frames of a layer as float32, shape [T, D], in one read.

        Raises:
            CacheError: If the cache is pooled, there is no such layer or clip, or a value is not finite. One clip's
                frames of one layer have no checksum of their own: `verify` compares them with all others.
        """
        if not self.ragged:
            raise CacheError(
                "This cache holds one vector a clip and no frames",
                where=self.path,
                found=f"pooling {self.key.pooling}",
                fix="extract with --pooling frames",
            )
        index, row = self._header.layout.index(name), int(self.positions([clip_id])[0])
        start, stop = int(self.offsets[row]), int(self.offsets[row + 1])
        values = read_vectors(self._stream, self._header, index, start, stop)
        self._check_finite(index, values, start)
        return values.astype(np.float32, copy=False)

    def blocks(self, name: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield a layer as stored in blocks of bounded size, each with the place of its first vector.

        A block is valid until the next one is read. Results made of the blocks are reliable only after the last one,
        when the layer is compared with its checksum.

        Raises:
            CacheError: If there is no such layer, it is not what was written, or a value is not finite.
        """
        index, checksum = self._header.layout.index(name), LayerChecksum(self._header)
        for start, block in read_blocks(self._stream, self._header, index):
            checksum.extend(block)
            self._check_finite(index, block, start)
            yield start, block
        self._check_sum(index, checksum)

    def check_layer(self, name: str) -> None:
        """Read a layer and compare it with its checksum.

        Raises:
            CacheError: As `blocks`.
        """
        for _ in self.blocks(name):
            pass

    def _check_sum(self, index: int, checksum: LayerChecksum) -> None:
        if checksum.hex() != self._header.checksums[index]:
            raise DamagedCacheError(
                f"Layer {self.layer_names[index]} of the embedding cache is not what was written",
                where=self.path,
                expected=f"checksum {self._header.checksums[index]}",
                found=checksum.hex(),
                fix="see with `ser-probe cache verify` which clips are damaged; delete the file and extract again",
            )

    def _check_finite(self, index: int, values: np.ndarray, start: int = 0) -> None:
        """Refuse vectors, of which the first is vector `start` of a layer, that hold NaN or infinity."""
        finite = np.isfinite(values).all(axis=1)
        if finite.all():
            return
        clip = self.clips.iloc[int(np.searchsorted(self.offsets, start + int(np.argmin(finite)), side="right")) - 1]
        raise CacheError(
            "The embedding cache holds a value that is not finite",
            where=f"{self.path}, layer {self.layer_names[index]}, clip {clip['path']} ({clip['clip_id']})",
            expected="finite values, as ser-probe writes them",
            found="NaN or infinity",
            fix="delete the file and extract again",
        )

    def positions(self, clips: ClipNames) -> np.ndarray:
        """Return where clips stand in `clips`, `clip_ids` and the second axis of `array`, in the order given.

        These are numbers of rows, not embeddings: `layer(name, clips)` returns those.

        Args:
            clips: Clip ids, or a table with a column `clip_id` or, lacking that, `path`.

        Returns:
            Positions, counted from 0, int64 [B].

        Raises:
            CacheError: If clips are not in the cache, or named more than once, the message says how many and names
                them; or the table has neither column, or the cache has one path twice.
        """
        names_given, index = self._named(clips)
        names = pd.Index(names_given, dtype=object)
        if names.has_duplicates:
            repeated = names[names.duplicated()].unique().tolist()
            raise CacheError(
                f"{len(repeated)} of {names.nunique()} clips are named more than once",
                where=self.path,
                found=_listed(repeated),
                fix="name each clip once: rows that come back twice would count twice",
            )
        rows = index.get_indexer(names)
        missing = [names_given[int(place)] for place in np.flatnonzero(rows < 0)]
        if missing:
            rejected = len(set(missing) & {*self.rejects["clip_id"], *self.rejects["path"]})
            numbers = all(isinstance(name, int | np.integer) for name in missing)
            raise CacheError(
                f"{len(missing)} of {len(names_given)} clips are not in the cache ({rejected} of them were rejected)",
                where=self.path,
                found="missing " + _listed(missing),
                fix="name clips by their ids, those of `clip_ids`, not by numbers of rows"
                if numbers
                else "extract the manifest again: only new clips are computed",
            )
        return np.asarray(rows, dtype=np.int64)

    def _named(self, clips: ClipNames) -> tuple[list[str], pd.Index]:
        """Return the names of clips, and an index of this cache's clips by the same kind of name."""
        if isinstance(clips, str):
            raise CacheError("Clips are given as one text", expected="a list of clip ids", found=clips, fix="[clip_id]")
        if not isinstance(clips, pd.DataFrame):
            return list(clips), self._rows
        column = next((name for name in ("clip_id", "path") if name in clips and name in self.clips), None)
        if column is None:
            raise CacheError(
                "The table does not name clips",
                expected="a column clip_id or path",
                found=", ".join(map(str, clips.columns)) or "no columns",
            )
        index = self._rows if column == "clip_id" else pd.Index(self.clips["path"])
        if not index.is_unique:
            raise CacheError(
                "Several clips of the cache have one path, so a path does not tell them apart",
                where=self.path,
                found=index[index.duplicated()][0],
                fix="name the clips by clip_id",
            )
        return clips[column].tolist(), index

    def to_frame(self, layer: str) -> pd.DataFrame:
        """Return one layer as a table: a column per dimension; index `clip_id`, if ragged `clip_id` and `frame`.

        Columns are the features' names where the file holds acoustic features, else '0', '1', ...
        """
        names = self.attributes.get("feature_names") or [str(place) for place in range(self.width)]
        return pd.DataFrame(self.layer(layer), index=self.vector_index(), columns=names)

    def vector_index(self, start: int = 0, stop: int | None = None) -> pd.Index:
        """Return the index of the vectors `start` to `stop` of a layer: `clip_id`, if ragged `clip_id` and `frame`."""
        places = np.arange(start, self._header.shape[1] if stop is None else stop)
        if not self.ragged:
            return self._rows[places]
        rows = np.searchsorted(self.offsets, places, side="right") - 1
        arrays = [self._rows.to_numpy()[rows], places - self.offsets[rows]]
        return pd.MultiIndex.from_arrays(arrays, names=["clip_id", "frame"])

    def verify(self) -> list[str]:
        """Re-read the whole file against its checksums; return the faults in words, none where all is well."""
        faults = []
        sums = begin_checksums(self.clip_ids)
        for index, name in enumerate(self.layer_names):
            checksum, finite = LayerChecksum(self._header), True
            for start, block in read_blocks(self._stream, self._header, index):
                checksum.extend(block)
                extend_checksums(sums, block, self.offsets, start)
                finite = finite and bool(np.isfinite(block).all())
            if checksum.hex() != self._header.checksums[index]:
                faults.append(f"layer {name} is not what was written")
            elif not finite:
                faults.append(f"layer {name} holds values that are not finite")
        changed = np.flatnonzero(np.array(sums, dtype=np.uint32) != self._header.rows["row_crc32"].to_numpy())
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
        clips = f"{len(self)} clips" + (f" of {self.offsets[-1]} frames" if self.ragged else "")
        return (
            f"<EmbeddingCache {self.path.name}: {clips} x {layers} x {self.width}, "
            f"{self.key.kind}, {self.key.pooling}, {self.key.storage}, key {self.key.short}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process opens the file again; a file with other content by then is refused.
        return EmbeddingCache.open, (self.path, self.key)


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(str, names[:_LISTED_CLIPS])) + (", ..." if len(names) > _LISTED_CLIPS else "")


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
