"""How many seeds are needed: power of t-tests by the noncentral t distribution.

Before the experiment: choose the smallest effect that would matter, and see how many repetitions find it. Power must
not be computed from an effect that was observed: it is then a function of the p-value and says nothing new.

statsmodels computes the same power (the largest difference over effects of 0 to 60, levels of 1e-6 to 0.2 and 2 to a
million repetitions is 2e-11), but gives NaN in a ninth of these cases, and its `solve_power` (0.15) gives other numbers
of repetitions in 245 of 576 cases: a wrong root or none. It is used by the tests alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import scipy.optimize
import scipy.stats

from ser_probe.errors import AnalysisError

Design = Literal["two_sample", "paired"]
DESIGNS: tuple[Design, ...] = ("two_sample", "paired")
MOST_N = 1_000_000
"""More repetitions than this are refused as unreasonable."""


def power_of_t(effect: float, n: np.ndarray | int, *, alpha: float = 0.05, design: Design = "two_sample") -> np.ndarray:
    """Return the chance that a two-sided t-test finds an effect.

    Args:
        effect: The true difference in standard deviations; of the differences, for pairs.
        n: Repetitions of each of two models, or pairs, 2 or more, of any shape.
        alpha: Level of the test, in (0, 1).
        design: `two_sample` (equally many each, equal variances) or `paired`.

    Returns:
        Power in [alpha, 1], of the shape of `n`. Equal for an effect and its opposite; rises with both arguments.
    """
    n = np.asarray(n, dtype=np.float64)
    df = 2 * n - 2 if design == "two_sample" else n - 1
    shift = abs(effect) * np.sqrt(n / 2 if design == "two_sample" else n)
    critical = scipy.stats.t.ppf(1 - alpha / 2, df)
    upper = scipy.stats.nct.sf(critical, df, shift)
    # scipy returns NaN far from the middle of the distribution: the tail on the other side of 0 is then 0, and an
    # effect that lies far beyond the critical value cannot be missed.
    lower = np.nan_to_num(scipy.stats.nct.cdf(-critical, df, shift), nan=0.0)
    return np.where(np.isnan(upper) & (shift > critical), 1.0, upper) + lower


def needed_n(effect: float, *, power: float = 0.8, alpha: float = 0.05, design: Design = "two_sample") -> int:
    """Return the fewest repetitions that find an effect with at least this power.

    Args:
        effect: In standard deviations, not 0.
        power: Wanted, in (alpha, 1).
        alpha: Level of the test.
        design: As for `power_of_t`.

    Raises:
        AnalysisError: If the effect is 0, the power cannot be had, or more than a million repetitions are needed.
    """
    _check(power, alpha)
    if effect == 0 or power_of_t(effect, MOST_N, alpha=alpha, design=design) < power:
        raise AnalysisError(
            "No reasonable number of repetitions finds this effect",
            expected=f"an effect that {MOST_N} repetitions find",
            found=f"an effect of {effect:g} standard deviations",
            fix="name a larger smallest effect of interest",
        )
    low, high = 1, 2
    while power_of_t(effect, high, alpha=alpha, design=design) < power:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        enough = power_of_t(effect, middle, alpha=alpha, design=design) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def detectable_effect(n: int, *, power: float = 0.8, alpha: float = 0.05, design: Design = "two_sample") -> float:
    """Return the smallest effect, in standard deviations, that so many repetitions find with this power.

    Raises:
        AnalysisError: If there are fewer than 2 repetitions or the power cannot be had.
    """
    _check(power, alpha)
    if n < 2:
        raise AnalysisError("A t-test needs 2 repetitions or more", found=n)

    def missing(effect: float) -> float:
        return float(power_of_t(effect, n, alpha=alpha, design=design)) - power

    high = 1.0
    while missing(high) < 0:  # with two repetitions and a strict level an effect of 100 is not enough
        high *= 2
    return float(scipy.optimize.brentq(missing, 0.0, high))


def power_table(
    effects: Sequence[float],
    *,
    n: int | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    n_tests: int = 1,
) -> pd.DataFrame:
    """Return what a study should know before it starts.

    Rows of `question`: `needed` repetitions for each effect; the power `at_this_n`; the effect `detectable` at this n.
    Each for the level alpha and, where several tests are made, for alpha / n_tests, which is what the smallest p-value
    faces under Holm's correction.

    Args:
        effects: Smallest effects of interest, in standard deviations.
        n: Repetitions at hand; None for none yet.
        power: Wanted power.
        alpha: Level of the test.
        n_tests: How many tests are made.
    """
    rows = []
    for level in dict.fromkeys((alpha, alpha / n_tests)):
        for design in DESIGNS:
            shared = {"design": design, "alpha": level, "n_tests": 1 if level == alpha else n_tests}
            for effect in effects:
                needed = needed_n(effect, power=power, alpha=level, design=design)
                had = float(power_of_t(effect, needed, alpha=level, design=design))
                rows.append({"question": "needed", **shared, "effect_size": effect, "n": needed, "power": had})
                if n is not None and n >= 2:
                    had = float(power_of_t(effect, n, alpha=level, design=design))
                    rows.append({"question": "at_this_n", **shared, "effect_size": effect, "n": n, "power": had})
            if n is not None and n >= 2:
                least = detectable_effect(n, power=power, alpha=level, design=design)
                rows.append({"question": "detectable", **shared, "effect_size": least, "n": n, "power": power})
    return pd.DataFrame(rows)


def power_curves(
    effects: Sequence[float], *, n: int | None = None, target: float = 0.8, alpha: float = 0.05
) -> pd.DataFrame:
    """Return power against the number of repetitions, up to where the smallest effect is found; a row a point.

    Args:
        effects: In standard deviations.
        n: Repetitions at hand, shown within the range where it is not too large.
        target: Power that the curves reach.
        alpha: Level of the test.
    """
    rows = []
    for design in DESIGNS:
        last = max(needed_n(effect, power=target, alpha=alpha, design=design) for effect in effects)
        last = max(int(1.5 * last), min(n or 0, 4 * last), 10)
        counts = np.unique(np.geomspace(2, last, 40).round().astype(int))
        for effect in effects:
            values = power_of_t(effect, counts, alpha=alpha, design=design)
            rows += [
                {"design": design, "effect_size": effect, "n": int(k), "power": float(v), "alpha": alpha,
                 "target": target, "n_now": n}
                for k, v in zip(counts, values, strict=True)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def _check(power: float, alpha: float) -> None:
    if not 0 < alpha < power < 1:
        raise AnalysisError(
            "A power lies between the level of the test and 1",
            expected="0 < alpha < power < 1",
            found=f"alpha = {alpha:g}, power = {power:g}",
        )
