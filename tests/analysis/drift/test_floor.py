"""Which drift passes the floor: by each measure's direction, with both intervals, for the right kind of pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.drift.floor import add_floor, change, floor_table


def pair(measure: str, value: float, **other: Any) -> dict[str, Any]:
    row = {"kind": "repeat", "step": 0.0, "layer": "3", "group_by": "overall", "group": "all", "n": 50,
           "ci_low": np.nan, "ci_high": np.nan}  # fmt: skip
    return {**row, "measure": measure, "value": value, **other}


def drifted(measure: str, value: float, low: float = np.nan, high: float = np.nan, **other: Any) -> dict[str, Any]:
    return {**pair(measure, value, ci_low=low, ci_high=high), "against": "first", "step": 100.0, **other}


def above(drift: list[dict[str, Any]], floor: list[dict[str, Any]]) -> list[Any]:
    found = add_floor(pd.DataFrame(drift), floor_table(pd.DataFrame(floor)))["above_floor"]
    return [None if pd.isna(one) else bool(one) for one in found]


def test_the_floor_is_the_pair_that_differs_most() -> None:
    floor = floor_table(pd.DataFrame([pair("mean_cosine", 0.99), pair("mean_cosine", 0.97), pair("mean_cosine", 0.98)]))
    assert floor["value"].tolist() == [0.97]
    assert floor["limit"].tolist() == [0.97]
    assert floor["n_pairs"].tolist() == [3]


def test_the_limit_is_the_far_end_of_all_intervals() -> None:
    pairs = [pair("mean_cosine", 0.97, ci_low=0.96, ci_high=0.98), pair("mean_cosine", 0.98, ci_low=0.9, ci_high=1.0)]
    floor = floor_table(pd.DataFrame(pairs))
    assert floor[["value", "ci_low", "limit"]].to_numpy().tolist() == [[0.97, 0.96, 0.9]]
    smaller = pd.DataFrame([pair("relative_norm_change", -0.01, ci_low=-0.05, ci_high=0.02)])
    assert floor_table(smaller)["limit"].tolist() == [-0.05]


@pytest.mark.parametrize(
    ("measure", "limit", "value", "expected"),
    [
        ("cka_debiased", 0.9, 0.8, True),
        ("cka_debiased", 0.9, 0.95, False),
        ("procrustes", 0.1, 0.2, True),
        ("procrustes", 0.1, 0.05, False),
        ("relative_norm_change", 0.1, -0.2, True),
        ("relative_norm_change", -0.1, 0.2, True),
        ("relative_norm_change", 0.1, -0.05, False),
    ],
)
def test_drift_passes_the_floor_in_the_direction_of_its_measure(
    measure: str, limit: float, value: float, expected: bool
) -> None:
    assert above([drifted(measure, value)], [pair(measure, limit)]) == [expected]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.11, 0.3, True), (0.09, 0.3, False), (-0.3, -0.11, True), (-0.3, -0.05, False), (-0.4, 0.5, False)],
)
def test_the_whole_interval_must_pass(low: float, high: float, expected: bool) -> None:
    row = drifted("relative_norm_change", (low + high) / 2, low, high)
    assert above([row], [pair("relative_norm_change", 0.1)]) == [expected]


def test_only_the_side_of_drift_counts() -> None:
    assert above([drifted("mean_shift", -0.2, -0.3, -0.1)], [pair("mean_shift", 0.01)]) == [False]
    assert above([drifted("mean_shift", 0.2, 0.1, 0.3)], [pair("mean_shift", -0.5)]) == [True]


def test_rounding_passes_no_floor() -> None:
    assert above([drifted("procrustes", 1e-9)], [pair("procrustes", 0.0)]) == [False]
    assert above([drifted("procrustes", 1e-4)], [pair("procrustes", 0.0)]) == [True]


def test_without_a_floor_nothing_is_said() -> None:
    assert above([drifted("procrustes", 0.5)], [pair("mean_cosine", 0.9)]) == [None]
    undefined = floor_table(pd.DataFrame([pair("mean_shift", np.nan)]))
    assert undefined.empty, "the mean shift of one clip"
    empty = floor_table(pd.DataFrame([pair("procrustes", 1.0)]).head(0))
    found = add_floor(pd.DataFrame([drifted("procrustes", 0.5)]), empty)
    assert found["above_floor"].isna().all()
    assert found["floor_repeat"].isna().all()


def test_a_layer_is_held_against_its_own_floor() -> None:
    rows = [drifted("procrustes", 0.3, layer=layer) for layer in ("1", "2")]
    assert above(rows, [pair("procrustes", 0.1, layer="1"), pair("procrustes", 0.5, layer="2")]) == [True, False]


def test_seeds_are_a_floor_for_drift_from_the_first_at_their_step_only() -> None:
    rows = [
        drifted("procrustes", 0.3),
        drifted("procrustes", 0.3, step=50.0),
        drifted("procrustes", 0.3, against="previous"),
    ]
    seeds = [pair("procrustes", 0.2, kind="seed", step=100.0)]
    found = add_floor(pd.DataFrame(rows), floor_table(pd.DataFrame(seeds)))
    np.testing.assert_allclose(found["floor_seed"], [0.2, np.nan, np.nan])
    assert above(rows, seeds) == [True, None, None]
    assert above(rows, [*seeds, pair("procrustes", 0.4)]) == [False, False, False], "the higher of two floors counts"
    assert above(rows, [*seeds, pair("procrustes", 0.1)]) == [True, True, True]


def test_change_counts_from_no_drift() -> None:
    np.testing.assert_allclose(change("mean_cosine", np.array([1.0, 0.4])), [0, 0.6])
    np.testing.assert_allclose(change("relative_norm_change", np.array([-0.2, 0.4])), [0.2, 0.4])
