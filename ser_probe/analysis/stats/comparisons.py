"""Planned and post-hoc comparisons of two levels: t-tests, a rank test, and their correction for how many there are.

Every p-value stands beside an effect size with its interval and beside p-values corrected over the whole table. Which
comparisons are made must be decided before looking at the data, or be all of them.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

from ser_probe.analysis.corrections import holm
from ser_probe.analysis.stats.effect_sizes import rank_biserial, standardised_difference
from ser_probe.analysis.stats.linear_model import LinearFit
from ser_probe.analysis.stats.observations import Factor, Observations
from ser_probe.errors import AnalysisError, did_you_mean

Test = Literal["welch", "pooled", "mann-whitney", "paired", "residual"]
Pairs = Literal["all", "first"]
COLUMNS = (
    *("factor", "level_a", "level_b", "within", "test", "n_a", "n_b", "mean_a", "mean_b"),
    *("difference", "difference_low", "difference_high", "statistic", "df", "p", "p_holm", "p_bh"),
    *("effect", "effect_size", "ci_low", "ci_high"),
)
EFFECTS = {
    "welch": "hedges_g", "pooled": "hedges_g", "mann-whitney": "rank_biserial", "paired": "hedges_g_paired",
    "residual": "hedges_g_residual",
}  # fmt: skip
# A deviation below the rounding of the values counts as 0.
_ROUNDING = 1e-12
_NO_UNITS = "A paired test needs to know which observations belong together"
_NAME_UNITS = "name the column that says so, as --unit seed"


@dataclass(frozen=True)
class Contrast:
    """Which levels are compared: those of a factor, over all of the data or within each level of others."""

    factor: str
    within: tuple[str, ...] = ()


class Sample(NamedTuple):
    """The observations of one level: values [N], their units [N] where there are units; the cells of its rows."""

    values: np.ndarray
    units: np.ndarray | None
    cells: np.ndarray


class Result(NamedTuple):
    """One comparison, `a` less `b`, and what its effect size is made of.

    Args:
        spread: Standard deviation that the difference is measured in.
        weight: Squared standard error of the difference in units of the spread.
        spread_df: Degrees of freedom of the spread.
        effect_size: Where it is no standardised difference.
    """

    n_a: int
    n_b: int
    mean_a: float
    mean_b: float
    difference: float
    difference_low: float
    difference_high: float
    statistic: float
    df: float
    p: float
    spread: float = np.nan
    weight: float = np.nan
    spread_df: float = np.nan
    effect_size: float = np.nan
    ci_low: float = np.nan
    ci_high: float = np.nan


def parse_contrast(text: str, observations: Observations) -> Contrast:
    """Return the comparison that `step` (over everything) or `step:layer` (within each layer) names.

    Raises:
        AnalysisError: If a name is no factor of the design.
    """
    if text in observations.names:
        return Contrast(text)
    first, *within = text.split(":")
    for name in (first, *within):
        if name not in observations.names:
            raise AnalysisError(
                f"The comparison {text!r} names no factor of the design",
                expected="a factor, or factor:within",
                found=name,
                fix=did_you_mean(name, observations.names),
            )
    if first in within:
        raise AnalysisError(f"The comparison {text!r} would look at one factor within itself", expected="two factors")
    return Contrast(first, tuple(within))


def compare(
    observations: Observations,
    contrasts: Sequence[Contrast],
    *,
    test: Test = "welch",
    pairs: Pairs = "all",
    fit: LinearFit | None = None,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Return all comparisons, a row each, with p-values corrected over all rows.

    - `welch`, `pooled`: t-tests of independent observations, the latter assuming equal variances. Without `within`
      every observation of a level counts, so that what the other factors do is part of the spread.
    - `mann-whitney`: the rank test of independent observations; the difference of means and its (Welch) interval are
      given beside it, which the test is not about.
    - `paired`: the t-test of differences between observations of the same unit.
    - `residual`: the difference of unweighted cell means, in the residual deviation of the analysis of variance: the
      other factors are taken out. Fisher's planned comparison.

    Where observations have units and a level covers several cells, each unit counts once, by its mean.

    Args:
        observations: The data.
        contrasts: What is compared.
        test: One of the above.
        pairs: `all` pairs of levels, or each level against the `first`.
        fit: The fitted model, for `residual`.
        alpha: Level of the intervals, in (0, 1).

    Returns:
        The table; statistics are NaN where a pair has fewer than two observations a side or no spread.

    Raises:
        AnalysisError: If paired tests are asked of observations without units, or the residual's without a model.
    """
    if test == "paired" and observations.units is None:
        raise AnalysisError(_NO_UNITS, fix=_NAME_UNITS)
    if test == "residual" and fit is None:
        raise AnalysisError("The test against the residual needs the analysis of variance")
    run = _residual_test(fit, alpha) if fit is not None and test == "residual" else _TESTS[test]
    rows = [
        {**dict(zip(COLUMNS[:5], (*names, test), strict=True)), **run(a, b, alpha)._asdict()}
        for names, a, b in each_pair(observations, contrasts, pairs)
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS[:5], *Result._fields])
    if test != "mann-whitney":
        # All at once: the limits of noncentral t are searched for in steps, which cost the same for one and for many.
        made = (table[name].to_numpy(np.float64) for name in ("difference", "spread", "weight", "spread_df"))
        g = standardised_difference(*made, level=1 - alpha)
        table = table.assign(effect_size=g.value, ci_low=g.low, ci_high=g.high)
    p = table["p"].to_numpy(np.float64)
    table = table.assign(p_holm=adjust(p, "holm"), p_bh=adjust(p, "bh"), effect=EFFECTS[test])
    return table[list(COLUMNS)]


