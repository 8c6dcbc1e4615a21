"""Linear CKA of one pair by two routes, written as the papers have it: what the engine of all pairs is checked by."""

from __future__ import annotations

import numpy as np


def linear_cka(x: np.ndarray, y: np.ndarray, *, debiased: bool = True, route: str = "features") -> float:
    """Return the linear CKA of features [N, D1] and [N, D2]; `features` and `gram` are two ways to compute it."""
    hsic = {"features": _hsic_features, "gram": _hsic_gram}[route]
    x, y = (z.astype(np.float64) - z.mean(axis=0, dtype=np.float64) for z in (x, y))
    return float(hsic(x, y, debiased) / np.sqrt(hsic(x, x, debiased) * hsic(y, y, debiased)))


def _hsic_features(x: np.ndarray, y: np.ndarray, debiased: bool) -> float:
    """HSIC of centred features, up to a factor that cancels in CKA.

    The rows of a centred Gram sum to 0, so those of the Gram without its diagonal sum to minus the diagonal, and
    Song et al.'s three terms (2007, equation 4) reduce to the cross-product and the clips' squared norms.
    """
    product = ((x.T @ y) ** 2).sum()
    if not debiased:
        return product
    n, norms_x, norms_y = len(x), (x**2).sum(axis=1), (y**2).sum(axis=1)
    return product - n / (n - 2) * (norms_x @ norms_y) + norms_x.sum() * norms_y.sum() / ((n - 1) * (n - 2))


def _hsic_gram(x: np.ndarray, y: np.ndarray, debiased: bool) -> float:
    """HSIC as the inner product of (U-)centred Gram matrices, up to a factor that cancels in CKA."""
    centre = u_centred if debiased else doubly_centred
    return (centre(x @ x.T) * centre(y @ y.T)).sum()


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
