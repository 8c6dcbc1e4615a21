"""Inner products of all pairs of centred pair matrices, on all clips and without each speaker: the engine of `cka`.

Matrices are symmetric, so blocks of rows reach from the diagonal to the right end only. A block of all
representations times the same block of all others, each flattened, gives every pair at once in one matrix product in
the precision of the features; blocks are added up in float64. With speakers, blocks are cut at their borders: what a
speaker has part in is then a sum of tiles, and leaving one out is a subtraction.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.similarity.pair_matrices import PairMatrices
from ser_probe.analysis.similarity.side_by_side import for_each, in_order
from ser_probe.runtime import SILENT, Progress, counting

# How many products are added up in the features' precision before the sum continues in float64.
_SUMMED_IN_PRECISION = 4096
# Memory for products that wait to be added up.
_WAITING_BYTES = 2**26
# Speakers' tiles are small: a thread gets several, since one takes less time than starting a thread.
_TILES_A_TASK = 16


@dataclass(frozen=True)
class PairProducts:
    """Sums over i != j of M_ij L_ij.

    Attributes:
        total: Over all clips [R, S].
        touching: Over pairs of clips of which at least one is of a set of speakers [G, R, S]; None for one set.
        own_first: Of each M with itself: over all clips in row 0, then by set as `touching`, [1 + G, R].
        own_second: Of each L with itself, [1 + G, S].
    """

    total: np.ndarray
    touching: np.ndarray | None
    own_first: np.ndarray
    own_second: np.ndarray


def pair_products(
    first: PairMatrices, second: PairMatrices, memory_bytes: int, progress: Progress = SILENT
) -> PairProducts:
    """Multiply all pairs of matrices.

    Args:
        first: R matrices.
        second: S matrices of the same clips in the same order; may be `first`.
        memory_bytes: For one block of rows of all matrices.
        progress: Told of the pairs of clips that are done.
    """
    sizes, same = first.prepared.sizes, second is first
    several = len(sizes) > 1
    n, shape = first.prepared.n, (len(first), len(second))
    total = np.zeros(shape)
    touching = np.zeros((len(sizes), *shape), first.prepared.dtype) if several else None
    own_first, own_second = np.zeros((1 + len(sizes), shape[0])), np.zeros((1 + len(sizes), shape[1]))
    width = shape[0] + (0 if same else shape[1])
    with counting(progress, "products", n * n, "pairs of clips") as advance:
        for rows in row_blocks(n, width * first.prepared.dtype.itemsize, memory_bytes):
            # Without speakers the square at the diagonal and the rest are two tiles, each contiguous.
            panels = [(rows.start, n)] if several else [(rows.start, rows.stop), (rows.stop, n)]
            left = _panels(first, rows, panels)
            right = left if same else _panels(second, rows, panels)
            for part, entries, (product, norms, other_norms) in _multiply_tiles(
                left, right, _tiles(rows, first.starts, several)
            ):
                total += part.weight * product
                advance(part.weight * entries)
                sets = dict.fromkeys(part.sets) if touching is not None else ()
                for place in (0, *(1 + speaker_set for speaker_set in sets)):
                    own_first[place] += part.weight * norms
                    own_second[place] += part.weight * other_norms
                if touching is not None:
                    for speaker_set in sets:
                        touching[speaker_set] += part.weight * product
            del left, right  # before the next block takes their place
    return PairProducts(total, touching, own_first, own_first if same else own_second)


@dataclass(frozen=True)
class _Tile:
    """A part of a block of rows: which panel, which rows and columns of it, and whose clips they are.

    What lies right of the diagonal counts twice, for itself and its mirror image.
    """

    panel: int
    rows: slice
    columns: slice
    sets: tuple[int, int]
    weight: int


def row_blocks(n: int, bytes_per_entry: int, memory_bytes: int) -> Iterator[slice]:
    """Yield blocks of rows whose part right of the diagonal fits into memory; later ones are shorter, so higher."""
    low = 0
    while low < n:
        high = min(n, low + max(1, memory_bytes // (bytes_per_entry * (n - low))))
        yield slice(low, high)
        low = high


def _panels(matrices: PairMatrices, rows: slice, panels: list[tuple[int, int]]) -> list[np.ndarray]:
    """Compute ranges of columns of a block of rows of all matrices, each [R, rows, columns] and contiguous."""
    height = rows.stop - rows.start
    made = [np.empty((len(matrices), height, stop - start), matrices.prepared.dtype) for start, stop in panels]

    def fill(index: int) -> None:
        features = matrices.features(index)
        for panel, (start, stop) in zip(made, panels, strict=True):
            if start < stop:
                matrices.fill(index, features, rows, slice(start, stop), panel[index])

    for_each(fill, len(matrices), sum(panel[0].size for panel in made))
    return made


def _tiles(rows: slice, starts: np.ndarray, several: bool) -> Iterator[_Tile]:
    n = int(starts[-1])
    if not several:
        height = rows.stop - rows.start
        yield _Tile(0, slice(0, height), slice(0, height), (0, 0), 1)
        if rows.stop < n:
            yield _Tile(1, slice(0, height), slice(0, n - rows.stop), (0, 0), 2)
        return
    # Pieces of speakers: the block's ends cut some in two.
    borders = np.unique(np.concatenate([starts, [rows.start, rows.stop]]))
    borders = borders[borders >= rows.start]
    owner = np.searchsorted(starts, borders[:-1], side="right") - 1
    for i in range(len(owner)):
        if borders[i] >= rows.stop:
            return
        for j in range(i, len(owner)):
            yield _Tile(
                0,
                slice(borders[i] - rows.start, borders[i + 1] - rows.start),
                slice(borders[j] - rows.start, borders[j + 1] - rows.start),
                (int(owner[i]), int(owner[j])),
                1 if i == j else 2,
            )


Products = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Inner products of rows with rows [R, S], and of both with themselves [R] and [S]."""


