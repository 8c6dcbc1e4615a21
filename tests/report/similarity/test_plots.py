"""Heat maps of similarity: the cells are the table."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from ser_probe.report.similarity.plots import colour_limits, plot_layer_checkpoint_map, plot_layer_matrix
from ser_probe.report.tables import between_layers, with_acoustics

from ..drawn import LAYERS, STEPS, Tables, labels


def test_heat_map_cells_are_the_table(tables: Tables, ax: Axes) -> None:
    rows = with_acoustics(tables["similarity"])
    rows = rows[rows["measure"] == "cka_debiased"]
    # The order of the rows must not matter.
    plot_layer_checkpoint_map(rows.sample(frac=1, random_state=1), ax)
    drawn = ax.collections[0].get_array()
    expected = [
        [rows[(rows["layer_a"] == layer) & (rows["step_a"] == step)]["value"].item() for step in STEPS]
        for layer in LAYERS
    ]
    np.testing.assert_array_equal(drawn, expected)
    assert labels(ax.get_yticklabels()) == LAYERS
    assert labels(ax.get_xticklabels()) == [str(step) for step in STEPS]
    assert ax.get_ylim()[0] < ax.get_ylim()[1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("fine-tuning step", "hidden layer")
    assert labels(ax.texts) == [f"{value:.2f}" for value in np.ravel(expected)]


def test_cells_without_a_value_stay_empty(tables: Tables, ax: Axes) -> None:
    rows = with_acoustics(tables["similarity"])
    rows = rows[(rows["measure"] == "cka_debiased") & ~((rows["layer_a"] == "2") & (rows["step_a"] == 50))]
    plot_layer_checkpoint_map(rows, ax)
    drawn = ax.collections[0].get_array()
    assert np.argwhere(np.ma.getmaskarray(drawn)).tolist() == [[2, 1]]
    assert len(ax.texts) == len(LAYERS) * len(STEPS) - 1


def test_there_is_no_negative_zero(ax: Axes) -> None:
    plot_layer_checkpoint_map(pd.DataFrame({"layer_a": ["0", "1"], "step_a": 0, "value": [-0.001, -0.02]}), ax)
    assert labels(ax.texts) == ["0.00", "-0.02"]


def test_numbers_are_printed_only_where_they_fit(ax: Axes) -> None:
    cells = [(str(layer), step, 0.5) for layer in range(26) for step in range(11)]
    plot_layer_checkpoint_map(pd.DataFrame(cells, columns=["layer_a", "step_a", "value"]), ax)
    assert not ax.texts


def test_layer_matrix_has_side_a_across_and_side_b_up(tables: Tables, ax: Axes) -> None:
    similarity = tables["similarity"]
    part = between_layers(similarity[similarity["measure"] == "cka_debiased"], 0, 150)
    plot_layer_matrix(part, ax)
    drawn = ax.collections[0].get_array()
    for i, j in itertools.product(range(len(LAYERS)), repeat=2):
        cell = part[(part["layer_a"] == LAYERS[i]) & (part["layer_b"] == LAYERS[j])]["value"].item()
        assert drawn[j, i] == cell


def test_colour_limits_are_rounded_outwards_and_never_empty() -> None:
    assert colour_limits(pd.Series([0.31, 0.49, np.nan])) == pytest.approx((0.3, 0.5))
    assert colour_limits(pd.Series([0.3, 0.45])) == pytest.approx((0.3, 0.45))
    low, high = colour_limits(pd.Series([0.2]))
    assert low <= 0.2 < high
    assert colour_limits(pd.Series([np.nan])) == (0.0, 1.0)
