"""Inner products of all pairs of centred pair matrices, on all clips and without each speaker: the engine of `cka`.

Matrices are symmetric, so blocks of rows reach from the diagonal to the right end only. A block of all
representations times the same block of all others, each flattened, gives every pair at once in one matrix product in
the precision of the features; blocks are added up in float64. With speakers, blocks are cut at their borders: what a
speaker has part in is then a sum of tiles, and leaving one out is a subtraction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.similarity.pair_matrices import PairMatrices
from ser_probe.analysis.similarity.sources import for_each

# So many products are added up in the features' precision before the sum goes on in float64.
_SUMMED_IN_PRECISION = 4096


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


def pair_products(first: PairMatrices, second: PairMatrices, memory_bytes: int) -> PairProducts:
    """Multiply all pairs of matrices.

    Args:
        first: R matrices.
        second: S matrices of the same clips in the same order; may be `first`.
        memory_bytes: For one block of rows of all matrices.
    """
    sizes, same = first.prepared.sizes, second is first
    several = len(sizes) > 1
    shape = (len(first), len(second))
    total = np.zeros(shape)
    touching = np.zeros((len(sizes), *shape), np.promote_types(first.prepared.dtype, np.float32)) if several else None
    own_first, own_second = np.zeros((1 + len(sizes), shape[0])), np.zeros((1 + len(sizes), shape[1]))
    width = shape[0] + (0 if same else shape[1])
    for rows in row_blocks(first.prepared.n, width * first.prepared.dtype.itemsize, memory_bytes):
        # Without speakers the square at the diagonal and the rest are two tiles, each contiguous.
        n = first.prepared.n
        panels = [(rows.start, n)] if several else [(rows.start, rows.stop), (rows.stop, n)]
        left = _panels(first, rows, panels)
        right = left if same else _panels(second, rows, panels)
        for tile in _tiles(rows, first.starts, several):
            mine = _flat(left, tile)
            theirs = mine if same else _flat(right, tile)
            weight = 1 if tile.square else 2
            product = multiply(mine, theirs)
            norms = product.diagonal() if same else _squared_norms(mine)
            other_norms = norms if same else _squared_norms(theirs)
            total += weight * product
            sets = dict.fromkeys(tile.sets) if touching is not None else ()
            for place in (0, *(1 + each for each in sets)):
                own_first[place] += weight * norms
                own_second[place] += weight * other_norms
            if touching is not None:
                product *= weight
                for each in sets:
                    touching[each] += product
        del left, right, mine, theirs  # before the next block takes their place
    if same:
        own_second = own_first
    return PairProducts(total, touching, own_first, own_second)


@dataclass(frozen=True)
class _Tile:
    """A part of a block of rows: which panel, which rows and columns of it, and whose clips they are."""

    panel: int
    rows: slice
    columns: slice
    sets: tuple[int, int]
    square: bool


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
        yield _Tile(0, slice(0, height), slice(0, height), (0, 0), square=True)
        if rows.stop < n:
            yield _Tile(1, slice(0, height), slice(0, n - rows.stop), (0, 0), square=False)
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
                square=i == j,
            )


def multiply(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return all inner products of rows [R, K] with rows [S, K], added up in float64."""
    product = np.zeros((len(mine), len(theirs)))
    for low in range(0, mine.shape[1], _SUMMED_IN_PRECISION):
        part = mine[:, low : low + _SUMMED_IN_PRECISION]
        # The same array, not an equal one, tells BLAS that the product is symmetric.
        others = part if theirs is mine else theirs[:, low : low + _SUMMED_IN_PRECISION]
        product += part @ others.T
    return product


def _squared_norms(rows: np.ndarray) -> np.ndarray:
    norms = np.zeros(len(rows))
    for low in range(0, rows.shape[1], _SUMMED_IN_PRECISION):
        part = rows[:, low : low + _SUMMED_IN_PRECISION]
        norms += np.einsum("ij,ij->i", part, part)
    return norms


def _flat(panels: list[np.ndarray], tile: _Tile) -> np.ndarray:
    """Return a tile of each matrix as one row, [R, entries]: a view where it is a whole panel."""
    part = panels[tile.panel][:, tile.rows, tile.columns]
    return part.reshape(len(part), -1)
