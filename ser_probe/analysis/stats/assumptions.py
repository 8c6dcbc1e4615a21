"""Assumptions of the tests, checked where possible, with what to do where they do not hold.

A check that passes proves nothing: with few observations it detects little, with many it detects what does not matter.
So each check states its number of observations and the size of the departure. Independence cannot be checked at all.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.stats

from ser_probe.analysis.stats.linear_model import LinearFit
from ser_probe.analysis.stats.observations import Observations

COLUMNS = ("check", "statistic_name", "statistic", "df", "p", "n", "verdict", "words")
HOLDS, DOUBT, UNKNOWN = "holds", "in doubt", "not checked"
# scipy's p-value of Shapiro and Wilk's test is not accurate beyond.
_MOST_SHAPIRO = 5000
_FEWEST = 8
# Variances that differ by less hardly move the level of a balanced analysis of variance (Box 1954).
_HARMLESS_RATIO = 4.0
# Fitted exactly: an observation alone in its cell, whose residual says nothing.
_LEVERAGE = 1 - 1e-9


def check_assumptions(fit: LinearFit, *, alpha: float = 0.05) -> pd.DataFrame:
    """Return a row a check: balance, normal residuals, equal variances, outliers, independence.

    - `normality`: Shapiro and Wilk's W of the residuals (D'Agostino and Pearson's K2 beyond 5000), with skewness and
      excess kurtosis.
    - `equal variances`: Brown and Forsythe's test over cells, and the ratio of the largest to the smallest variance.
    - `outliers`: the largest externally studentised residual, with Bonferroni's correction.
    - `influence`: the largest Cook's distance.
    - `units`: whether residuals of one unit (a seed, a run) are alike, which an analysis of variance takes for chance.

    Args:
        fit: The fitted model.
        alpha: Level of the checks.
    """
    observations = fit.observations
    rows = [_balance(observations)]
    if observations.exact:
        rows += [_normality(fit.residuals, alpha), _variances(observations, alpha), *_outliers(fit, alpha)]
    else:
        lost = "single values are not known, only means and deviations"
        rows += [_row("normality", UNKNOWN, lost), _variance_ratio(observations), _row("outliers", UNKNOWN, lost)]
    if observations.units is not None:
        rows.append(_units(fit, observations.units, alpha))
    rows.append(
        _row("independence", UNKNOWN, "no test can see it: say how the observations were made, and what one of them is")
    )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def residual_table(fit: LinearFit) -> pd.DataFrame:
    """Return each residual with what a normal one of its rank would be, and a band that holds 95 % at each rank.

    Residuals are internally studentised. The band is pointwise: of 20 points one is expected outside.
    """
    influence = fit.influence
    kept = np.asarray(influence.hat_matrix_diag) < _LEVERAGE
    residuals = np.sort(np.asarray(influence.resid_studentized_internal)[kept])
    n = len(residuals)
    rank = np.arange(1, n + 1)
    normal = scipy.stats.norm.ppf((rank - 0.375) / (n + 0.25))  # Blom's positions
    low, high = (scipy.stats.norm.ppf(scipy.stats.beta.ppf(q, rank, n + 1 - rank)) for q in (0.025, 0.975))
    return pd.DataFrame({"theoretical": normal, "residual": residuals, "ci_low": low, "ci_high": high, "n": n})


def _row(
    check: str, verdict: str, words: str, name: str = "", statistic: float = np.nan, df: str = "", p: float = np.nan,
    n: int | None = None,
) -> dict[str, object]:  # fmt: skip
    return dict(zip(COLUMNS, (check, name, statistic, df, p, n, verdict, words), strict=True))


def _balance(observations: Observations) -> dict[str, object]:
    counts = observations.counts()
    least, most, n = int(counts.min()), int(counts.max()), int(counts.sum())
    if least == most:
        return _row("balance", HOLDS, f"{least} observations in each of {counts.size} cells", n=n)
    words = (
        f"{least} to {most} observations in a cell: the types of sums of squares differ, and unequal variances matter "
        "more; say which type you report"
    )
    return _row("balance", DOUBT, words, n=n)


def _normality(residuals: np.ndarray, alpha: float) -> dict[str, object]:
    n = len(residuals)
    if n < _FEWEST:
        return _row("normality", UNKNOWN, f"{n} residuals are too few to tell", n=n)
    name, test = ("W", scipy.stats.shapiro) if n <= _MOST_SHAPIRO else ("K2", scipy.stats.normaltest)
    statistic, p = test(residuals)
    shape = f"skewness {scipy.stats.skew(residuals):.2f}, excess kurtosis {scipy.stats.kurtosis(residuals):.2f}"
    if p >= alpha:
        few = "; with so few it would miss all but gross departures" if n < 30 else ""
        return _row("normality", HOLDS, f"no sign of a departure ({shape}){few}", name, statistic, p=p, n=n)
    many = "with so many observations small departures show and hardly matter; " if n > 300 else ""
    words = f"the residuals are not normal ({shape}); {many}compare with the aligned ranks, or use --test mann-whitney"
    return _row("normality", DOUBT, words, name, statistic, p=p, n=n)


def _variances(observations: Observations, alpha: float) -> dict[str, object]:
    samples = [observations.values[observations.cells == cell] for cell in np.unique(observations.cells)]
    samples = [sample for sample in samples if len(sample) > 1]
    n = sum(len(sample) for sample in samples)
    if len(samples) < 2:
        return _row("equal variances", UNKNOWN, "fewer than two cells have two observations", n=n)
    ratio = _ratio(np.array([sample.var(ddof=1) for sample in samples]))
    medians = [sample - np.median(sample) for sample in samples]
    df = f"{len(samples) - 1}, {n - len(samples)}"
    if len({float(np.abs(m).mean()) for m in medians}) == 1:
        return _row("equal variances", HOLDS, f"largest variance {ratio:.2g} times the smallest", df=df, n=n)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic, p = scipy.stats.levene(*samples, center="median")
    said = f"largest variance {ratio:.2g} times the smallest"
    if p >= alpha:
        return _row("equal variances", HOLDS, f"no sign of a difference ({said})", "F", statistic, df, p, n)
    mild = "; below 4 this hardly matters where cells are equally large" if ratio < _HARMLESS_RATIO else ""
    words = f"variances differ between cells ({said}){mild}; compare with the HC3 tests, and prefer Welch's t"
    return _row("equal variances", DOUBT, words, "F", statistic, df, p, n)


def _variance_ratio(observations: Observations) -> dict[str, object]:
    variances = pd.Series(observations.values).groupby(observations.cells).var().dropna().to_numpy()
    ratio, n = _ratio(variances), len(observations.values)
    if ratio < _HARMLESS_RATIO:
        words = f"largest variance {ratio:.2g} times the smallest: below 4 hardly matters where cells are equally large"
        return _row("equal variances", HOLDS, words, "ratio", ratio, n=n)
    words = f"largest variance {ratio:.2g} times the smallest: compare with the HC3 tests, and prefer Welch's t"
    return _row("equal variances", DOUBT, words, "ratio", ratio, n=n)


def _units(fit: LinearFit, units: np.ndarray, alpha: float) -> dict[str, object]:
    """Test the residuals by unit: exact where every unit has one observation in every cell."""
    grouped = pd.Series(fit.residuals).groupby(units)
    df, df_error = grouped.ngroups - 1, fit.df_error - (grouped.ngroups - 1)
    n = len(units)
    if grouped.ngroups in (1, n) or df_error < 1:
        return _row("units", UNKNOWN, "no unit has results in several cells", n=n)
    between = float((grouped.size() * grouped.mean() ** 2).sum())
    within = float(np.square(fit.residuals).sum()) - between
    if within <= 0:
        return _row("units", UNKNOWN, "units explain the residuals completely", n=n)
    f = between / df / (within / df_error)
    p, size = float(scipy.stats.f.sf(f, df, df_error)), n / grouped.ngroups
    alike = max(0.0, (f - 1) / (f - 1 + size))
    numbers = ("F", f, f"{df}, {df_error:g}", p, n)
    if p >= alpha:
        return _row(
            "units", HOLDS, f"no sign that results of one unit are alike (intraclass correlation {alike:.2f})", *numbers
        )
    words = (
        f"results of one unit are alike (intraclass correlation {alike:.2f}), so that cells are no independent "
        "samples: go by the paired tests and the mixed model"
    )
    return _row("units", DOUBT, words, *numbers)


def _ratio(variances: np.ndarray) -> float:
    smallest = float(variances.min())
    return float(variances.max()) / smallest if smallest > 0 else np.inf


def _outliers(fit: LinearFit, alpha: float) -> list[dict[str, object]]:
    influence = fit.influence
    n, df = len(fit.residuals), fit.df_error - 1
    kept = np.asarray(influence.hat_matrix_diag) < _LEVERAGE
    if df < 1 or not kept.any():
        return [_row("outliers", UNKNOWN, "too few observations to tell", n=n)]
    internal = np.abs(np.asarray(influence.resid_studentized_internal)[kept])
    # The residual in the deviation of all others (Cook and Weisberg 1982), without fitting each of them out.
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = internal * np.sqrt(df / np.maximum(fit.df_error - internal**2, 0))
    p = np.minimum(2 * scipy.stats.t.sf(studentised, df) * n, 1)
    count, largest = int((p < alpha).sum()), int(np.nanargmax(studentised))
    words = "none lies further out than chance allows"
    if count:
        words = f"{count} lie further out than chance allows: look at them, but that is no reason to drop them"
    numbers = (float(studentised[largest]), f"{df:g}", float(p[largest]), n)
    most = float(np.nanmax(np.asarray(influence.cooks_distance[0])[kept]))
    moved = "no single observation moves the estimates by much"
    if most > 1:
        moved = "one observation moves the estimates by much: report with and without it"
    return [
        _row("outliers", DOUBT if count else HOLDS, words, "t", *numbers),
        _row("influence", DOUBT if most > 1 else HOLDS, moved, "Cook's D", most, n=n),
    ]
