"""Effect sizes with intervals: how large a difference is, whatever the number of observations.

Each measure has its range, what leaves it unchanged, and its source. A p-value must not be read as an effect size,
nor an interval that holds 0 as proof of no effect (that is what `equivalence` is for).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from numpy.typing import ArrayLike

from ser_probe.analysis.stats.noncentral import noncentral_f_limits, noncentral_t_limits

# Nearer to an end than any two samples of fewer than a billion observations can come.
_END = 1e-9


class Effect(NamedTuple):
    """An effect size with its interval; all of one shape."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def small_sample_factor(df: ArrayLike) -> np.ndarray:
    """Return Hedges' J, exactly: what makes a standardised difference unbiased (Hedges 1981, equation 6e).

    Args:
        df: Degrees of freedom of the standard deviation; NaN for 1 or fewer, where the expectation does not exist.
    """
    df = np.asarray(df, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        logarithm = scipy.special.gammaln(df / 2) - scipy.special.gammaln((df - 1) / 2) - np.log(df / 2) / 2
        return np.where(df > 1, np.exp(logarithm), np.nan)


def standardised_difference(
    difference: ArrayLike, spread: ArrayLike, weight: ArrayLike, df: ArrayLike, *, level: float = 0.95
) -> Effect:
    """Return Hedges' g with its exact interval.

    g = J (difference / spread). The interval is that of the population's difference in standard deviations, by
    inverting noncentral t (Cumming and Finch 2001): exact for normal observations of equal variance, approximate
    otherwise. Unchanged by a shift and a positive scaling of the response; its sign follows the difference.

    Args:
        difference: Of two means, of any shape [...].
        spread: The standard deviation it is measured in: pooled over both, or that of the paired differences.
        weight: The squared standard error of the difference in units of the spread: 1/n_a + 1/n_b, or 1/n for pairs.
        df: Degrees of freedom of the spread.
        level: Coverage, in (0, 1).

    Returns:
        g and its interval; NaN where the spread is 0.
    """
    difference, spread, weight, df = (np.asarray(x, dtype=np.float64) for x in (difference, spread, weight, df))
    with np.errstate(divide="ignore", invalid="ignore"):
        d = np.where(spread > 0, difference / spread, np.nan)
    scale = np.sqrt(weight)
    low, high = noncentral_t_limits(d / scale, df, level=level)
    return Effect(d * small_sample_factor(df), low * scale, high * scale)


def rank_biserial(a: np.ndarray, b: np.ndarray, *, level: float = 0.95) -> Effect:
    """Return the rank-biserial correlation of two independent samples: P(a > b) - P(a < b), in [-1, 1].

    Kerby (2014). Unchanged by any rising transformation of the response; exchanging the samples turns the sign.
    The interval is method 5 of Newcombe (2006, Statistics in Medicine 25, 559-573) for P(a > b): it inverts the
    score with a variance that depends on the value, and so stays inside the range.

    Args:
        a: Observations [N_a].
        b: Observations [N_b].
        level: Coverage, in (0, 1).
    """
    m, n = len(a), len(b)
    theta = scipy.stats.mannwhitneyu(a, b, method="asymptotic").statistic / (m * n)
    z = scipy.stats.norm.ppf((1 + level) / 2)
    mean_size = (m + n) / 2 - 1

    def variance(t: float) -> float:
        return t * (1 - t) * (1 + mean_size * (1 - t) / (2 - t) + mean_size * t / (1 + t)) / (m * n)

    def distance(t: float) -> float:
        return (theta - t) ** 2 - z**2 * variance(t)

    # At theta the distance is below 0. At an end of the range it is 0, whatever theta: a root, and not the one sought.
    low = 0.0 if theta == 0 else scipy.optimize.brentq(distance, 0.0, min(theta, 1 - _END))
    high = 1.0 if theta == 1 else scipy.optimize.brentq(distance, max(theta, _END), 1.0)
    return Effect(np.array(2 * theta - 1), np.array(2 * low - 1), np.array(2 * high - 1))


def partial_eta_squared(f: np.ndarray, df: np.ndarray, df_error: np.ndarray, n: int, *, level: float = 0.95) -> Effect:
    """Return the share of variance that a term explains of what the other terms leave, in [0, 1].

    The value is df F / (df F + df_error). The interval is that of the population's share, lambda / (lambda + N), by
    inverting noncentral F (Steiger 2004). The value is biased upwards, so in small samples it can lie above the
    middle of its interval, and for F below 1 even outside it. Unchanged by a shift and a scaling of the response.

    Args:
        f: F of each term, of any shape [...].
        df: Its degrees of freedom.
        df_error: Those of the residual.
        n: All observations N.
        level: Coverage, in (0, 1).
    """
    f, df = np.asarray(f, np.float64), np.asarray(df, np.float64)
    low, high = noncentral_f_limits(f, df, np.asarray(df_error), level=level)
    return Effect(df * f / (df * f + df_error), low / (low + n), high / (high + n))


def omega_squared(f: np.ndarray, df: np.ndarray, n: int) -> np.ndarray:
    """Return partial omega squared, the less biased estimate of the same share (Olejnik and Algina 2003).

    df (F - 1) / (df (F - 1) + N); below 0 where F is below 1, which is an estimate of 0.

    Args:
        f: F of each term, of any shape [...].
        df: Its degrees of freedom.
        n: All observations N.
    """
    excess = np.asarray(df, np.float64) * (np.asarray(f, np.float64) - 1)
    return excess / (excess + n)
