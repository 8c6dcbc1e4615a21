"""Tests with weaker assumptions, to see whether an answer depends on the stronger ones.

They stand beside the analysis of variance and do not replace it: where they agree the assumptions do not matter, where
they disagree they do. Which to report must not be chosen by its p-value.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.stats

from ser_probe.analysis.stats.anova import RESIDUAL
from ser_probe.analysis.stats.linear_model import LinearFit, require_statsmodels, term_columns, term_name
from ser_probe.analysis.stats.observations import TIMES, Observations

COLUMNS = ("term", "method", "statistic", "df", "df_error", "p")
_LEVERAGE = 1 - 1e-9


def robust_table(fit: LinearFit) -> pd.DataFrame:
    """Return each term of the analysis of variance tested in other ways, a row a term and method.

    - `hc3`: the F test with a covariance that lets every cell have its own variance (MacKinnon and White 1985; Long and
      Ervin 2000). Not where a cell has a single observation or two do not vary; with fewer than ten
      or so it still finds too much.
    - `aligned_rank`: all other terms are taken out, the rest is ranked, and the ranks analysed (Wobbrock et al. 2011).
      Robust to outliers and skewness; with unequal variances it finds too much.
    - `kruskal`: Kruskal and Wallis's test, with a single factor, in the place of aligned ranks.

    Ranks need single values, so that data made from means have only `hc3`.

    Args:
        fit: The fitted model, with all interactions for aligned ranks.
    """
    rows = _heteroscedastic(fit)
    observations = fit.observations
    if observations.exact and len(observations.factors) == 1:
        samples = [observations.values[observations.cells == cell] for cell in range(observations.shape[0])]
        test = scipy.stats.kruskal(*samples)
        rows.append((observations.names[0], "kruskal", test.statistic, len(samples) - 1, np.nan, test.pvalue))
    elif observations.exact and fit.order == len(observations.factors):
        rows += _aligned_ranks(fit)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def align(observations: Observations, factors: tuple[int, ...]) -> np.ndarray:
    """Return the observations with every effect taken out but that of one term, float64 of shape [N].

    A residual from its cell's mean plus the term's effect: the cell means with, along each factor of the term, the mean
    taken off, and averaged over every other factor (all cells weighing the same).

    Args:
        observations: The data, no cell empty.
        factors: The positions of the term's factors.
    """
    means = observations.means()
    effect = means
    for axis in range(means.ndim):
        average = effect.mean(axis=axis, keepdims=True)
        effect = effect - average if axis in factors else np.broadcast_to(average, effect.shape)
    return observations.values - means.ravel()[observations.cells] + effect.ravel()[observations.cells]


def _heteroscedastic(fit: LinearFit) -> list[tuple[str, str, float, float, float, float]]:
    results = fit.results
    observations = fit.observations
    spreads = pd.Series(observations.values).groupby(observations.cells).agg(np.ptp)
    # A cell of one has no spread that could be known; of two cells without any, the difference seems to be exact.
    if np.max(fit.influence.hat_matrix_diag) > _LEVERAGE or (spreads == 0).sum() > 1:
        return []
    anova_lm = require_statsmodels("statsmodels.stats.anova").anova_lm
    raw = anova_lm(results, typ=3, robust="hc3").drop(index=["Intercept", RESIDUAL])
    return [
        (term_name(str(name), fit.observations), "hc3", row["F"], row["df"], fit.df_error, row["PR(>F)"])
        for name, row in raw.iterrows()
    ]


def _aligned_ranks(fit: LinearFit) -> list[tuple[str, str, float, float, float, float]]:
    """Return the type III test of each term on the ranks aligned for it: the model's design, with ranks in it."""
    observations, x = fit.observations, np.asarray(fit.results.model.exog)
    inverse = np.asarray(fit.results.normalized_cov_params)
    rows: list[tuple[str, str, float, float, float, float]] = []
    for term, where in term_columns(fit.results.model.exog_names).items():
        name = term_name(term, observations)
        places = tuple(i for i, factor in enumerate(observations.names) if factor in name.split(TIMES))
        ranks = scipy.stats.rankdata(np.round(align(observations, places), _DIGITS))
        ranks -= ranks.mean()
        estimates = inverse @ (x.T @ ranks)
        mse = float(np.square(ranks - x @ estimates).sum()) / fit.df_error
        explained = estimates[where] @ np.linalg.solve(inverse[np.ix_(where, where)], estimates[where])
        f = float(explained) / len(where) / mse if mse > 0 else np.nan
        p = float(scipy.stats.f.sf(f, len(where), fit.df_error))
        rows.append((name, "aligned_rank", f, len(where), fit.df_error, p))
    return rows


# Ties that rounding has broken are ties.
_DIGITS = 12
