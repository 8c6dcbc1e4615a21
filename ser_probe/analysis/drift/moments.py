"""Shift of the mean against change of the covariance: the two parts of the Frechet distance of two normals.

Frechet 1957; Dowson & Landau 1982: between normals of means m, m' and covariances S, S' the squared distance is

    |m - m'|^2  +  tr S + tr S' - 2 tr (S^1/2 S' S^1/2)^1/2

The first term is a move of all clips alike, the second (the squared Bures distance) the least that clips must move to
give the cloud its new shape. Both are given relative to tr S, the total variance before, so that they can be compared
and added: 1 is a move as far as clips lie from their mean. What the clips did beyond both (changed places within the
cloud) is seen by `cka_debiased`, `procrustes` and `knn_overlap` instead. The first is estimated without bias, so that
their sum is the squared Frechet distance of these clips up to about 1 / N.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.linalg

from ser_probe.analysis.drift.alignment import ROUNDING, root_sum
from ser_probe.analysis.drift.ratios import ClipRatio
from ser_probe.analysis.resampling import MIN_SPEAKERS, group_codes, jackknife_interval

# Of the mean eigenvalue, added to all of them: a layer may have fewer dimensions than columns.
_RIDGE = 1e-13


class MeanShift:
    """The squared distance between the means before and after, over the total variance before, without bias.

    The squared mean of N unrelated moves is not 0 but their variance over N. So it is estimated as the mean product of
    the moves of two different clips, of different speakers where there are two or more: an unbiased estimate, 0 on
    average where speakers move in ways that have nothing in common, and then as often a little below 0 as above. A
    shift of all clips alike is measured exactly. Unchanged by a rotation, shift or scaling of both alike.

    Args:
        x: Features before, [N, D].
        y: Features of the same clips after, [N, D].
        speakers: Each clip's speaker [N]; with three or more there are intervals.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, speakers: np.ndarray | None = None) -> None:
        self.moves = y - x
        centred = x - x.mean(axis=0)
        squares = np.einsum("nd,nd->n", centred, centred)
        self.variance = float(squares.mean())
        self.codes: np.ndarray | None = None
        if speakers is not None:
            _, self.codes = group_codes(speakers)
            sums, n_left = _sums(centred, self.codes), len(x) - np.bincount(self.codes)
            left = squares.sum() - np.bincount(self.codes, weights=squares)
            with np.errstate(invalid="ignore", divide="ignore"):
                self.variances = left / n_left - np.einsum("gd,gd->g", sums, sums) / n_left**2

    def of(self, chosen: np.ndarray) -> tuple[float, float, float]:
        """Return the value of some clips, a mask [N], and its 95 % interval; the variance is always that of all clips.

        The interval is a jackknife over speakers, NaN with fewer than three. One clip alone has no other to be compared
        with: its value is NaN.
        """
        moves = self.moves[chosen]
        codes = np.arange(len(moves)) if self.codes is None else self.codes[chosen]
        present, codes = np.unique(codes, return_inverse=True)
        of_speakers = self.codes is not None and len(present) > 1
        if not of_speakers:
            codes = np.arange(len(moves))
        sums, sizes = _sums(moves, codes), np.bincount(codes).astype(float)
        value = _mean_product(sums, sizes)[0] / self.variance
        if not of_speakers or len(present) < MIN_SPEAKERS:
            return float(value), np.nan, np.nan
        left_out = _mean_product(sums, sizes)[1:] / self.variances[present]
        low, high = jackknife_interval(np.asarray(value), left_out, bounds=(-np.inf, np.inf))
        return float(value), float(low), float(high)


def _mean_product(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the mean inner product of two rows of different groups, of all groups and without each, [1 + G].

    Args:
        sums: Sums of each group's rows, [G, D].
        sizes: Rows of each group, [G].
    """
    within, with_total, n_rows = np.einsum("gd,gd->g", sums, sums), sums @ sums.sum(axis=0), sizes.sum()
    everything = with_total.sum()
    without_each = everything - 2 * with_total + within - (within.sum() - within)
    products = np.concatenate([[everything - within.sum()], without_each])
    pairs = np.concatenate([
        [n_rows**2 - (sizes**2).sum()], (n_rows - sizes) ** 2 - ((sizes**2).sum() - sizes**2)
    ])  # fmt: skip
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, products / pairs, np.nan)  # type: ignore[no-any-return]


def _sums(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the sums of rows by group, [G, D]; codes are 0..G-1 and all occur."""
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes))[:-1]])
    return np.add.reduceat(x[order], starts, axis=0)


class Spread:
    """A layer's centred features with a triangular root of their covariance: what `covariance_shift` is made of."""

    def __init__(self, x: np.ndarray) -> None:
        self.centred = x - x.mean(axis=0)
        product = self.centred.T @ self.centred
        product[np.diag_indices_from(product)] += _RIDGE * max(np.trace(product) / len(product), np.finfo(float).tiny)
        self.root = np.linalg.cholesky(product).T  # root' root = product

    @functools.cached_property
    def basis(self) -> np.ndarray:
        """Rows of orthonormal columns, centred = basis @ root; float32."""
        rows = scipy.linalg.solve_triangular(self.root, self.centred.T, trans="T", check_finite=False)
        return rows.T.astype(np.float32)


def covariance_shift(x: Spread, y: Spread) -> ClipRatio:
    """Return the squared Bures distance between the covariances before and after, over the total variance before.

    From 0 without end. A shift does not count; scaling by c gives (c - 1)^2. It sees the cloud and not the clips: 0 if
    they change places, and a rotation counts only as far as it turns the cloud's axes. In float64 it is exact to about
    1e-7.

    tr (S^1/2 S' S^1/2)^1/2 is the sum of the singular values of K = Xc Yc' / N. As a function of the clips' weights w,
    where K_ij becomes sqrt(w_i) K_ij sqrt(w_j), its derivatives at equal weights are ((K K')^1/2 + (K' K)^1/2)_ii / 2,
    whose sum is the whole. So each clip has its part, and the jackknife subtracts the parts of a speaker: right to
    first order, where recomputing it would take a decomposition for each speaker.

    Args:
        x: Features before.
        y: Features of the same clips after.
    """
    squares, vectors = np.linalg.eigh(_squares(x, y))
    kept = squares > ROUNDING**2 * squares[-1]
    values, vectors = np.sqrt(squares[kept]), vectors[:, kept].astype(np.float32)
    # The clips' parts need no more than float32; their sum is put right.
    after = ((y.basis @ vectors) ** 2) @ values
    before = ((x.centred.astype(np.float32) @ (y.root.T.astype(np.float32) @ vectors)) ** 2) @ (1 / values)
    after *= values.sum() / after.sum()
    before *= values.sum() / before.sum()
    own_x, own_y = (np.einsum("nd,nd->n", state.centred, state.centred) for state in (x, y))
    return ClipRatio(own_x + own_y - before - after, own_x)


def covariance_shift_value(x: Spread, y: Spread) -> float:
    """Return what `covariance_shift` is over all clips, without their parts: half the time."""
    own_x, own_y = (float((state.centred**2).sum()) for state in (x, y))
    return max(0.0, (own_x + own_y - 2 * root_sum(np.linalg.eigvalsh(_squares(x, y)))) / own_x)


def _squares(x: Spread, y: Spread) -> np.ndarray:
    """Return K' K, in the coordinates in which K is the product of the two roots."""
    product = x.root @ y.root.T
    return product.T @ product  # type: ignore[no-any-return]