def _multiply_tiles(
    left: list[np.ndarray], right: list[np.ndarray], tiles: Iterable[_Tile]
) -> Iterator[tuple[_Tile, int, Products]]:
    """Yield products of all representations' entries in each tile, and of how many; large tiles in parts."""
    same = right is left

    def parts() -> Iterator[tuple[_Tile, int]]:
        for tile in tiles:
            entries = (tile.rows.stop - tile.rows.start) * (tile.columns.stop - tile.columns.start)
            yield from ((tile, low) for low in range(0, entries, _SUMMED_IN_PRECISION))

    def work(batch: tuple[tuple[_Tile, int], ...]) -> list[Products]:
        return [_multiply_part(left, left if same else right, tile, low) for tile, low in batch]

    size = sum(panel.size for panel in left) * len(right[0]) // 64
    waiting = max(2, _WAITING_BYTES // (_TILES_A_TASK * left[0].itemsize * len(left[0]) * len(right[0])))
    for batch, products in in_order(work, _batches(parts(), _TILES_A_TASK), size, waiting=waiting):
        for (tile, low), product in zip(batch, products, strict=True):
            entries = (tile.rows.stop - tile.rows.start) * (tile.columns.stop - tile.columns.start)
            yield tile, min(_SUMMED_IN_PRECISION, entries - low), product


def _batches(parts: Iterator[tuple[_Tile, int]], size: int) -> Iterator[tuple[tuple[_Tile, int], ...]]:
    while batch := tuple(itertools.islice(parts, size)):
        yield batch


def _multiply_part(left: list[np.ndarray], right: list[np.ndarray], tile: _Tile, low: int) -> Products:
    rows = _flat(left, tile)[:, low : low + _SUMMED_IN_PRECISION]
    if right is left:
        # The same array, not an equal one, tells BLAS that the product is symmetric.
        product = rows @ rows.T
        return product, product.diagonal(), product.diagonal()
    other_rows = _flat(right, tile)[:, low : low + _SUMMED_IN_PRECISION]
    return rows @ other_rows.T, np.einsum("ij,ij->i", rows, rows), np.einsum("ij,ij->i", other_rows, other_rows)


def multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return all inner products of rows [R, K] with rows [S, K], added up in float64."""
    total = np.zeros((len(left), len(right)))
    for low in range(0, left.shape[1], _SUMMED_IN_PRECISION):
        total += left[:, low : low + _SUMMED_IN_PRECISION] @ right[:, low : low + _SUMMED_IN_PRECISION].T
    return total


def _flat(panels: list[np.ndarray], tile: _Tile) -> np.ndarray:
    """Return a tile of each matrix as one row, [R, entries]: a view where it is a whole panel."""
    part = panels[tile.panel][:, tile.rows, tile.columns]
    return part.reshape(len(part), -1)
