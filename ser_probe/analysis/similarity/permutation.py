"""How often unrelated clips would be as similar: p values by permuting the clips of one side.

A p value is of the hypothesis under which the permuted clips are exchangeable:

- `clips`: any clip could stand for any other. Two clips of one speaker resemble each other, in both representations: a
  small p may only say that both know the speaker (or the sentence, or the corpus).
- `within-speaker`: clips of one speaker could stand for each other. What the speakers alone have in common stays in
  every permutation, so that encoding the speaker does not give a small p. Encoding sentence or emotion still does.
- `speakers`: speakers could stand for each other, each with their clips in order: for clips recorded in one order by
  all. Only speakers with equally many clips are exchanged; G of them give G! permutations, so few speakers say little.

Measures of pair matrices permute rows and columns of a matrix that is computed once, `mutual_knn` the neighbours that
are found once; the others are computed anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ser_probe.analysis.resampling import group_codes
from ser_probe.analysis.similarity.kernels import Kernel, correlation_distance, distance, linear, rbf
from ser_probe.analysis.similarity.measures import measure_pairs
from ser_probe.analysis.similarity.mutual_knn import permuted_overlaps
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.pair_matrices import PairMatrices
from ser_probe.analysis.similarity.pair_products import multiply, row_blocks
from ser_probe.analysis.similarity.rsa import RankMatrices
from ser_probe.analysis.similarity.side_by_side import for_each, in_order
from ser_probe.analysis.similarity.sources import Prepared, Sides, Source, rows_of
from ser_probe.errors import AnalysisError
from ser_probe.names.measures import SIMILARITY
from ser_probe.runtime import SILENT, counting

Permute = Literal["clips", "within-speaker", "speakers"]


@dataclass(frozen=True)
class Null:
    """What permutations say of a measure, [R, S] each.

    Attributes:
        p: One-sided p values; the smallest is 1 over the permutations plus 1. NaN where there is no value.
        mean: The mean over the permutations; NaN where it was not needed (the baseline is exact).
    """

    p: np.ndarray
    mean: np.ndarray


def draw_orders(
    n: int, n_permutations: int, *, permute: Permute = "clips", groups: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """Return permutations of N clips, int [P, N].

    Raises:
        AnalysisError: If speakers are needed and not known, or nothing can be exchanged.
    """
    rng = np.random.default_rng(seed)
    if permute == "clips":
        return np.stack([rng.permutation(n) for _ in range(n_permutations)])
    if groups is None:
        raise AnalysisError(f"To permute {permute} the speakers must be known", fix="give clips a column speaker")
    codes = group_codes(groups)[1]
    by_speaker = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    if permute == "within-speaker":
        parts = by_speaker
        exchangeable = any(len(part) > 1 for part in parts)
    else:
        sizes = np.array([len(part) for part in by_speaker])
        exchangeable = any((sizes == size).sum() > 1 for size in sizes)
    if not exchangeable:
        raise AnalysisError(
            f"Nothing can be exchanged by permuting {permute}",
            expected="two clips of a speaker"
            if permute == "within-speaker"
            else "two speakers with equally many clips",
            found=f"{len(by_speaker)} speakers with {', '.join(str(len(part)) for part in by_speaker[:8])} clips",
        )
    orders = np.tile(np.arange(n), (n_permutations, 1))
    for order in orders:
        if permute == "within-speaker":
            for part in by_speaker:
                order[part] = rng.permutation(part)
        else:
            for size in np.unique(sizes):
                speakers = np.flatnonzero(sizes == size)
                for to, given in zip(speakers, rng.permutation(speakers), strict=True):
                    order[by_speaker[to]] = by_speaker[given]
    return orders


def permute_pairs(names: Sequence[str], sides: Sides, options: Options, orders: np.ndarray) -> dict[str, Null]:
    """Compare measures of all pairs with their values when the clips of the second side are permuted.

    Args:
        names: Names of `MEASURES`; those of one pair matrix share the work.
        sides: What is compared with what.
        options: Speakers and choices.
        orders: Permutations of the clips [P, N].
    """
    nulls: dict[str, Null] = {}
    for kind in dict.fromkeys(_KINDS[name] for name in names if name in _KINDS):
        of_kind = [name for name in names if _KINDS.get(name) == kind]
        nulls |= _permute_matrices(of_kind, kind, sides, options, orders)
    everything = np.vstack([np.arange(orders.shape[1]), orders])
    for name in names:
        if name not in _KINDS:
            values = _permuted_values(name, sides, options, everything)
            nulls[name] = _null(values, _wanted(sides), distance=SIMILARITY[name].distance)
    return nulls


_KINDS = {
    "cka_debiased": "linear",
    "cka": "linear",
    "cka_rbf": "rbf",
    "cka_rbf_debiased": "rbf",
    "distance_correlation": "distance",
    "distance_correlation_debiased": "distance",
    "rsa": "ranks",
    "rsa_pearson": "dissimilarity",
}
"""Measures of pair matrices, by the matrix that they look at."""
# Of permuted copies that one thread multiplies at a time.
_GATHERED_BYTES = 2**25
_DOUBLY_CENTRED = ("cka", "cka_rbf", "distance_correlation")


def _matrices(kind: str, side: Prepared, options: Options) -> PairMatrices:
    dissimilarity: Kernel = correlation_distance() if options.rdm == "correlation" else distance()
    if kind == "ranks":
        return RankMatrices(side, dissimilarity, options)
    if kind == "dissimilarity":
        return PairMatrices(side, dissimilarity, "mean", options.progress)
    kernels = {"linear": linear, "rbf": lambda: rbf(options.rbf_fraction), "distance": distance}
    return PairMatrices(side, kernels[kind](), "u", options.progress)


def _permute_matrices(
    names: Sequence[str], kind: str, sides: Sides, options: Options, orders: np.ndarray
) -> dict[str, Null]:
    """Permute rows and columns of matrices. Their margins stay, so the inner products alone decide.

    The order that changes nothing is one of the permutations here, computed in the same way: a difference in rounding
    must not make it differ from the value. What is nearer than rounding counts as equal.
    """
    prepared = sides.prepare()
    first = _matrices(kind, prepared[0], options)
    second = first if sides.second is None else _matrices(kind, prepared[1], options)
    wanted = _wanted(sides)
    p = {name: np.full(wanted.shape, np.nan) for name in names}
    everything = np.vstack([np.arange(first.prepared.n), orders])
    rounding = 1e-6 if first.prepared.dtype == np.float32 else 1e-12
    columns = np.flatnonzero(wanted.any(axis=0))
    with counting(
        options.progress, f"{first.kernel.name} kernel, permuted", len(columns) * len(orders), "permutations"
    ) as advance:
        permuted = _permuted_products(first, second, columns, everything, options, advance)
    for column, products in zip(columns, permuted, strict=True):
        diagonal = first.diagonal @ second.diagonal[column][everything].T
        for name in names:
            # Of doubly centred matrices the diagonal takes part; other terms are the same in every order.
            values = products + (1 - 2 / first.prepared.n) * diagonal if name in _DOUBLY_CENTRED else products
            slack = rounding * np.abs(values).max(axis=1, keepdims=True)
            as_large = (values[:, 1:] >= values[:, :1] - slack).sum(axis=1)
            p[name][:, column] = np.where(wanted[:, column], (1 + as_large) / (1 + len(orders)), np.nan)
    return {name: Null(p[name], np.full(wanted.shape, np.nan)) for name in names}


def _permuted_products(
    first: PairMatrices,
    second: PairMatrices,
    columns: np.ndarray,
    orders: np.ndarray,
    options: Options,
    advance: Callable[[float], None],
) -> np.ndarray:
    """Return the inner products of all first matrices with some second ones in each order, [S, R, P].

    Each block of the first is computed once. The second ones are held whole, a few at a time.
    """
    n, dtype = first.prepared.n, first.prepared.dtype
    products = np.zeros((len(columns), len(first), len(orders)))
    at_once = max(1, options.memory_bytes // (2 * dtype.itemsize * n * n))
    for start in range(0, len(columns), at_once):
        held = columns[start : start + at_once]
        matrices = np.empty((len(held), n, n), dtype)

        def hold(place: int, held: np.ndarray = held, matrices: np.ndarray = matrices) -> None:
            column = int(held[place])
            second.fill(column, second.features(column), slice(0, n), slice(0, n), matrices[place])

        for_each(hold, len(held), n * n)
        for rows in row_blocks(n, len(first) * dtype.itemsize, options.memory_bytes // 2):
            for across, weight in ((rows, 1), (slice(rows.stop, n), 2)):
                if across.start < across.stop:
                    block = _flat_block(first, rows, across)
                    for place, matrix in enumerate(matrices):
                        products[start + place] += weight * _multiply_permuted(block, matrix, rows, across, orders)
                        advance(weight * matrix[rows, across].size / n**2 * (len(orders) - 1))
    return products


def _flat_block(first: PairMatrices, rows: slice, across: slice) -> np.ndarray:
    """Return a block of all matrices, each as one row [R, K]."""
    block = np.empty((len(first), rows.stop - rows.start, across.stop - across.start), first.prepared.dtype)
    for_each(
        lambda index: first.fill(index, first.features(index), rows, across, block[index]), len(first), block[0].size
    )
    return block.reshape(len(first), -1)


def _multiply_permuted(
    block: np.ndarray, matrix: np.ndarray, rows: slice, across: slice, orders: np.ndarray
) -> np.ndarray:
    """Return the inner products of a block of matrices [R, K] with the same block of one in each order, [R, P]."""
    products = np.zeros((len(block), len(orders)))
    height, width = rows.stop - rows.start, across.stop - across.start
    at_once = max(1, _GATHERED_BYTES // (matrix.itemsize * height * width))

    def gather(low: int) -> np.ndarray:
        part = orders[low : low + at_once]
        permuted = np.empty((len(part), height, width), matrix.dtype)
        for place, order in enumerate(part):
            np.take(matrix[order[rows]], order[across], axis=1, out=permuted[place], mode="clip")
        return multiply(block, permuted.reshape(len(part), -1))

    size = len(orders) * height * width
    for low, product in in_order(gather, range(0, len(orders), at_once), size, waiting=len(orders)):
        products[:, low : low + at_once] += product
    return products


def _wanted(sides: Sides) -> np.ndarray:
    return np.ones((len(sides.first), len(sides.others)), bool) if sides.wanted is None else sides.wanted


def _permuted_values(name: str, sides: Sides, options: Options, orders: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the values [R, S] of each permuted copy, counted as they are found."""
    with counting(options.progress, f"{name} permuted", len(orders), "permutations") as advance:
        if name == "mutual_knn":
            yield from permuted_overlaps(sides, options, orders, advance)
            return
        quiet = dataclasses.replace(options, intervals=False, progress=SILENT)
        for values in _measure_again(name, sides, quiet, orders):
            yield values
            advance()


def _measure_again(name: str, sides: Sides, options: Options, orders: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the values [R, S] of each permuted copy. A copy is not the first side itself, whatever it was before."""
    for order in orders:
        permuted: Sequence[Source] = [rows_of(source, order) for source in sides.others]
        copy = Sides(sides.first, permuted, sides.names, sides.other_names or sides.names, _wanted(sides))
        yield measure_pairs([name], copy, options)[name].value


def _null(values: Iterable[np.ndarray], wanted: np.ndarray, *, distance: bool) -> Null:
    """Count the permutations whose values [R, S] are at least as alike as the first ones: of the clips in order."""
    permuted = iter(values)
    observed = next(permuted)
    as_extreme, total, sign = np.zeros(observed.shape), np.zeros(observed.shape), -1 if distance else 1
    count = 0
    for value in permuted:
        as_extreme += sign * value >= sign * observed - 1e-12
        total += value
        count += 1
    p = (1 + as_extreme) / (1 + count)
    p[np.isnan(observed) | ~wanted] = np.nan
    return Null(p, total / count)
