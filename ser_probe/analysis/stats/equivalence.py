"""Equivalence: are two models so alike that the difference does not matter?

A large p-value of a t-test is no evidence of equality. Two one-sided tests (Schuirmann 1987) are: they ask whether the
difference lies inside bounds that were chosen beforehand. The bound must come from what would matter, not the data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats

from ser_probe.analysis.stats.comparisons import Contrast, Pairs, Test, adjust, each_pair, ignored_precision, matched
from ser_probe.analysis.stats.observations import Observations
from ser_probe.errors import AnalysisError

COLUMNS = (
    *("factor", "level_a", "level_b", "within", "test", "n_a", "n_b", "difference", "difference_low"),
    *("difference_high", "bound", "t_lower", "t_upper", "df", "p", "p_holm", "equivalent"),
)


@dataclass(frozen=True)
class Bound:
    """How far apart two means may be and still count as equal: in the response's unit, or in standard deviations."""

    size: float
    standardised: bool = False


@dataclass(frozen=True)
class Tost:
    """Two one-sided tests.

    Args:
        difference: Of the means.
        low: Lower end of its interval of 1 - 2 alpha, which lies inside the bounds if and only if p < alpha.
        high: Upper end.
        bound: In the response's unit.
        t_lower: Of the test that the difference is above -bound.
        t_upper: Of the test that it is below the bound.
        df: Degrees of freedom of both.
        p: The larger of both p-values.
    """

    difference: float
    low: float
    high: float
    bound: float
    t_lower: float
    t_upper: float
    df: float
    p: float


def parse_bound(text: str) -> Bound:
    """Return the bound that `0.02` (the response's unit) or `0.5g` (standard deviations) stands for.

    Raises:
        AnalysisError: If it is neither, or not above 0.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e-?\d+)?)\s*(g?)\s*", text)
    try:
        size = float(match[1]) if match else 0.0
    except ValueError:
        size = 0.0
    if match is None or size <= 0:
        raise AnalysisError(
            "The bound of equivalence cannot be read",
            expected="a number above 0 in the response's unit, or in standard deviations as 0.5g",
            found=repr(text),
        )
    return Bound(size, bool(match[2]))


def equivalence_test(
    a: np.ndarray, b: np.ndarray, bound: Bound, *, paired: bool = False, pooled: bool = False, alpha: float = 0.05
) -> Tost:
    """Test whether two means differ by less than a bound.

    A bound in standard deviations is turned into the response's unit by the deviation of these observations (pooled, or
    of the differences), taken as known.

    Args:
        a: Observations [N_a].
        b: Observations [N_b]; for pairs in the same order.
        bound: The largest difference that does not matter.
        paired: Whether a and b are pairs.
        pooled: Whether equal variances are assumed; Welch's degrees of freedom otherwise.
        alpha: Level of the test; the interval is of 1 - 2 alpha.

    Raises:
        AnalysisError: If there are fewer than two observations, pairs do not match, or nothing varies.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(x), len(y)) < 2 or (paired and len(x) != len(y)):
        raise AnalysisError(
            "An equivalence test needs two observations or more of each" + (", in pairs" if paired else ""),
            found=f"{len(x)} and {len(y)}",
        )
    if paired:
        spread = np.std(x - y, ddof=1)
    else:
        spread = np.sqrt(((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / (len(x) + len(y) - 2))
    if not spread > 0:
        raise AnalysisError("The observations do not vary, so their difference cannot be tested")
    with ignored_precision():
        test = scipy.stats.ttest_1samp(x - y, 0.0) if paired else scipy.stats.ttest_ind(x, y, equal_var=pooled)
    low, high = test.confidence_interval(1 - 2 * alpha)
    difference, df = float(x.mean() - y.mean()), float(test.df)
    error = (float(high) - float(low)) / 2 / scipy.stats.t.ppf(1 - alpha, df)
    limit = bound.size * float(spread) if bound.standardised else bound.size
    t_lower, t_upper = (difference + limit) / error, (difference - limit) / error
    p = max(scipy.stats.t.sf(t_lower, df), scipy.stats.t.cdf(t_upper, df))
    return Tost(difference, float(low), float(high), limit, float(t_lower), float(t_upper), df, float(p))


def equivalence_table(
    observations: Observations,
    contrasts: Sequence[Contrast],
    bound: Bound,
    *,
    test: Test = "welch",
    pairs: Pairs = "all",
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Return an equivalence test of each comparison, a row each; pairs that do not vary are left out.

    Args:
        observations: The data.
        contrasts: What is compared.
        bound: The largest difference that does not matter.
        test: `paired` and `pooled` are taken as such; for every other test Welch's is made.
        pairs: As for `compare`.
        alpha: Level of the test.
    """
    rows = []
    for names, a, b in each_pair(observations, contrasts, pairs):
        x, y = matched(a, b) if test == "paired" else (a.values, b.values)
        try:
            made = equivalence_test(x, y, bound, paired=test == "paired", pooled=test == "pooled", alpha=alpha)
        except AnalysisError:
            continue
        kind = test if test in ("paired", "pooled") else "welch"
        rows.append([*names, kind, len(x), len(y), made.difference, made.low, made.high, made.bound, made.t_lower,
                     made.t_upper, made.df, made.p])  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-2]))
    corrected = adjust(table["p"].to_numpy(np.float64), "holm")
    return table.assign(p_holm=corrected, equivalent=corrected < alpha)
