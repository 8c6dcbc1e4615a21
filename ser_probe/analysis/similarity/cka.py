"""Linear CKA, biased and debiased: one pair by two routes, or all pairs of many representations at once.

Source: Kornblith et al. 2019 (CKA); Song et al. 2007, equation 4 (unbiased HSIC), which is the U-centred inner
product of Szekely & Rizzo 2014. With K = XX', L = YY' and CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)):

- biased HSIC is the inner product of the doubly centred K and L. It is positive for independent data, the more so
  the fewer clips there are against dimensions; `cka_baseline` says by how much.
- unbiased HSIC leaves out what a clip has in common with itself (the diagonal). Its expectation on independent
  clips is 0, and its CKA lies in [-1, 1], at most a little below 0 in practice.

Invariant to shift, rotation and isotropic scaling of either side; not to other linear maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ser_probe.analysis.inputs import check_lengths
from ser_probe.analysis.similarity.kernels import linear
from ser_probe.analysis.similarity.options import MEMORY_BYTES, Options, PairValues
from ser_probe.analysis.similarity.pair_statistics import Statistic, compare
from ser_probe.analysis.similarity.sources import Sides, Source, prepare
from ser_probe.errors import AnalysisError

Route = Literal["features", "gram"]
# Of unbiased HSIC, where the Grams have trace 1.
_ROUNDING = 1e-12


def linear_cka(x: np.ndarray, y: np.ndarray, *, debiased: bool = True, route: Route | None = None) -> float:
    """Return the linear CKA of two representations of the same clips.

    Args:
        x: Features of shape [N, D1].
        y: Features of shape [N, D2], rows in the same order.
        debiased: Use unbiased HSIC.
        route: `features` takes N D1 D2 steps, `gram` N N (D1 + D2); by default the cheaper one. They agree.

    Returns:
        The CKA: in [0, 1] biased, in [-1, 1] debiased; 1 for equal representations.

    Raises:
        AnalysisError: If there are fewer than 4 clips, NaN, or features that do not vary.
    """
    first, second = prepare([x], "x", ["x"]), prepare([y], "y", ["y"])
    check_lengths(x=x, y=y)
    n, d_x, d_y = len(x), x.shape[1], y.shape[1]
    if route is None:
        cheaper = d_x * d_y + d_x**2 + d_y**2 <= n * (d_x + d_y)
        route = "features" if cheaper else "gram"
    hsic = {"features": _hsic_features, "gram": _hsic_gram}[route]
    xc, yc = (side.rows(0, np.dtype(np.float64)) for side in (first, second))
    own = hsic(xc, xc, debiased), hsic(yc, yc, debiased)
    for value, name in zip(own, "xy", strict=True):
        if value <= _ROUNDING:
            raise AnalysisError(
                "The features vary in one clip only, so their debiased similarity to others is not defined",
                where=name,
                fix="look at that clip: all others have equal features",
            )
    return float(np.clip(hsic(xc, yc, debiased) / np.sqrt(own[0] * own[1]), -1, 1))


def _hsic_features(x: np.ndarray, y: np.ndarray, debiased: bool) -> float:
    """HSIC of centred features, up to a factor that cancels in CKA.

    The rows of a centred Gram sum to 0, so those of the Gram without its diagonal sum to minus the diagonal, and
    Song et al.'s three terms reduce to the cross-product and the clips' squared norms.
    """
    product = float(((x.T @ y) ** 2).sum())
    if not debiased:
        return product
    n, norms_x, norms_y = len(x), (x**2).sum(axis=1), (y**2).sum(axis=1)
    return float(
        product
        - n / (n - 2) * (norms_x @ norms_y)
        + norms_x.sum() * norms_y.sum() / ((n - 1) * (n - 2))
    )  # fmt: skip


def _hsic_gram(x: np.ndarray, y: np.ndarray, debiased: bool) -> float:
    """HSIC as the inner product of (U-)centred Gram matrices, up to a factor that cancels in CKA."""
    centre = u_centred if debiased else doubly_centred
    return float((centre(x @ x.T) * centre(y @ y.T)).sum())


def doubly_centred(gram: np.ndarray) -> np.ndarray:
    """Return a symmetric matrix [N, N] less its row and column means plus its mean."""
    means = gram.mean(axis=0)
    return gram - means[:, None] - means[None, :] + means.mean()


def u_centred(gram: np.ndarray) -> np.ndarray:
    """Return a symmetric matrix [N, N] U-centred, its diagonal 0 (Szekely & Rizzo 2014, definition 2)."""
    n = len(gram)
    gram = gram - np.diag(np.diag(gram))
    sums = gram.sum(axis=0)
    centred = gram - (sums[:, None] + sums[None, :]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0)
    return centred


def cka_baseline(x: np.ndarray, y: np.ndarray) -> float:
    """Return the biased CKA to expect of these two representations if their clips had nothing to do with each other.

    It is the exact mean over all permutations of the clips of y: a permuted centred Gram averages to a multiple of
    the centring matrix, so E[tr(K P L P')] = tr(K) tr(L) / (N - 1) for centred K and L.

    Args:
        x: Features of shape [N, D1].
        y: Features of shape [N, D2].

    Raises:
        AnalysisError: If there are fewer than 4 clips, NaN, or features that do not vary.
    """
    return float(cka_pairs([x], [y]).baseline[0, 0])


@dataclass(frozen=True)
class Estimates:
    """Values [R, S] and their 95 % intervals over speakers, NaN where none can be given."""

    value: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray


@dataclass(frozen=True)
class CkaPairs:
    """All pairwise CKAs. `baseline` [R, S] is what `cka_baseline` says of the biased one; the debiased one's is 0."""

    debiased: Estimates
    biased: Estimates
    baseline: np.ndarray


def cka_pairs(
    representations: Sequence[Source],
    others: Sequence[Source] | None = None,
    *,
    groups: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    other_names: Sequence[str] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> CkaPairs:
    """Compute the linear CKA of every representation with every other one.

    Each Gram matrix is computed once, in blocks of rows right of the diagonal; a block of all of them times a block
    of all the others, each flattened, gives the inner products of all pairs in one matrix product. Features in
    float32, as caches hold them, are multiplied in float32 and added up in float64: the values are within 1e-6 of
    those in float64. Intervals leave one speaker out at a time; the products are kept by speaker, so that a left-out
    speaker's share is subtracted and not recomputed.

    An interval is about the speakers at hand. Two clips of one speaker have the speaker in common, which is part of
    the value, and more so with fewer speakers (simulated: 0.43 with 6 speakers where many have 0.37; the intervals
    then cover the latter in 90 to 96 of 100 studies).

    Args:
        representations: R arrays of shape [N, D], or functions that read one; widths may differ.
        others: S arrays of shape [N, D']; by default the representations themselves.
        groups: Each clip's speaker, of shape [N]; without it no intervals.
        names: What messages call the representations.
        other_names: What messages call the others.
        memory_bytes: Memory for one block of rows of all Gram matrices.

    Raises:
        AnalysisError: If there are fewer than 4 clips, NaN, or features that do not vary.
    """
    sides = Sides(representations, others, names, other_names)
    first, second = sides.prepare(groups)
    found = compare(first, second, linear(), ("u", "double"), memory_bytes=memory_bytes, intervals=groups is not None)
    debiased, biased = (
        Estimates(found[key].value, found[key].ci_low, found[key].ci_high) for key in _STATISTICS.values()
    )
    return CkaPairs(debiased, biased, found["double"].baseline)


_STATISTICS: dict[str, Statistic] = {"cka_debiased": "u", "cka": "double"}


def cka_measures(names: Sequence[str], sides: Sides, options: Options) -> dict[str, PairValues]:
    """Compute `cka_debiased` and `cka` of all pairs, as `cka_pairs` does."""
    first, second = sides.prepare(options.groups)
    found = compare(
        first,
        second,
        linear(),
        tuple(_STATISTICS[name] for name in names),
        memory_bytes=options.memory_bytes,
        intervals=options.intervals,
        progress=options.progress,
    )
    return {name: found[_STATISTICS[name]] for name in names}
