"""Drift of weights: closed forms of the relative change and of the cosine of updates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.drift.weights import COLUMNS, weight_drift
from ser_probe.errors import AnalysisError

EXACT = 1e-12


def measured(table: pd.DataFrame, measure: str, against: str, layer: str = "1") -> list[float]:
    rows = table[(table["measure"] == measure) & (table["against"] == against) & (table["layer"] == layer)]
    return rows.sort_values("state")["value"].tolist()


def test_scaled_weights_change_by_the_factor(rng: np.random.Generator) -> None:
    weight, bias = rng.standard_normal((4, 3)), rng.standard_normal(4)
    factors = (1.0, 1.5, 3.0)
    table = weight_drift([("1", [f * weight for f in factors]), ("1", [f * bias for f in factors])], 3)
    assert list(table.columns) == COLUMNS
    assert measured(table, "relative_change", "first") == pytest.approx([0, 0.5, 2.0], abs=EXACT)
    assert measured(table, "relative_change", "previous") == pytest.approx([0.5, 1.0], abs=EXACT)
    assert measured(table, "update_cosine", "previous") == pytest.approx([1.0], abs=EXACT)
    assert set(table["n"]) == {16}


def test_tensors_of_a_part_are_one_vector(rng: np.random.Generator) -> None:
    states = [rng.standard_normal(30) for _ in range(3)]
    split = weight_drift([("1", [s[:7] for s in states]), ("2", [s[:7] for s in states]),
                          ("1", [s[7:].reshape(-1, 1) for s in states])], 3)  # fmt: skip
    a, b, c = states
    assert measured(split, "relative_change", "first")[2] == pytest.approx(
        np.linalg.norm(c - a) / np.linalg.norm(a), abs=EXACT
    )
    cosine = (c - b) @ (b - a) / np.linalg.norm(c - b) / np.linalg.norm(b - a)
    assert measured(split, "update_cosine", "previous") == pytest.approx([cosine], abs=EXACT)
    assert set(split["layer"]) == {"1", "2"}


def test_updates_may_turn_back_or_aside() -> None:
    x, y = np.eye(2)
    there = np.zeros(2)
    back = weight_drift([("1", [there + 1, there + 1 + x, there + 1])], 3)
    assert measured(back, "update_cosine", "previous") == [-1.0]
    aside = weight_drift([("1", [there + 1, there + 1 + x, there + 1 + x + y])], 3)
    assert measured(aside, "update_cosine", "previous") == [0.0]


def test_what_does_not_move_has_no_direction() -> None:
    table = weight_drift([("front_end", [np.ones(3)] * 3)], 3)
    assert measured(table, "relative_change", "first", "front_end") == [0, 0, 0]
    assert np.isnan(measured(table, "update_cosine", "previous", "front_end")).all()
    born = weight_drift([("1", [np.zeros(3), np.ones(3)]), ("2", [np.zeros(3), np.zeros(3)])], 2)
    assert measured(born, "relative_change", "first") == [0, np.inf]
    assert measured(born, "relative_change", "first", "2") == [0, 0]


def test_small_changes_of_float32_weights_are_not_lost_in_sums(rng: np.random.Generator) -> None:
    weight = rng.standard_normal(200_000).astype(np.float32)
    now = weight + np.float32(1e-3)
    exact = np.linalg.norm(now.astype(np.float64) - weight) / np.linalg.norm(weight.astype(np.float64))
    assert measured(weight_drift([("1", [weight, now])], 2), "relative_change", "first")[1] == pytest.approx(
        exact, rel=1e-12
    )


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(AnalysisError, match="NaN or infinite") as caught:
        weight_drift([("3", [np.ones(2), np.array([1, np.nan])])], 2)
    assert caught.value.where == "3 of state 1"
