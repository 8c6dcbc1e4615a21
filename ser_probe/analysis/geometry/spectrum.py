"""Measures of dimension from the eigenvalues of a representation's covariance.

One eigendecomposition serves every measure here. All are functions of the eigenvalues of the centred clips, so they
are invariant to shift, rotation and isotropic scaling, and not to other linear maps. All saturate where clips are few:
N clips span at most N - 1 dimensions, so two values can be compared only at the same N and D; `isotropic_features`
draws the ceiling to read them against.
"""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.inputs import check_features
from ser_probe.errors import AnalysisError
from ser_probe.runtime import derive_seed

MIN_CLIPS = 3
# Relative to a feature's largest absolute value: a smaller spread is what rounding to float32 leaves of a constant.
_CONSTANT = 4 * float(np.finfo(np.float32).eps)
# Relative to the largest eigenvalue: what rounding in float64 leaves of 0.
_ROUNDING = 1e-12


def centred(x: np.ndarray, what: str = "The features") -> np.ndarray:
    """Return features less their mean over clips, float64 [N, D], after checking that they have a shape.

    Raises:
        AnalysisError: If there are fewer than 3 clips, NaN, or features that do not vary.
    """
    wide = check_features(x, what).astype(np.float64)
    if len(wide) < MIN_CLIPS:
        raise AnalysisError(f"{what} are too few clips to have a shape", expected="3 clips", found=len(wide))
    rows = wide - wide.mean(axis=0)
    if (np.abs(rows).max(axis=0) <= _CONSTANT * np.abs(wide).max(axis=0)).all():
        raise AnalysisError(
            f"{what} do not vary: all clips have the same", found=f"{len(rows)} clips", fix="look at the extraction"
        )
    return rows


def eigenvalues(rows: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of the covariance of centred features, in descending order.

    Args:
        rows: Centred features, float64 [N, D].

    Returns:
        float64 of shape [min(N - 1, D)], none negative. They sum to the total variance (divisor N - 1). The smaller
        one of the two cross-products is decomposed; both have the same eigenvalues.
    """
    n, width = rows.shape
    square = rows.T @ rows if width <= n else rows @ rows.T
    values = np.linalg.eigvalsh(square)[::-1][: min(n - 1, width)] / (n - 1)
    return np.where(values > _ROUNDING * values[0], values, 0.0)


def participation_ratio(values: np.ndarray) -> float:
    """Return (sum of eigenvalues)^2 / sum of squared eigenvalues (Gao et al. 2017), in [1, number of eigenvalues].

    It is D for an isotropic distribution and 1 on a line. Of N clips it is biased low, the more so the closer it is to
    N: about 1 / (1 / true + 1 / N). `pairs` gives an estimate without that bias.
    """
    return float(values.sum() ** 2 / (values**2).sum())


def effective_rank(values: np.ndarray) -> float:
    """Return exp(entropy) of the eigenvalues' shares (Roy & Vetterli 2007, of the covariance matrix).

    In [1, number of eigenvalues]: k for k equal eigenvalues. At least the participation ratio (Renyi entropies of
    order 1 and 2): it counts small directions more.
    """
    return _exp_entropy(values)


def rankme(values: np.ndarray) -> float:
    """Return RankMe: exp(entropy) of the singular values' shares (Garrido et al. 2023, equation 1).

    The singular values are the square roots of the covariance's eigenvalues, which makes small directions count more
    than in `effective_rank`. They are those of the centred features; the paper does not centre, and so counts the
    vector that all clips share as one more direction. That vector has its own measure, the anisotropy.
    """
    return _exp_entropy(np.sqrt(values))


def isoscore(values: np.ndarray, width: int) -> float:
    """Return IsoScore (Rudman et al. 2022), in [0, 1]: 0 where one direction has all variance, 1 where all have equal.

    The paper's five steps reduce to (participation ratio - 1) / (D - 1); a test follows them one by one. It is given
    because it is in use, and says nothing that the participation ratio does not.

    Raises:
        AnalysisError: If there is only one dimension.
    """
    if width < 2:
        raise AnalysisError("IsoScore compares directions, and there is only one", found="features of width 1")
    return (participation_ratio(values) - 1) / (width - 1)


def variance_shares(values: np.ndarray) -> np.ndarray:
    """Return each component's share of the variance, in descending order; they sum to 1."""
    return values / values.sum()


def isotropic_features(n_clips: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw clips from an isotropic normal distribution, float64 [N, D].

    Measured as a representation is, it gives the ceiling of each measure of dimension at this N and D.
    """
    return np.random.default_rng(derive_seed("isotropic features", seed)).standard_normal((n_clips, width))


def _exp_entropy(weights: np.ndarray) -> float:
    shares = weights[weights > 0] / weights.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
