"""How many nearest neighbours a clip keeps: `mutual_knn`.

Source: Huh, Cheung, Wang & Isola 2024, equation 11: the share of a clip's k nearest neighbours in one representation
that are among its k nearest in the other, mean over clips.

- Range [0, 1]; 1 where all neighbourhoods are equal. Unrelated representations share k / (N - 1): the baseline.
- Near by cosine (the source's choice): unchanged by rotation and by scaling of single clips; a shift counts.
- Near by Euclidean distance: unchanged by shift, rotation and isotropic scaling.
- It sees the near only: a map that moves whole clusters changes nothing.
- Intervals leave out the clips of one speaker at a time; neighbours stay those among all clips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse

from ser_probe.analysis.inputs import vector_lengths
from ser_probe.analysis.resampling import MIN_SPEAKERS, jackknife_interval
from ser_probe.analysis.similarity.options import Options, PairValues, pair_values
from ser_probe.analysis.similarity.sources import Prepared, Sides
from ser_probe.errors import AnalysisError

_ROWS = 512


def neighbour_measures(names: Sequence[str], sides: Sides, options: Options) -> dict[str, PairValues]:
    """Compute `mutual_knn` of all pairs at once; `options.neighbours` is k."""
    first, second = sides.prepare(options.groups)
    k, n = options.neighbours, first.n
    near_first, near_second = _of_both_sides(first, second, options)
    shared = np.zeros((len(first.sizes), len(first), len(second)))
    for group, (start, stop) in enumerate(_speakers(first.sizes)):
        for low in range(start, stop, _ROWS):
            rows = slice(low, min(low + _ROWS, stop))
            left, right = _members(near_first[:, rows], n), _members(near_second[:, rows], n)
            shared[group] += (left @ right.T).toarray()
    value = shared.sum(axis=0) / (k * n)
    interval = None
    if options.intervals and len(first.sizes) >= MIN_SPEAKERS:
        kept = n - np.asarray(first.sizes)
        left_out = (shared.sum(axis=0) - shared) / (k * kept[:, None, None])
        interval = jackknife_interval(value, left_out, bounds=(0, 1))
    return {name: pair_values(value, interval=interval, baseline=k / (n - 1)) for name in names}


def permuted_overlaps(
    sides: Sides, options: Options, orders: np.ndarray, advance: Callable[[float], None] = lambda _: None
) -> np.ndarray:
    """Return `mutual_knn` of all pairs when the clips of the second side are permuted, [P, R, S].

    Neighbours are found once: permuting the clips renames them.

    Args:
        sides: What is compared with what.
        options: Speakers and choices.
        orders: Permutations of the clips [P, N].
        advance: Called with the permutations done, in parts of one.
    """
    first, second = sides.prepare()
    n = first.n
    near_first, near_second = _of_both_sides(first, second, options)
    shared = np.zeros((len(orders), len(first), len(second)))
    new_names = np.argsort(orders, axis=1)
    for low in range(0, n, _ROWS):
        rows = slice(low, low + _ROWS)
        left = _members(near_first[:, rows], n)
        for place, order in enumerate(orders):
            right = _members(new_names[place][near_second[:, order[rows]]], n)
            shared[place] += (left @ right.T).toarray()
            advance(left.shape[1] / n**2)
    return shared / (options.neighbours * n)


def _of_both_sides(first: Prepared, second: Prepared, options: Options) -> tuple[np.ndarray, np.ndarray]:
    k, n = options.neighbours, first.n
    if not 1 <= k < n - 1:
        raise AnalysisError("Mutual k-NN needs more clips than neighbours", expected=f"1 to {n - 2}", found=f"k = {k}")
    near_first = _all_neighbours(first, options)
    return near_first, near_first if second is first else _all_neighbours(second, options)


def nearest_neighbours(features: np.ndarray, k: int, nearness: str, name: str = "The features") -> np.ndarray:
    """Return each clip's k nearest other clips, in no order, int [N, k].

    Args:
        features: [N, D].
        k: How many.
        nearness: `cosine` or `euclidean`.
        name: What a message calls the features.

    Raises:
        AnalysisError: If a clip is a vector of zeros and `cosine` is asked for.
    """
    wide = features.astype(np.float64)
    if nearness == "cosine":
        wide /= vector_lengths(wide, name, otherwise="find neighbours by distance: nearness euclidean")[:, None]
    wide -= wide.mean(axis=0)  # of equal norms or not, distances keep their order and lose less to rounding
    squared = np.einsum("nd,nd->n", wide, wide)
    nearest = np.empty((len(wide), k), int)
    for low in range(0, len(wide), _ROWS):
        rows = slice(low, min(low + _ROWS, len(wide)))
        far = squared - 2 * (wide[rows] @ wide.T)
        far[np.arange(len(far)), np.arange(rows.start, rows.stop)] = np.inf
        nearest[rows] = np.argpartition(far, k, axis=1)[:, :k]
    return nearest


def _all_neighbours(side: Prepared, options: Options) -> np.ndarray:
    double: np.dtype[np.floating] = np.dtype(np.float64)
    return np.stack([
        nearest_neighbours(side.raw_rows(index, double), options.neighbours, options.nearness, side.names[index])
        for index in range(len(side))
    ])  # fmt: skip


def _members(neighbours: np.ndarray, n: int) -> scipy.sparse.csr_array:
    """Return who is whose neighbour, from [R, clips, k] a row a representation [R, clips * N].

    Products of rows count what is shared.
    """
    count, height, k = neighbours.shape
    columns = (neighbours + n * np.arange(height)[None, :, None]).reshape(count, -1)
    pointers = np.arange(count + 1) * height * k
    return scipy.sparse.csr_array(
        (np.ones(columns.size, np.int64), columns.ravel(), pointers), shape=(count, height * n)
    )


def _speakers(sizes: Sequence[int]) -> list[tuple[int, int]]:
    stops = np.cumsum(sizes).tolist()
    return [(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]
