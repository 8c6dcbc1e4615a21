"""The dimension of the manifold that the clips lie on, from each clip's two nearest neighbours.

Source: Facco, d'Errico, Rodriguez & Laio 2017, "Estimating the intrinsic dimension of datasets by a minimal
neighborhood information", Scientific Reports 7. Where the density is constant as far as the second neighbour, the ratio
mu of the two distances has the distribution function 1 - mu^-d.

Invariant to shift, rotation and isotropic scaling, and, unlike the linear measures of `spectrum`, to bending the
manifold. It looks at the scale of neighbours: noise of small variance in many directions counts fully where
neighbours are no further apart than it. Dimensions above about 20 are underestimated, since they would need more clips
than there are.
"""

from __future__ import annotations

import numpy as np

from ser_probe.errors import AnalysisError

DISCARDED = 0.1
"""The share of largest ratios that the fit leaves out (the paper's choice): they come from sparse regions."""
MIN_RATIOS = 3


def neighbour_ratios(nearest: np.ndarray) -> np.ndarray:
    """Return the ratio of the second to the first neighbour's distance, of clips where the first is not 0.

    Args:
        nearest: The two smallest distances of each clip to others, ascending, [N, 2]. Clips with a copy (distance 0)
            have no ratio and are left out.
    """
    usable = nearest[(nearest[:, 0] > 0) & np.isfinite(nearest[:, 1])]
    return usable[:, 1] / usable[:, 0]


def two_nn(ratios: np.ndarray, *, discarded: float = DISCARDED) -> float:
    """Return the dimension by the paper's fit: the slope through the origin of -log(1 - F) against log mu.

    Args:
        ratios: From `neighbour_ratios`, [N].
        discarded: The share of largest ratios left out. Their points would pull the most and are the least sure.

    Returns:
        The dimension, above 0; NaN for fewer than 3 ratios, infinity where all ratios that are kept are 1.
    """
    if not 0 <= discarded < 1:
        raise AnalysisError("The discarded share of ratios must leave some", expected="0 <= share < 1", found=discarded)
    n = len(ratios)
    if n < MIN_RATIOS:
        return float("nan")
    # F of the last ratio is 1 - 1/n or, as in the paper's steps, 1 with an infinite logarithm: it is never used.
    kept = min(max(2, int(n * (1 - discarded))), n - 1)
    x = np.log(np.sort(ratios)[:kept])
    y = -np.log1p(-np.arange(1, kept + 1) / n)
    return float(x @ y / (x @ x)) if x @ x > 0 else float("inf")


def two_nn_mle(ratios: np.ndarray) -> float:
    """Return the dimension by maximum likelihood, (N - 1) / sum of log mu.

    log mu is exponential with rate d; N / sum is its maximum-likelihood estimate and N - 1 takes its bias away (Denti
    et al. 2022, equation 6). More precise than the fit where the assumptions hold, and more disturbed by large ratios.

    Returns:
        The dimension, above 0; NaN for fewer than 3 ratios, infinity where all are 1.
    """
    if len(ratios) < MIN_RATIOS:
        return float("nan")
    total = np.log(ratios).sum()
    return float((len(ratios) - 1) / total) if total > 0 else float("inf")
