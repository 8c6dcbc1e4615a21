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
from ser_probe.analysis.resampling import jackknife_interval
from ser_probe.analysis.similarity.grams import (
    MEMORY_BYTES,
    MIN_CLIPS,
    PairedHsic,
    check_own,
    inner_products,
    prepare_features,
)

Route = Literal["features", "gram"]


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
    first, second = prepare_features([x], "x", ["x"]), prepare_features([y], "y", ["y"])
    check_lengths(x=x, y=y)
    n, d_x, d_y = len(x), x.shape[1], y.shape[1]
    if route is None:
        cheaper = d_x * d_y + d_x**2 + d_y**2 <= n * (d_x + d_y)
        route = "features" if cheaper else "gram"
    hsic = {"features": _hsic_features, "gram": _hsic_gram}[route]
    xc, yc = first.rows(0), second.rows(0)
    own = hsic(xc, xc, debiased), hsic(yc, yc, debiased)
    check_own(np.array(own[:1]), ["x"])
    check_own(np.array(own[1:]), ["y"])
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
    representations: Sequence[np.ndarray],
    others: Sequence[np.ndarray] | None = None,
    *,
    groups: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    other_names: Sequence[str] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> CkaPairs:
    """Compute the linear CKA of every representation with every other one.

    Each Gram matrix is computed once, in blocks of rows; a block of all of them times a block of all the others,
    each flattened, gives the inner products of all pairs in one matrix product. Intervals leave one speaker out at
    a time; the products are kept by speaker, so that a left-out speaker's share is subtracted and not recomputed.

    An interval is about the speakers at hand. Two clips of one speaker have the speaker in common, which is part of
    the value, and more so with fewer speakers (simulated: 0.43 with 6 speakers where many have 0.37; the intervals
    then cover the latter in 90 to 96 of 100 studies).

    Args:
        representations: R arrays of shape [N, D]; widths may differ.
        others: S arrays of shape [N, D']; by default the representations themselves.
        groups: Each clip's speaker, of shape [N]; without it no intervals.
        names: What messages call the representations.
        other_names: What messages call the others.
        memory_bytes: Memory for one block of rows of all Gram matrices.

    Raises:
        AnalysisError: If there are fewer than 4 clips, NaN, or features that do not vary.
    """
    first = prepare_features(representations, "representation", names, groups)
    second = first if others is None else prepare_features(others, "other representation", other_names, groups)
    check_lengths(representations=first.order, others=second.order)
    sums = inner_products(first, second, memory_bytes)
    hsic = PairedHsic(first, second, sums)
    norms = np.sqrt(np.outer(sums.own_first.sum(axis=0), sums.own_second.sum(axis=0)))
    return CkaPairs(
        debiased=_estimate(hsic, debiased=True, with_interval=groups is not None),
        biased=_estimate(hsic, debiased=False, with_interval=groups is not None),
        baseline=1 / ((len(first.order) - 1) * norms),
    )


def _estimate(hsic: PairedHsic, *, debiased: bool, with_interval: bool) -> Estimates:
    value, sizes = hsic.cka(None, debiased), hsic.first.sizes
    if not with_interval or sum(sizes) - max(sizes) < MIN_CLIPS:
        return Estimates(value, np.full(value.shape, np.nan), np.full(value.shape, np.nan))
    left_out = np.stack([hsic.cka(group, debiased) for group in range(len(sizes))])
    return Estimates(value, *jackknife_interval(value, left_out, bounds=(-1 if debiased else 0, 1)))
