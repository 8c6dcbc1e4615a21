"""What each cell holds, before anything is tested."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import scipy.stats

from ser_probe.analysis.stats.observations import TIMES, Observations
from ser_probe.errors import AnalysisError

Deviation = Literal["sample", "population"]
COLUMNS = ("mean", "sd", "min", "max", "ci_low", "ci_high", "n")
"""Beside the factors, which have columns of their own."""


def describe_cells(observations: Observations, *, sd: Deviation = "sample", alpha: float = 0.05) -> pd.DataFrame:
    """Return mean, deviation, range and number of observations of each cell that has any.

    The interval of the mean is Student's t within the cell, of 1 - alpha. Cells are in the order of their levels.

    Args:
        observations: The data.
        sd: `sample` divides by n - 1, `population` by n, as some papers print it.
        alpha: Level of the intervals, in (0, 1).

    Raises:
        AnalysisError: If a factor is called as a column of this table.
    """
    clash = [name for name in observations.names if name in (*COLUMNS, "sd_kind", "response", "factors", "alpha")]
    if clash:
        raise AnalysisError(
            f"A factor cannot be called {clash[0]!r}: the table of cells has a column of that name",
            fix="rename the column",
        )
    grouped = pd.Series(observations.values).groupby(observations.cells)
    n, deviation = grouped.size(), grouped.std(ddof=1 if sd == "sample" else 0)
    error: pd.Series = grouped.std(ddof=1) / np.sqrt(n)
    half = scipy.stats.t.ppf(1 - alpha / 2, np.maximum(n - 1, 1)) * error
    places = np.unravel_index(n.index.to_numpy(), observations.shape)
    levels = {
        factor.name: np.array(factor.levels, dtype=object)[place]
        for factor, place in zip(observations.factors, places, strict=True)
    }
    mean = grouped.mean()
    columns = {
        "mean": mean, "sd": deviation, "min": grouped.min(), "max": grouped.max(),
        "ci_low": mean - half, "ci_high": mean + half, "n": n,
    }  # fmt: skip
    numbers = {name: column.to_numpy() for name, column in columns.items()}
    # Data made from moments have the right mean and deviation and no range of their own.
    if not observations.exact:
        numbers["min"] = numbers["max"] = np.full(len(n), np.nan)
    names = TIMES.join(observations.names)
    about = {"sd_kind": sd, "response": observations.response, "factors": names, "alpha": alpha}
    return pd.DataFrame({**levels, **numbers, **about})
