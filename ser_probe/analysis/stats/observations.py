"""From a table of results to the input of the tests: one number per observation, and the levels of its factors.

Only here are rows picked, averaged and left out, and counted. Nothing here tests anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ser_probe.errors import AnalysisError, did_you_mean, show

TIMES = " × "
"""Joins the factors of an interaction's name."""
# What other programs write where a number is missing. A level may be called so; a number may not.
_MISSING = ("", "NA", "N/A", "#N/A", "nan", "NaN", "null", "NULL", "None")
_SHOWN = 5  # offending rows, cells or values named in a message

Wanted = str | float | bool | Sequence[str | float | bool]


@dataclass(frozen=True, eq=False)
class Factor:
    """A factor of the design.

    Args:
        name: Its column.
        levels: Its levels: numbers by size, then text in the order in which it first comes.
        codes: The position of each observation's level, int64 of shape [N].
    """

    name: str
    levels: tuple[str, ...]
    codes: np.ndarray


@dataclass(frozen=True, eq=False)
class Observations:
    """Observations and their design.

    Args:
        response: What was measured.
        values: One number an observation, float64 of shape [N].
        factors: The factors, one or more.
        units: What each observation was made on (a seed, a run), [N]; pairs are matched by it.
        groups: The level of the random effect, [N].
        n_dropped: Rows that were left out because a needed value is missing.
        notes: What was averaged or left out, in words.
        exact: Whether single values mean anything. Data made from means and deviations have only those right, so
            that ranks, outliers and normality cannot be judged.
    """

    response: str
    values: np.ndarray
    factors: tuple[Factor, ...]
    units: np.ndarray | None = None
    groups: np.ndarray | None = None
    n_dropped: int = 0
    notes: tuple[str, ...] = field(default=())
    exact: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of levels of each factor."""
        return tuple(len(factor.levels) for factor in self.factors)

    @property
    def names(self) -> tuple[str, ...]:
        """The factors' names."""
        return tuple(factor.name for factor in self.factors)

    @property
    def cells(self) -> np.ndarray:
        """The cell of each observation, numbered in the order of the last factor first, int64 of shape [N]."""
        return np.ravel_multi_index(tuple(factor.codes for factor in self.factors), self.shape)

    def counts(self) -> np.ndarray:
        """Return how many observations each cell has, of the design's shape."""
        return np.bincount(self.cells, minlength=int(np.prod(self.shape))).reshape(self.shape)

    def means(self) -> np.ndarray:
        """Return the mean of each cell, of the design's shape; NaN where a cell is empty."""
        totals = np.bincount(self.cells, weights=self.values, minlength=int(np.prod(self.shape)))
        with np.errstate(invalid="ignore"):
            return totals.reshape(self.shape) / self.counts()

    def factor(self, name: str) -> Factor:
        """Return a factor by name.

        Raises:
            AnalysisError: If it is none of the design's.
        """
        for factor in self.factors:
            if factor.name == name:
                return factor
        raise AnalysisError(f"There is no factor {name!r} in the design", fix=did_you_mean(name, self.names))


def observe(values: np.ndarray, **levels: np.ndarray) -> Observations:
    """Return observations from arrays: the values [N] and, by name, each factor's level of every value [N]."""
    return Observations("value", np.asarray(values, dtype=np.float64), tuple(_factor(n, x) for n, x in levels.items()))


def make_observations(
    table: pd.DataFrame,
    response: str,
    factors: Sequence[str],
    *,
    unit: str | None = None,
    random: str | None = None,
) -> Observations:
    """Return the observations of a results table.

    Args:
        table: One row a result.
        response: The numeric column that is explained.
        factors: The columns that explain it; numbers are levels too.
        unit: The column of what counts as one observation (a run, a seed). Rows of one cell and unit are averaged, so
            that several results of one run do not pass for several runs.
        random: The column of a random effect (speaker, seed).

    Raises:
        AnalysisError: If a column is missing, the response is not numeric or constant, no rows are left, a factor has
            one level, or a column has two parts.
    """
    wanted = [response, *factors, *([unit] if unit else []), *([random] if random else [])]
    _check_columns(table, wanted, response, factors)
    values = _numbers(table[response], response)
    complete = np.isfinite(values) & table[[c for c in wanted if c != response]].notna().all(axis=1).to_numpy()
    notes = _dropped(table, wanted, values, complete)
    rows, values = table[complete], values[complete]
    if not len(rows):
        raise AnalysisError(
            "No observation is left", found=notes[0] if notes else "no rows", fix="check the response and the filters"
        )
    keys = {name: as_levels(rows[name]) for name in dict.fromkeys(name for name in wanted if name != response)}
    if unit is not None:
        before = len(values)
        values, keys = _average(values, keys)
        if len(values) < before:
            notes.append(f"{before} rows were averaged to {len(values)} observations, one for each {unit} and cell")
    design = tuple(_factor(name, keys[name]) for name in factors)
    observations = Observations(
        response, values, design,
        units=None if unit is None else keys[unit],
        groups=None if random is None else keys[random],
        n_dropped=int((~complete).sum()), notes=tuple(notes),
    )  # fmt: skip
    _check_range(values, response)
    _check_variation(observations)
    return observations


