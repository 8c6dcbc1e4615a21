"""Limits of noncentrality parameters: the step from an observed t or F to an interval of an effect size.

An interval is found by inverting the test (Steiger 2004, Psychological Methods 9): its ends are the noncentralities
under which the observed statistic lies at the upper and at the lower tail.

scipy's own inverses (`nctdtrinc`, `ncfdtrinc`, 1.17) are not used: they stop at an error of 1e-7 in the probability,
which is up to 5e-5 in the noncentrality for |t| up to 8 and 4 to 998 degrees of freedom, and return finite numbers that
are wrong by a factor of two in far tails, where there is no limit to give.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.special

_DOUBLINGS = 60
# The bracket is halved to the last bit of a double.
_HALVINGS = 70
# Far above the rounding of the distribution functions, far below what an interval could show.
_TOLERANCE = 1e-6


def noncentral_t_limits(t: np.ndarray, df: np.ndarray, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval of the noncentrality of t.

    Args:
        t: Observed statistics, of any shape [...].
        df: Their degrees of freedom, above 0, of the same shape or one for all.
        level: Coverage, in (0, 1).

    Returns:
        Lower and upper ends of shape [...]; NaN where t or df is.
    """
    t, df = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(df, np.float64))
    tail = (1 - level) / 2
    spread = 4 * np.sqrt(1 + t**2 / (2 * df))

    def cdf(ncp: np.ndarray) -> np.ndarray:
        return scipy.special.nctdtr(df, ncp, t)

    lower = _solve(cdf, 1 - tail, t - spread, t + spread)
    upper = _solve(cdf, tail, t - spread, t + spread)
    return lower, upper


def noncentral_f_limits(
    f: np.ndarray, df1: np.ndarray, df2: np.ndarray, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval of the noncentrality of F.

    Args:
        f: Observed statistics, 0 or more, of any shape [...].
        df1: Degrees of freedom of the effect.
        df2: Degrees of freedom of the error.
        level: Coverage, in (0, 1).

    Returns:
        Lower and upper ends of shape [...], 0 where the data are as small as chance makes them; NaN where F is.
    """
    f, df1, df2 = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (f, df1, df2)))
    tail = (1 - level) / 2
    centre = f * df1

    def cdf(ncp: np.ndarray) -> np.ndarray:
        return scipy.special.ncfdtr(df1, df2, ncp, f)

    spread = 4 * np.sqrt(2 * df1 + 4 * centre + 2 * centre**2 / df2) + 4
    nothing = np.zeros_like(f)
    ends = []
    for probability in (1 - tail, tail):
        root = _solve(cdf, probability, nothing, centre + spread, grow_down=False)
        ends.append(np.where(cdf(nothing) < probability, 0.0, root))
    return ends[0], ends[1]


def _solve(
    cdf: Callable[[np.ndarray], np.ndarray],
    probability: float,
    low: np.ndarray,
    high: np.ndarray,
    *,
    grow_down: bool = True,
) -> np.ndarray:
    """Return where a function that falls with its argument takes a value, element by element."""
    low, high = low.astype(np.float64), high.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        for _ in range(_DOUBLINGS):
            up = cdf(high) > probability
            down = (cdf(low) < probability) & grow_down
            if not (up.any() or down.any()):
                break
            width = high - low
            high, low = np.where(up, high + width, high), np.where(down, low - width, low)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = cdf(middle) > probability
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        root = (low + high) / 2
        # The distribution functions give up at noncentralities of some 1e5: no limit rather than a wrong one.
        reached = np.abs(cdf(root) - probability) < _TOLERANCE
    return np.where(reached, root, np.nan)
