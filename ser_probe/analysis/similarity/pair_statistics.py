"""From inner products of pair matrices to values between -1 and 1, their intervals over speakers, and their baseline.

With M and L pair matrices (see `pair_matrices`), a statistic is a correlation <M, L> / sqrt(<M, M> <L, L>), in which
<., .> leaves out what the matrices' margins explain:

- "u": the U-centred inner product (unbiased HSIC: Song et al. 2007, equation 4; Szekely & Rizzo 2014);
- "double": the inner product of doubly centred matrices (biased HSIC; distance covariance);
- "mean": the covariance of the entries above the diagonal (RSA).

Where a speaker is left out, the matrices of the others are centred anew, from sums that are computed once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ser_probe.analysis.resampling import MIN_SPEAKERS, jackknife_interval
from ser_probe.analysis.similarity.kernels import Kernel
from ser_probe.analysis.similarity.options import Options, PairValues, pair_values
from ser_probe.analysis.similarity.pair_matrices import PairMatrices
from ser_probe.analysis.similarity.pair_products import PairProducts, pair_products
from ser_probe.analysis.similarity.side_by_side import in_order
from ser_probe.analysis.similarity.sources import MIN_CLIPS, Prepared
from ser_probe.errors import AnalysisError

Statistic = Literal["u", "double", "mean"]
Transform = Callable[[np.ndarray], np.ndarray]
# Memory for the values without each speaker of a part of the pairs.
_LEFT_OUT_BYTES = 2**27


def measure_by_kernel(
    kernel: Kernel,
    statistics: Mapping[str, Statistic],
    sides: tuple[Prepared, Prepared],
    options: Options,
    *,
    transforms: Mapping[Statistic, Transform] | None = None,
) -> dict[str, PairValues]:
    """Compute measures of all pairs of representations from one pass over their pair matrices.

    Args:
        kernel: What the entries are.
        statistics: What each measure is a statistic of, by its name; "mean" cannot be had together with the others.
        sides: R and S representations of the same clips, sorted by the same speakers; may be the same.
        options: Memory, and whether to leave each speaker out, where there are three or more.
        transforms: What to make of a statistic; intervals are those of what is made.

    Raises:
        AnalysisError: If a representation's pairs do not vary.
    """
    first, second = sides
    centring: Literal["u", "mean"] = "mean" if "mean" in statistics.values() else "u"
    matrices = PairMatrices(first, kernel, centring, options.progress)
    others = matrices if second is first else PairMatrices(second, kernel, centring, options.progress)
    products = pair_products(matrices, others, options.memory_bytes, options.progress)
    pairs, transforms = Pairs(matrices, others, products), transforms or {}
    return {
        name: pairs.values(statistic, options.intervals, transforms.get(statistic))
        for name, statistic in statistics.items()
    }


@dataclass(frozen=True)
class _Margin:
    """Of the matrices of the clips that are kept: row sums without the diagonal, and diagonals, [R, N]."""

    sums: np.ndarray
    diagonal: np.ndarray


class Pairs:
    """All pairs of two sides' matrices, with the sums that every statistic of them is made of."""

    def __init__(self, first: PairMatrices, second: PairMatrices, products: PairProducts) -> None:
        self.first, self.second, self.products = first, second, products

    def values(self, statistic: Statistic, intervals: bool, transform: Transform | None = None) -> PairValues:
        """Return a statistic of all pairs with its interval over speakers and its baseline."""
        n = self.first.prepared.n
        a, b = (_Margin(side.sums, side.diagonal) for side in (self.first, self.second))
        own_a = _corrected(self.products.own_first[0], a, a, statistic, _each_with_itself)
        own_b = _corrected(self.products.own_second[0], b, b, statistic, _each_with_itself)
        _check_own(own_a, self.first)
        _check_own(own_b, self.second)
        norms = np.sqrt(np.outer(own_a, own_b))
        cross = _corrected(self.products.total, a, b, statistic, _all_with_all)
        change = transform or (lambda value: value)
        value = change(np.clip(cross / norms, -1, 1))  # rounding may pass the bound of Cauchy and Schwarz
        interval = self._interval(value, statistic, change) if intervals else None
        baseline = np.zeros(value.shape)
        if statistic == "double":
            # The mean over all permutations of the clips: a permuted, doubly centred matrix averages to a multiple of
            # the centring matrix, so E[tr(M P L P')] = tr(M) tr(L) / (N - 1).
            baseline = np.outer(_centred_trace(a), _centred_trace(b)) / ((n - 1) * norms)
        return pair_values(value, interval=interval, baseline=change(baseline))

    def _interval(
        self, value: np.ndarray, statistic: Statistic, change: Transform
    ) -> tuple[np.ndarray, np.ndarray] | None:
        sizes = self.first.prepared.sizes
        if len(sizes) < MIN_SPEAKERS or sum(sizes) - max(sizes) < MIN_CLIPS:
            return None
        low, high = np.empty(value.shape), np.empty(value.shape)
        height = max(1, _LEFT_OUT_BYTES // (8 * len(sizes) * value.shape[1]))
        for start in range(0, len(value), height):
            rows = slice(start, min(start + height, len(value)))
            by_set = in_order(
                functools.partial(self._without, rows=rows, statistic=statistic),
                range(len(sizes)),
                len(sizes) * value.size * self.first.prepared.n // 64,
                waiting=len(sizes),
            )
            left_out = np.stack([change(values) for _, values in by_set])
            bounds = (0 if statistic == "double" else -1, 1)
            low[rows], high[rows] = jackknife_interval(value[rows], left_out, bounds=bounds)
        return low, high

    def _without(self, group: int, rows: slice, statistic: Statistic) -> np.ndarray:
        """Return some rows of the values without one set of speakers; NaN where they are undefined."""
        products = self.products
        assert products.touching is not None
        a, b = _keep(self.first, group, rows), _keep(self.second, group, slice(None))
        own_a, own_b = products.own_first[:, rows], products.own_second
        cross = _corrected(products.total[rows] - products.touching[group, rows], a, b, statistic, _all_with_all)
        own_a = _corrected(own_a[0] - own_a[1 + group], a, a, statistic, _each_with_itself)
        own_b = _corrected(own_b[0] - own_b[1 + group], b, b, statistic, _each_with_itself)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.clip(cross / np.sqrt(np.outer(own_a, own_b)), -1, 1)


def _keep(side: PairMatrices, group: int, rows: slice) -> _Margin:
    """Return the margins without one set of speakers."""
    assert side.by_set is not None
    start, stop = side.starts[group], side.starts[group + 1]
    kept = np.r_[0:start, stop : side.prepared.n]
    sums = side.sums[rows][:, kept] - side.by_set[rows, group][:, kept]
    return _Margin(sums, side.diagonal[rows][:, kept])


def _corrected(
    product: np.ndarray,
    a: _Margin,
    b: _Margin,
    statistic: Statistic,
    times: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return the centred inner product from the sum over distinct clips and the margins.

    `times` pairs rows of margins, all with all or each with its own.
    """
    n = a.sums.shape[1]
    if statistic == "double":
        # Row sums with the diagonal; Gretton et al. 2005, tr(K H L H) written out.
        sums_a, sums_b = a.sums + a.diagonal, b.sums + b.diagonal
        totals = times(sums_a.sum(axis=1, keepdims=True), sums_b.sum(axis=1, keepdims=True))
        return product + times(a.diagonal, b.diagonal) - 2 / n * times(sums_a, sums_b) + totals / n**2
    totals = times(a.sums.sum(axis=1, keepdims=True), b.sums.sum(axis=1, keepdims=True))
    if statistic == "mean":
        return product - totals / (n * (n - 1))
    return product + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * times(a.sums, b.sums)


def _all_with_all(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a @ b.T


def _each_with_itself(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", a, b)


def _centred_trace(margin: _Margin) -> np.ndarray:
    """Return the traces of the doubly centred matrices [R]."""
    n = margin.diagonal.shape[1]
    return margin.diagonal.sum(axis=1) - (margin.sums + margin.diagonal).sum(axis=1) / n


def _check_own(squares: np.ndarray, side: PairMatrices) -> None:
    """Check that every representation has a similarity to itself, beyond rounding."""
    rounding = side.prepared.n * (100 * np.finfo(side.prepared.dtype).eps) ** 2
    flat = np.flatnonzero(squares <= rounding * (side.diagonal**2).sum(axis=1))
    if not len(flat):
        return
    linear = side.kernel.entries is None
    raise AnalysisError(
        "The features vary in one clip only, so their debiased similarity to others is not defined"
        if linear
        else f"All pairs of clips are alike by {side.kernel.name}, so their similarity to others is not defined",
        where=side.prepared.names[flat[0]],
        fix="look at that clip: all others have equal features" if linear else "use another measure, or a wider kernel",
    )
