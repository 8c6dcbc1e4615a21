"""From printed means and standard deviations back to a data set that has exactly these.

Analyses of variance and t-tests, of any balance and type, depend on the observations only through each cell's number,
mean and variance. So a data set made to have these gives the very statistics of the lost one. What depends on single
values (ranks, outliers, normality, pairs) cannot be had back, and is refused or left out for such data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.special

from ser_probe.analysis.stats.descriptives import Deviation
from ser_probe.analysis.stats.observations import Observations, make_observations
from ser_probe.errors import AnalysisError, did_you_mean

COLUMNS = ("mean", "sd", "n")
MOST_OBSERVATIONS = 1_000_000
"""How many observations are reconstructed at most, over all cells; more would not change any test."""
_SHOWN = 3


def observations_from_moments(
    cells: pd.DataFrame, factors: Sequence[str], *, response: str = "response", sd: Deviation = "sample"
) -> Observations:
    """Return observations whose cells have exactly these means and deviations.

    Args:
        cells: A row a cell: the factors, and `mean`, `sd`, `n`.
        factors: The columns that name a cell.
        response: What the means are of, for the words.
        sd: Whether the deviations divide by n - 1 (`sample`) or by n (`population`).

    Raises:
        AnalysisError: If a column is missing, a cell comes twice, or a number cannot be a mean, deviation or count.
    """
    for name in (*factors, *COLUMNS):
        if name not in cells.columns:
            raise AnalysisError(
                f"The table of means has no column {name!r}",
                expected=", ".join((*factors, *COLUMNS)),
                fix=did_you_mean(name, map(str, cells.columns)),
            )
    twice = cells.duplicated(list(factors))
    if twice.any():
        raise AnalysisError(
            "A cell comes more than once in the table of means",
            where=f"row {int(np.flatnonzero(twice)[0]) + 1}",
            found=", ".join(f"{name}={cells.loc[twice, name].iloc[0]}" for name in factors),
            fix="name every factor that tells the rows apart",
        )
    mean, deviation, n = (pd.to_numeric(cells[name], errors="coerce").to_numpy(np.float64) for name in COLUMNS)
    wrong = np.flatnonzero(~(np.isfinite(mean) & (deviation >= 0) & np.isfinite(deviation) & (n >= 2) & (n % 1 == 0)))
    if len(wrong):
        first = cells.iloc[wrong[0]]
        raise AnalysisError(
            "A row of the table of means cannot be used",
            where=f"row {', '.join(str(row + 1) for row in wrong[:_SHOWN])}",
            expected="a finite mean, a deviation of 0 or more, and a whole n of 2 or more",
            found=", ".join(f"{name} = {first[name]}" for name in COLUMNS),
        )
    if n.sum() > MOST_OBSERVATIONS:
        largest = int(n.argmax())
        raise AnalysisError(
            "The table of means stands for more observations than can be reconstructed",
            where=f"column n, row {largest + 1}",
            expected=f"{MOST_OBSERVATIONS:,} in all cells together at most",
            found=f"{n.sum():,.0f} in all, {n[largest]:,.0f} in this row",
            fix="check the column n: it counts the observations of a cell, such as runs or seeds",
        )
    n = n.astype(np.int64)
    deviation = deviation * np.sqrt(n / (n - 1)) if sd == "population" else deviation
    parts = [m + s * _scores(size) for m, s, size in zip(mean, deviation, n, strict=True)]
    rows = cells[list(factors)].reset_index(drop=True).loc[np.repeat(np.arange(len(n)), n)]
    # A name that no factor has.
    column = response if response not in factors else f"{response} "
    made = make_observations(rows.assign(**{column: np.concatenate(parts)}), column, factors)
    note = f"the observations were made from the means, deviations ({sd}) and numbers of {len(n)} cells"
    return dataclasses.replace(made, exact=False, notes=(note, *made.notes))


def _scores(n: int) -> np.ndarray:
    """Return n numbers of mean 0 and sample deviation 1, spread as a normal sample is."""
    scores = scipy.special.ndtri((np.arange(n) + 0.5) / n)
    return (scores - scores.mean()) / scores.std(ddof=1)