def adjust(p: np.ndarray, method: Literal["holm", "bh"]) -> np.ndarray:
    """Return p-values corrected for their number.

    Args:
        p: P-values [N]; those that are NaN do not count.
        method: `holm` bounds the chance of any false positive (Holm 1979); `bh` the share of false ones among the
            positives (Benjamini and Hochberg 1995), for independent or positively dependent tests.

    Returns:
        Corrected p-values [N], in [0, 1], none below its own p.
    """
    if method == "holm":
        return holm(p)
    corrected, known = np.full(len(p), np.nan), ~np.isnan(p)
    if known.any():
        corrected[known] = scipy.stats.false_discovery_control(p[known])
    return corrected


def each_pair(
    observations: Observations, contrasts: Sequence[Contrast], pairs: Pairs
) -> Iterator[tuple[tuple[str, str, str, str], Sample, Sample]]:
    """Yield every pair that is compared: factor, both levels and where; and both samples, neither of them empty."""
    for contrast in contrasts:
        factor = observations.factor(contrast.factor)
        for place, chosen in _places(observations, contrast.within):
            for i, j in _pairs(len(factor.levels), pairs):
                a, b = (_sample(observations, factor, level, chosen) for level in (i, j))
                if len(a.values) and len(b.values):
                    yield (factor.name, factor.levels[i], factor.levels[j], place), a, b


@contextlib.contextmanager
def ignored_precision() -> Iterator[None]:
    """Silence scipy's remark that one of two samples is constant: whether both are is looked at before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Precision loss")
        yield


def matched(a: Sample, b: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of two samples [P] of the units that are in both, in one order."""
    if a.units is None or b.units is None:
        raise AnalysisError(_NO_UNITS, fix=_NAME_UNITS)
    _, at_a, at_b = np.intersect1d(a.units, b.units, return_indices=True)
    return a.values[at_a], b.values[at_b]