def pick_rows(table: pd.DataFrame, where: Mapping[str, Wanted]) -> pd.DataFrame:
    """Return the rows whose columns have these values; numbers are compared as numbers.

    Raises:
        AnalysisError: If a column is missing, or none of its values is the one asked for.
    """
    for column, wanted in where.items():
        if column not in table.columns:
            raise AnalysisError(
                f"The table has no column {column!r} to pick rows by", fix=did_you_mean(column, map(str, table.columns))
            )
        listed = [wanted] if isinstance(wanted, str | float | int) else list(wanted)
        asked = {_level(value) for value in listed}
        have = as_levels(table[column])
        rows = table[np.isin(have, list(asked))]
        if rows.empty:
            raise AnalysisError(
                "The filter leaves no rows",
                where=f"column {column}",
                expected=" or ".join(sorted(asked)),
                found=_listed(natural_order(have)),
            )
        table = rows
    return table


def as_levels(column: pd.Series | np.ndarray) -> np.ndarray:
    """Return a column as level names: whole numbers without a decimal point, everything else as text."""
    codes, values = pd.factorize(pd.Series(column), use_na_sentinel=False)
    return np.array([_level(value) for value in values], dtype=str)[codes]


def natural_order(levels: Sequence[str] | np.ndarray) -> tuple[str, ...]:
    """Return the distinct levels: numbers by size, then text in the order in which it first comes.

    So the order of a file's rows says which level is the first one, which others are compared with.
    """

    def position(level: str) -> tuple[int, float]:
        try:
            return (0, float(level))
        except ValueError:
            return (1, 0.0)

    return tuple(sorted(dict.fromkeys(map(str, levels)), key=position))


def _level(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    text = str(value)
    # A filter typed as `step=0` and a column read as 0.0 mean the same.
    return text[:-2] if text.endswith(".0") and text[:-2].lstrip("-").isdecimal() else text


def _factor(name: str, levels: np.ndarray) -> Factor:
    codes, distinct = pd.factorize(as_levels(np.asarray(levels)))
    order = natural_order(distinct)
    position = {level: i for i, level in enumerate(order)}
    return Factor(name, order, np.array([position[str(level)] for level in distinct], dtype=np.int64)[codes])


def _check_columns(table: pd.DataFrame, columns: Sequence[str], response: str, factors: Sequence[str]) -> None:
    if not factors:
        raise AnalysisError("There is no factor", expected="one column or more that explains the response")
    for name in dict.fromkeys(columns):
        if name not in table.columns:
            raise AnalysisError(f"The table has no column {name!r}", fix=did_you_mean(name, map(str, table.columns)))
        if list(table.columns).count(name) > 1:
            raise AnalysisError(f"The table has the column {name!r} more than once", fix="rename one of them")
    if len(set(factors)) < len(factors) or response in factors:
        raise AnalysisError(
            "A column has two parts in the design", found=f"response {response}, factors {', '.join(factors)}"
        )


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    empty = column.isna() | column.astype(str).str.strip().isin(_MISSING)
    wrong = np.flatnonzero(np.isnan(values) & ~empty.to_numpy(bool))
    if len(wrong) or column.dtype == bool:
        first = wrong[0] if len(wrong) else 0
        raise AnalysisError(
            f"The response {name!r} is not numeric",
            where=f"row {first + 1} of those picked",
            expected="a number",
            found=f"{str(column.iloc[first])[:40]!r} in {len(wrong) or len(column)} of {len(column)} rows",
            fix="name a numeric column, or pick rows that have one",
        )
    return values


def _dropped(rows: pd.DataFrame, wanted: Sequence[str], values: np.ndarray, complete: np.ndarray) -> list[str]:
    if complete.all():
        return []
    reasons = {wanted[0]: int((~np.isfinite(values)).sum())}
    reasons |= {name: int(rows[name].isna().sum()) for name in wanted[1:]}
    which = ", ".join(f"{count} without {name}" for name, count in reasons.items() if count)
    return [f"{int((~complete).sum())} of {len(rows)} rows were left out because a value is missing ({which})"]


def _average(values: np.ndarray, keys: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    frame = pd.DataFrame(keys).assign(__value=values)
    means = frame.groupby(list(keys), sort=False, as_index=False)["__value"].mean()
    return means["__value"].to_numpy(), {name: means[name].to_numpy(str) for name in keys}


def _check_range(values: np.ndarray, response: str) -> None:
    """Raise where sums of squares would be infinite, or nothing: no table could hold a number then."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        squares = float(((values - values.mean()) ** 2).sum())
    if np.isfinite(squares) and (squares > 0 or np.ptp(values) == 0):
        return
    raise AnalysisError(
        f"The numbers of {response!r} are too large or too small for their squares to be added up",
        expected="numbers between about 1e-150 and 1e150 in size, or all the same",
        found=f"{values.min():g} to {values.max():g}",
        fix=f"give {response} in another unit",
    )


def _check_variation(observations: Observations) -> None:
    for factor in observations.factors:
        if len(factor.levels) < 2:
            raise AnalysisError(
                f"The factor {factor.name!r} has one level, so there is nothing to compare",
                expected="two levels or more",
                found=f"{show(factor.levels[0])} in all {len(observations.values)} observations",
                fix="leave the factor out, or pick more rows",
            )
    if np.ptp(observations.values) == 0:
        raise AnalysisError(
            f"The response {observations.response!r} is constant",
            expected="values that differ",
            found=f"{observations.values[0]:g} in all {len(observations.values)} observations",
        )


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values[:_SHOWN]) + (f", ... ({len(values)} in all)" if len(values) > _SHOWN else "")
