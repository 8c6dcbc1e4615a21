"""Merging: vectors from many files into the order of one, layer after layer, in blocks of bounded memory.

Vectors that are contiguous in a source and in the result are read straight into place; scattered vectors are read with
small gaps between them and then put into order. So a shard of pooled batches costs one read a layer, and a layer of
frames never needs to fit into memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_probe.embeddings.shards import set_aside
from ser_probe.embeddings.store_header import Header
from ser_probe.embeddings.store_stamp import DamagedCacheError
from ser_probe.embeddings.store_vectors import BLOCKS_AT_ONCE, cut_blocks, read_vectors

_DIRECT_BYTES = 128 << 10
"""From this size a run is read separately: copying it costs more than another read."""
_GAP_BYTES = 64 << 10
"""Gaps up to this size between two runs are read along: that is faster than another read."""
_SCRATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class MergeSource:
    """A file to merge, and which of its clips go where.

    Args:
        path: The file.
        header: Its header.
        rows: Rows of the clips to take, ascending.
        places: Their rows in the result.
    """

    path: Path
    header: Header
    rows: np.ndarray
    places: np.ndarray


@dataclass(frozen=True)
class _Runs:
    """Runs of contiguous vectors: where they begin, where they go, and how many they are."""

    begin: np.ndarray
    to: np.ndarray
    count: np.ndarray

    def part(self, chosen: np.ndarray | slice) -> _Runs:
        return _Runs(self.begin[chosen], self.to[chosen], self.count[chosen])


def merge_blocks(header: Header, sources: Sequence[MergeSource]) -> Iterator[np.ndarray]:
    """Yield the result's vectors, as `write_file` takes them.

    Args:
        header: The result's header.
        sources: Files that together hold each clip once.
    """
    borders = cut_blocks(header)
    runs = [(source, _find_runs(header, source)) for source in sources]
    reads = [[(source, read) for source, run in runs for read in _plan_reads(source, run, *piece)] for piece in borders]
    shape = max((stop - start for start, stop in borders), default=0), header.layout.width
    # Buffers take turns, because a yielded block is still being written and summed when the next is read.
    turns = itertools.cycle([np.empty(shape, header.key.dtype) for _ in range(BLOCKS_AT_ONCE)])
    for layer in range(header.shape[0]):
        for (start, stop), planned in zip(borders, reads, strict=True):
            block = next(turns)[: stop - start]
            _fill(block, layer, planned)
            yield block


def check_merged(header: Header, sources: Sequence[MergeSource], sums: np.ndarray) -> None:
    """Refuse a result whose clips are not what their sources say.

    Args:
        header: The result's header; its rows hold the checksums that the clips must have.
        sources: The files it was merged from.
        sums: The checksums that the clips have, [N].

    Raises:
        DamagedCacheError: If a clip is not what was written; a shard that holds one is set aside.
    """
    sound = sums == header.rows["row_crc32"].to_numpy(dtype=np.uint32)
    for source in sources:
        if sound[source.places].all():
            continue
        error = DamagedCacheError(
            "Embeddings on disk are not what was written",
            where=source.path,
            fix="delete the file and extract again" if source.header.sealed else "run the extraction again",
        )
        if not source.header.sealed:
            set_aside(source.path, error)
        raise error


def _find_runs(header: Header, source: MergeSource) -> _Runs:
    """Return where the source's clips are and go, merged where they stay contiguous."""
    begin, to = source.header.offsets[source.rows], header.offsets[source.places]
    count = header.offsets[source.places + 1] - to
    follows = (begin[1:] == begin[:-1] + count[:-1]) & (to[1:] == to[:-1] + count[:-1])
    first = np.flatnonzero(np.concatenate([[True], ~follows]))
    return _Runs(begin[first], to[first], np.add.reduceat(count, first))


def _plan_reads(source: MergeSource, runs: _Runs, start: int, stop: int) -> list[_Runs]:
    """Return the runs that go between two places of the result, grouped by read; places count from `start`."""
    low, high = np.maximum(runs.to, start), np.minimum(runs.to + runs.count, stop)
    kept = np.flatnonzero(low < high)
    if not len(kept):
        return []
    inside = _Runs((runs.begin + low - runs.to)[kept], (low - start)[kept], (high - low)[kept])
    size = source.header.vector_bytes
    large = inside.count * size >= _DIRECT_BYTES
    gap = (inside.begin[1:] - inside.begin[:-1] - inside.count[:-1]) * size > _GAP_BYTES
    apart = np.diff(inside.begin * size // _SCRATCH_BYTES) > 0
    borders = np.flatnonzero(gap | large[1:] | large[:-1] | apart) + 1
    edges = [0, *borders.tolist(), len(kept)]
    return [inside.part(slice(low, high)) for low, high in itertools.pairwise(edges)]


def _fill(block: np.ndarray, layer: int, reads: Sequence[tuple[MergeSource, _Runs]]) -> None:
    """Read one block of a layer into place."""
    place = 0
    while place < len(reads):
        source = reads[place][0]
        with source.path.open("rb", buffering=0) as stream:
            while place < len(reads) and reads[place][0] is source:
                runs = reads[place][1]
                begin, stop = int(runs.begin[0]), int(runs.begin[-1] + runs.count[-1])
                if len(runs.begin) == 1:
                    target = block[runs.to[0] : runs.to[0] + runs.count[0]]
                    read_vectors(stream, source.header, layer, begin, stop, target)
                else:
                    _scatter(block, runs, read_vectors(stream, source.header, layer, begin, stop))
                place += 1


def _scatter(block: np.ndarray, runs: _Runs, read: np.ndarray) -> None:
    """Put vectors that were read from the first run on into their places."""
    begin = runs.begin - runs.begin[0]
    if (runs.count == 1).all():
        block[runs.to] = read if len(read) == len(begin) else read[begin]
        return
    for low, to, count in zip(begin.tolist(), runs.to.tolist(), runs.count.tolist(), strict=True):
        block[to : to + count] = read[low : low + count]