def _places(observations: Observations, within: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each combination of levels that comparisons are made within: its name, and its observations [N]."""
    factors = [observations.factor(name) for name in within]
    for levels in itertools.product(*(range(len(factor.levels)) for factor in factors)):
        chosen = np.ones(len(observations.values), dtype=bool)
        for factor, level in zip(factors, levels, strict=True):
            chosen &= factor.codes == level
        names = [f"{f.name}={f.levels[level]}" for f, level in zip(factors, levels, strict=True)]
        yield ", ".join(names), chosen


def _pairs(n: int, pairs: Pairs) -> list[tuple[int, int]]:
    """Return pairs of levels, the later less the earlier: a difference is a change."""
    return [(j, i) for i, j in itertools.combinations(range(n), 2) if pairs == "all" or i == 0]


def _sample(observations: Observations, factor: Factor, level: int, chosen: np.ndarray) -> Sample:
    rows = chosen & (factor.codes == level)
    values, cells, units = observations.values[rows], observations.cells[rows], observations.units
    if units is None or not rows.any():
        return Sample(values, None if units is None else units[rows], cells)
    means = pd.Series(values).groupby(units[rows]).mean()
    return Sample(means.to_numpy(), means.index.to_numpy(), cells)


def _independent(a: Sample, b: Sample, alpha: float, *, pooled: bool) -> Result:
    x, y = a.values, b.values
    n = (len(x), len(y))
    difference, spread = float(x.mean() - y.mean()), float(np.hypot(x.std(), y.std()))
    if min(n) < 2 or spread <= _ROUNDING * max(abs(x.mean()), abs(y.mean())):
        return _no_test(x, y)
    with ignored_precision():
        test = scipy.stats.ttest_ind(x, y, equal_var=pooled)
    low, high = test.confidence_interval(1 - alpha)
    sd = np.sqrt(((n[0] - 1) * x.var(ddof=1) + (n[1] - 1) * y.var(ddof=1)) / (sum(n) - 2))
    numbers = (x.mean(), y.mean(), difference, low, high, *_statistic(test), sd, 1 / n[0] + 1 / n[1], sum(n) - 2)
    return Result(*n, *map(float, numbers))


def _mann_whitney(a: Sample, b: Sample, alpha: float) -> Result:
    means = _independent(a, b, alpha, pooled=False)
    if min(means.n_a, means.n_b) < 2 or np.ptp([*a.values, *b.values]) == 0:
        return _no_test(a.values, b.values)
    # Exact for small samples without ties, as scipy decides it.
    test = scipy.stats.mannwhitneyu(a.values, b.values)
    r = rank_biserial(a.values, b.values, level=1 - alpha)
    return means._replace(
        statistic=float(test.statistic), df=np.nan, p=float(test.pvalue),
        effect_size=float(r.value), ci_low=float(r.low), ci_high=float(r.high),
    )  # fmt: skip


def _paired(a: Sample, b: Sample, alpha: float) -> Result:
    values_a, values_b = matched(a, b)
    x = values_a - values_b
    if len(x) < 2 or x.std() <= _ROUNDING * np.abs(values_a).max():
        return _no_test(values_a, values_b)
    test = scipy.stats.ttest_1samp(x, 0.0)
    low, high = test.confidence_interval(1 - alpha)
    n = len(x)
    numbers = (values_a.mean(), values_b.mean(), x.mean(), low, high, *_statistic(test), x.std(ddof=1), 1 / n, n - 1)
    return Result(n, n, *map(float, numbers))


def _residual_test(fit: LinearFit, alpha: float) -> Callable[[Sample, Sample, float], Result]:
    """Return the test of unweighted means of cells against a model's residual."""
    counts, means = fit.observations.counts().ravel(), fit.observations.means().ravel()
    sd, df = np.sqrt(fit.mse), fit.df_error
    width = scipy.stats.t.ppf(1 - alpha / 2, df)

    def run(a: Sample, b: Sample, alpha: float) -> Result:
        cells = [np.unique(sample.cells) for sample in (a, b)]
        mean_a, mean_b = (float(means[cell].mean()) for cell in cells)
        difference = mean_a - mean_b
        weight = sum(float((1 / counts[cell]).sum()) / len(cell) ** 2 for cell in cells)
        error = sd * np.sqrt(weight)
        t = difference / error
        p = 2 * scipy.stats.t.sf(abs(t), df)
        numbers = (
            mean_a,
            mean_b,
            difference,
            difference - width * error,
            difference + width * error,
            t,
            df,
            p,
            sd,
            weight,
            df,
        )
        n = [int(counts[cell].sum()) for cell in cells]
        return Result(n[0], n[1], *map(float, numbers))

    return run


def _statistic(test: Any) -> tuple[float, float, float]:
    return test.statistic, test.df, test.pvalue


def _no_test(a: np.ndarray, b: np.ndarray) -> Result:
    """Return the result of samples without a spread: the means and their difference."""
    means = (float(a.mean()), float(b.mean())) if len(a) and len(b) else (np.nan, np.nan)
    return Result(len(a), len(b), *means, means[0] - means[1], *([np.nan] * 5))


_TESTS: dict[str, Callable[[Sample, Sample, float], Result]] = {
    "welch": functools.partial(_independent, pooled=False),
    "pooled": functools.partial(_independent, pooled=True),
    "mann-whitney": _mann_whitney,
    "paired": _paired,
}
