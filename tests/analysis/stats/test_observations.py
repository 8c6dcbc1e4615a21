"""From a table to observations: what is picked, averaged, left out, and refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.stats.moments import observations_from_moments
from ser_probe.analysis.stats.observations import as_levels, make_observations, natural_order, observe, pick_rows
from ser_probe.errors import AnalysisError

Crossed = Callable[..., pd.DataFrame]


def test_levels_are_numbers_by_size_then_text_as_it_comes() -> None:
    assert natural_order(["10", "final", "2", "0", "mean", "2"]) == ("0", "2", "10", "final", "mean")
    column = pd.Series([0.0, 50.0, "final", 2.5, True])
    assert as_levels(column).tolist() == ["0", "50", "final", "2.5", "True"]


def test_cells_are_counted_and_averaged_in_the_designs_shape(crossed: Crossed) -> None:
    table = crossed((2, 3), n=4)
    observations = make_observations(table.sample(frac=1, random_state=1), "y", ["a", "b"])
    assert observations.shape == (2, 3)
    assert (observations.counts() == 4).all()
    np.testing.assert_allclose(observations.means(), table.groupby(["a", "b"])["y"].mean().unstack())
    assert observe(np.arange(4.0), x=np.array(["p", "q", "p", "q"])).means().tolist() == [1, 2]


def test_rows_are_picked_by_value_whatever_its_type() -> None:
    table = pd.DataFrame({"step": [0.0, 50.0, 100.0], "split": ["test", "test", "validation"]})
    assert len(pick_rows(table, {"step": "50"})) == 1
    assert len(pick_rows(table, {"step": [0, 100.0], "split": "test"})) == 1


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"spilt": "test"}, r"no column 'spilt'[\s\S]*did you mean 'split'"),
        ({"split": "dev"}, r"leaves no rows[\s\S]*column split[\s\S]*expected: dev[\s\S]*found: test, validation"),
    ],
)
def test_a_filter_that_fits_nothing_is_refused(where: dict[str, str], message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        pick_rows(pd.DataFrame({"split": ["test", "validation"]}), where)


def test_rows_with_a_missing_value_are_left_out_and_counted(crossed: Crossed) -> None:
    table = crossed((2, 2)).astype({"a": object, "y": object})
    table.loc[[0, 1], "y"] = np.nan
    table.loc[2, "y"] = "NA"
    table.loc[3, "a"] = None
    observations = make_observations(table, "y", ["a", "b"])
    assert observations.n_dropped == 4
    assert len(observations.values) == 20
    assert observations.notes == ("4 of 24 rows were left out because a value is missing (3 without y, 1 without a)",)


def test_rows_of_a_unit_are_averaged_so_that_it_counts_once(crossed: Crossed) -> None:
    table = crossed((2, 3), n=8).assign(run=lambda t: t["seed"] % 4)
    observations = make_observations(table, "y", ["a", "b"], unit="run")
    assert (observations.counts() == 4).all()
    assert observations.notes == ("48 rows were averaged to 24 observations, one for each run and cell",)
    assert observations.units is not None
    first = observations.values[(observations.cells == 0) & (observations.units == "1")]
    rows = table[(table["a"] == 0) & (table["b"] == 0) & (table["run"] == 1)]
    assert first.tolist() == pytest.approx([rows["y"].mean()])


@pytest.mark.parametrize(
    ("change", "response", "factors", "message"),
    [
        ({}, "z", ["a"], r"no column 'z'"),
        ({}, "y", ["a", "sed"], r"no column 'sed'[\s\S]*did you mean 'seed'"),
        ({}, "y", [], "There is no factor"),
        ({}, "y", ["a", "a"], "two parts in the design"),
        ({}, "y", ["a", "y"], "two parts in the design"),
        ({"y": "high"}, "y", ["a"], r"'y' is not numeric[\s\S]*row 1 [\s\S]*'high' in 24 of 24 rows"),
        ({"y": True}, "y", ["a"], r"'y' is not numeric"),
        ({"y": 0.5}, "y", ["a"], r"'y' is constant[\s\S]*0.5 in all 24"),
        ({"y": np.nan}, "y", ["a"], r"No observation is left[\s\S]*24 of 24 rows"),
        ({"a": "x"}, "y", ["a", "b"], r"'a' has one level[\s\S]*'x' in all 24 observations"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    crossed: Crossed, change: dict[str, Any], response: str, factors: Sequence[str], message: str
) -> None:
    with pytest.raises(AnalysisError, match=message):
        make_observations(crossed((2, 2)).assign(**change), response, factors)


def test_a_column_that_comes_twice_and_an_unknown_factor_are_refused(crossed: Crossed) -> None:
    table = crossed((2, 2))
    with pytest.raises(AnalysisError, match="column 'a' more than once"):
        make_observations(pd.concat([table, table["a"]], axis=1), "y", ["a"])
    with pytest.raises(AnalysisError, match=r"no factor 'c' in the design"):
        make_observations(table, "y", ["a", "b"]).factor("c")


@pytest.mark.parametrize("value", [1e308, 1e200, 1e-200])
def test_a_response_whose_squares_cannot_be_added_up_is_refused_by_name(value: float) -> None:
    table = pd.DataFrame({"score": [0.0, value, 2 * value, -value], "step": [0, 0, 50, 50]})
    with pytest.raises(AnalysisError, match="The numbers of 'score' are too large or too small for their squares"):
        make_observations(table, "score", ["step"])


def test_means_of_more_observations_than_can_be_made_are_refused_at_once() -> None:
    cells = pd.DataFrame({"step": [0, 50], "mean": [0.5, 0.6], "sd": [0.1, 0.1], "n": [10, 1e18]})
    with pytest.raises(AnalysisError, match="stands for more observations than can be reconstructed") as raised:
        observations_from_moments(cells, ["step"])
    assert raised.value.where == "column n, row 2"
    assert "1,000,000,000,000,000,000 in this row" in str(raised.value.found)
    with pytest.raises(AnalysisError, match="The numbers of 'response' are too large"):
        observations_from_moments(cells.assign(n=10, mean=[1e308, -1e308]), ["step"])
