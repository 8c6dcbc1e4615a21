"""The linear model behind an analysis of variance, fitted by statsmodels with sum-to-zero contrasts.

The door to statsmodels. Column names and levels never reach its formula language, which would run them as code:
factors are called f0, f1, ... and levels are numbers.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.stats.observations import TIMES, Observations
from ser_probe.errors import AnalysisError
from ser_probe.packages import require

MOST_COLUMNS = 1200
"""Columns of the design beyond which a fit takes minutes."""
_SHOWN = 5
# Replicates that agree to 12 digits are copies, not measurements.
_COPIES = 1e-12


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A fitted linear model.

    Args:
        observations: What was fitted.
        results: statsmodels' results.
        order: The highest order of interaction in the model.
    """

    observations: Observations
    results: Any
    order: int

    @property
    def residuals(self) -> np.ndarray:
        """The residuals [N]."""
        return np.asarray(self.results.resid)

    @property
    def df_error(self) -> float:
        """Degrees of freedom of the residual."""
        return float(self.results.df_resid)

    @functools.cached_property
    def influence(self) -> Any:
        """statsmodels' measures of how much each observation weighs."""
        return self.results.get_influence()

    @property
    def mse(self) -> float:
        """Mean square of the residual."""
        return float(self.results.mse_resid)


def require_statsmodels(module: str = "statsmodels.formula.api") -> ModuleType:
    """Import a module of statsmodels.

    Raises:
        MissingExtraError: If it is not installed.
    """
    return require(module, extra="stats", purpose="The analysis of variance")


def fit_linear(observations: Observations, *, order: int | None = None) -> LinearFit:
    """Fit the cell means, or fewer parameters where interactions are left out.

    Args:
        observations: The data.
        order: Highest order of interaction, 1 for main effects alone; None for all.

    Raises:
        AnalysisError: If a cell that the model needs is empty, no cell repeats, the design is too large, or the
            response does not vary within cells.
        MissingExtraError: If statsmodels is not installed.
    """
    order = len(observations.factors) if order is None else min(order, len(observations.factors))
    check_cells(observations, order)
    frame = model_frame(observations)
    # Around its mean, so that a large offset costs no digits of the sums of squares.
    frame["y"] -= frame["y"].mean()
    ols = require_statsmodels().ols
    model = ols(f"y ~ {fixed_formula(len(observations.factors), order)}", frame)
    exog = model.exog
    # With an observation in every cell all effects can be told apart.
    if (observations.counts() == 0).any() and np.linalg.matrix_rank(exog) < exog.shape[1]:
        raise AnalysisError(
            "The effects of the design cannot be told apart: some combinations of levels have no observation",
            found=_empty(observations, len(observations.factors)),
            fix="leave out a factor or levels, or lower the order of interactions",
        )
    results = model.fit()
    if results.df_resid < 1:
        raise AnalysisError(
            "Cells have fewer than 2 observations, so nothing says how much results vary by chance",
            expected="2 or more observations in a cell",
            found=f"{len(observations.values)} observations in {observations.counts().size} cells",
            fix="add repetitions (seeds), leave out a factor, or lower the order of interactions",
        )
    _check_spread(observations, float(results.ssr), order)
    return LinearFit(observations, results, order)


def model_frame(observations: Observations) -> pd.DataFrame:
    """Return the data under neutral names: y, f0, f1, ..."""
    columns = {f"f{i}": factor.codes for i, factor in enumerate(observations.factors)}
    return pd.DataFrame({"y": observations.values, **columns})


def fixed_formula(n_factors: int, order: int) -> str:
    """Return the right-hand side of a formula with all interactions up to an order, sum-to-zero coded."""
    names = [f"C(f{i}, Sum)" for i in range(n_factors)]
    return " + ".join(":".join(term) for size in range(1, order + 1) for term in itertools.combinations(names, size))


def term_name(term: str, observations: Observations) -> str:
    """Return a term of a formula under the factors' own names."""
    indices = [int(i) for i in re.findall(r"C\(f(\d+), Sum\)", term)]
    return TIMES.join(observations.names[i] for i in indices) if indices else term


def term_columns(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the columns of a design that each term has, without the intercept.

    Args:
        names: The columns' names, as `C(f0, Sum)[S.1]:C(f1, Sum)[S.0]`: the term's, with a level in brackets.
    """
    terms = np.array([re.sub(r"\[[^]]*]", "", name) for name in names])
    return {str(term): np.flatnonzero(terms == term) for term in dict.fromkeys(terms) if term != "Intercept"}


def check_cells(observations: Observations, order: int) -> None:
    """Check that every combination of levels that an interaction asks for was observed, and that the design fits.

    Raises:
        AnalysisError: If a cell is empty, or there are too many.
    """
    counts = observations.counts()
    if (columns := _n_columns(observations.shape, order)) > MOST_COLUMNS:
        raise AnalysisError(
            "The design has too many cells for an analysis of variance",
            expected=f"{MOST_COLUMNS} effects at most",
            found=f"{columns}: {' x '.join(map(str, observations.shape))} levels",
            fix="leave out a factor or levels, or lower the order of interactions",
        )
    if order == counts.ndim and (counts == 0).any():
        raise AnalysisError(
            "Cells of the design are empty, so the interaction of all factors cannot be estimated",
            expected="2 or more observations in every combination of levels",
            found=f"{int((counts == 0).sum())} of {counts.size} cells without any: {_empty(observations, order)}",
            fix="leave out a factor or levels, or lower the order of interactions",
        )


def _n_columns(shape: tuple[int, ...], order: int) -> int:
    sizes = (subset for size in range(order + 1) for subset in itertools.combinations(shape, size))
    return int(sum(np.prod([levels - 1 for levels in subset]) for subset in sizes))


def _empty(observations: Observations, order: int) -> str:
    empty = np.argwhere(observations.counts() == 0)
    named = [
        " ".join(f"{f.name}={f.levels[i]}" for f, i in zip(observations.factors, cell, strict=True))
        for cell in empty[:_SHOWN]
    ]
    return "; ".join(named) + ("; ..." if len(empty) > _SHOWN else "")


def _check_spread(observations: Observations, residual: float, order: int) -> None:
    scale = float(np.square(observations.values).sum())
    if residual <= _COPIES**2 * scale * len(observations.values):
        raise AnalysisError(
            f"The response {observations.response!r} does not vary within cells",
            expected="repetitions that differ by chance",
            found=f"{len(observations.values)} observations that their cells predict exactly",
            fix="these are copies of one result, not repetitions: repeat with other seeds, splits or speakers",
        )
