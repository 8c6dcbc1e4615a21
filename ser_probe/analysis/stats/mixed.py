"""A linear mixed model: factors as fixed effects, speakers or seeds as a random intercept.

For results that come in groups (several scores of one speaker, one seed, one run), which an analysis of variance would
take for independent. It must not rescue a design with two or three groups: their variance cannot be estimated.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from ser_probe.analysis.stats.linear_model import (
    check_cells,
    fixed_formula,
    model_frame,
    require_statsmodels,
    term_columns,
    term_name,
)
from ser_probe.analysis.stats.observations import Observations, natural_order
from ser_probe.errors import AnalysisError

COLUMNS = (
    *("term", "kind", "df", "df_error", "statistic", "p", "estimate"),
    *("n", "n_groups", "converged", "singular"),
)
_FEWEST_GROUPS = 3
# Below this share of the residual variance the random effect is at its bound of 0.
_SINGULAR = 1e-6
# Optimisers without derivatives: derivatives are inaccurate where the variance is at its bound, and others fail there.
_OPTIMISER: dict[str, Any] = {"method": ["powell"], "xtol": 1e-8, "ftol": 1e-12}


@dataclass(frozen=True, eq=False)
class MixedFit:
    """A fitted mixed model.

    Args:
        fixed: A row a term: F by Wald's test with between-within degrees of freedom.
        components: A row each for the variances of the groups and of the residual, and the intraclass correlation.
        converged: Whether the optimiser says that it is done.
        singular: Whether the groups' variance is at its bound of 0, where the model is a plain linear one.
    """

    fixed: pd.DataFrame
    components: pd.DataFrame
    converged: bool
    singular: bool

    def table(self) -> pd.DataFrame:
        """Return terms and variance components in one table."""
        whole = pd.concat([self.fixed, self.components], ignore_index=True)
        return whole.assign(converged=self.converged, singular=self.singular)[list(COLUMNS)]


def fit_mixed(observations: Observations, *, order: int | None = None) -> MixedFit:
    """Fit response ~ factors + (1 | group) by restricted maximum likelihood.

    Each term has a Wald F with between-within degrees of freedom (Schluchter and Elashoff 1990): those within groups
    for terms that vary inside groups, those between groups for the others. With a balanced design this is the exact F
    of repeated measures; plain Wald tests, which take the residual's spread as known, find too much with few groups.

    Args:
        observations: The data, with groups.
        order: Highest order of interaction; None for all.

    Raises:
        AnalysisError: If there are no groups, fewer than 3, or no group repeats; or as `check_cells` does.
        MissingExtraError: If statsmodels is not installed.
    """
    groups = _groups(observations)
    order = len(observations.factors) if order is None else min(order, len(observations.factors))
    check_cells(observations, order)
    frame = model_frame(observations)
    # Numbers of one size, whatever the response's unit: the optimiser works on them.
    centre, scale = float(frame["y"].mean()), float(frame["y"].std())
    frame["y"] = (frame["y"] - centre) / scale
    results, converged = _fit(f"y ~ {fixed_formula(len(observations.factors), order)}", frame, groups)
    between, residual = float(np.asarray(results.cov_re)[0, 0]), float(results.scale)
    singular = between < _SINGULAR * residual
    covariance = _covariance(results.model.exog, groups, between, residual)
    counts = {"n": len(frame), "n_groups": len(np.unique(groups))}
    fixed = _terms(results, observations, groups, covariance).assign(**counts)
    rows = [
        {"term": "groups", "kind": "variance", "estimate": between * scale**2},
        {"term": "residual", "kind": "variance", "estimate": residual * scale**2},
        {"term": "intraclass correlation", "kind": "share", "estimate": between / (between + residual)},
    ]
    components = pd.DataFrame(rows).assign(**counts)
    return MixedFit(
        fixed.reindex(columns=list(COLUMNS)), components.reindex(columns=list(COLUMNS)), converged, singular
    )


def _groups(observations: Observations) -> np.ndarray:
    if observations.groups is None:
        raise AnalysisError("A mixed model needs a column of groups", fix="name it, as --random speaker")
    groups = observations.groups
    names = natural_order(groups)
    if len(names) < _FEWEST_GROUPS:
        raise AnalysisError(
            "There are too few groups for a random effect",
            expected=f"{_FEWEST_GROUPS} or more",
            found=f"{len(names)}: {', '.join(names)}",
            fix="make it a factor instead",
        )
    if len(names) == len(groups):
        raise AnalysisError(
            "Every observation is a group of its own, so a random effect cannot be told from the residual",
            expected="groups with two observations or more",
            found=f"{len(names)} groups of 1",
            fix="leave the random effect out",
        )
    return groups


def _fit(formula: str, frame: pd.DataFrame, groups: np.ndarray) -> tuple[Any, bool]:
    mixedlm = require_statsmodels().mixedlm
    # What it warns of (no convergence, a variance at its bound) is reported in the table.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            results = mixedlm(formula, frame, groups=groups).fit(reml=True, **_OPTIMISER)
        except np.linalg.LinAlgError as error:
            raise AnalysisError(
                "The mixed model cannot be fitted: its effects cannot be told apart",
                found=str(error),
                fix="leave out a factor or levels, or lower the order of interactions",
            ) from error
    return results, bool(results.converged)


def _covariance(x: np.ndarray, groups: np.ndarray, between: float, residual: float) -> np.ndarray:
    """Return the covariance of the fixed effects, (X' V^-1 X)^-1, which also holds at the bound of a variance.

    V of a group of n is residual I + between 1 1', whose inverse is known in closed form.
    """
    information = x.T @ x
    for group in np.unique(groups):
        total = x[groups == group].sum(axis=0)
        n = int((groups == group).sum())
        information = information - between / (residual + n * between) * np.outer(total, total)
    return residual * np.linalg.inv(information)


def _terms(results: Any, observations: Observations, groups: np.ndarray, covariance: np.ndarray) -> pd.DataFrame:
    """Return the Wald test of each term."""
    x = np.asarray(results.model.exog)
    estimates = np.asarray(results.fe_params)
    centred = x - pd.DataFrame(x).groupby(groups).transform("mean").to_numpy()
    varies = np.abs(centred).max(axis=0) > 1e-9
    df_between = len(np.unique(groups)) - int(np.linalg.matrix_rank(x[:, ~varies]))
    df_within = len(x) - len(np.unique(groups)) - int(np.linalg.matrix_rank(centred))
    rows = []
    for name, where in term_columns(results.model.exog_names).items():
        effects = estimates[where]
        df, df_error = len(effects), df_within if varies[where].any() else df_between
        f = float(effects @ np.linalg.solve(covariance[np.ix_(where, where)], effects)) / df
        p = float(scipy.stats.f.sf(f, df, df_error)) if df_error > 0 else np.nan
        rows.append({"term": term_name(name, observations), "kind": "fixed", "df": df, "df_error": df_error,
                     "statistic": f, "p": p})  # fmt: skip
    return pd.DataFrame(rows)
