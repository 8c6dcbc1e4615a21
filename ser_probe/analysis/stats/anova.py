"""Analysis of variance with any number of factors: which of them matter, and how much of the variance each explains.

Rows must be independent repetitions: several results of one trained model are not. Which terms to believe is not
decided here; with an interaction in the table a main effect is an average over levels that differ.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from ser_probe.analysis.stats.effect_sizes import omega_squared, partial_eta_squared
from ser_probe.analysis.stats.linear_model import LinearFit, require_statsmodels, term_name

COLUMNS = (
    *("term", "df", "sum_sq", "F", "p", "partial_eta_sq", "ci_low", "ci_high"),
    *("omega_sq", "df_error", "type", "n"),
)
RESIDUAL = "Residual"
Kind = Literal[2, 3]


def anova_table(fit: LinearFit, *, kind: Kind = 3, alpha: float = 0.05) -> pd.DataFrame:
    """Return the analysis of variance of a fitted model, a row a term and a last one for the residual.

    Type III tests each term after all others, so that a main effect compares unweighted means of cells; type II tests
    it after all terms that do not contain it, which has more power where there is no interaction (Langsrud 2003). With
    equally many observations in each cell both are the same. `partial_eta_sq` has a two-sided interval of 1 - alpha.

    Args:
        fit: From `fit_linear`.
        kind: Type of the sums of squares, 2 or 3.
        alpha: Level of the intervals, in (0, 1).
    """
    anova_lm = require_statsmodels("statsmodels.stats.anova").anova_lm
    raw = anova_lm(fit.results, typ=kind).drop(index="Intercept", errors="ignore")
    observations, n = fit.observations, len(fit.observations.values)
    terms = raw.drop(index=RESIDUAL)
    f, df = terms["F"].to_numpy(np.float64), terms["df"].to_numpy(np.float64)
    eta = partial_eta_squared(f, df, np.full(len(f), fit.df_error), n, level=1 - alpha)
    table = pd.DataFrame({
        "term": [term_name(str(term), observations) for term in terms.index],
        "df": df, "sum_sq": terms["sum_sq"].to_numpy(np.float64), "F": f, "p": terms["PR(>F)"].to_numpy(np.float64),
        "partial_eta_sq": eta.value, "ci_low": eta.low, "ci_high": eta.high, "omega_sq": omega_squared(f, df, n),
    })  # fmt: skip
    residual = pd.DataFrame({"term": [RESIDUAL], "df": [fit.df_error], "sum_sq": [float(fit.results.ssr)]})
    whole = pd.concat([table, residual], ignore_index=True)
    whole = whole.assign(df=whole["df"].astype(int), df_error=int(fit.df_error), type="II" if kind == 2 else "III", n=n)
    return whole[list(COLUMNS)]
