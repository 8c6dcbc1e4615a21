"""The figures of drift: floors as bands, points that are not above them, groups, mean against covariance, weights."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.drift.figures import draw_drift, draw_drift_groups, draw_shift_parts, draw_weight_drift
from ser_probe.report.drift.headline import drift_headline
from ser_probe.report.drift.plots import (
    of_reference,
    part_order,
    plot_drift_of_groups,
    plot_drift_over_layers,
    plot_drift_over_steps,
    plot_shift_parts,
)
from ser_probe.report.style import (
    FLOOR_COLOURS,
)

from ..conftest import Tables
from ..drawn import LAYERS, STEPS, labels, line


@pytest.fixture
def drift(tables: Tables) -> pd.DataFrame:
    return tables["drift"].query("against == 'first'")


def band(ax: Axes, column: str) -> np.ndarray:
    """Return the corners of the area that shows a floor."""
    colour = to_rgba(*FLOOR_COLOURS[column])
    (area,) = [one for one in ax.collections if np.allclose(one.get_facecolor(), colour)]
    return area.get_paths()[0].vertices


@pytest.mark.parametrize(
    ("measure", "low", "high"),
    [("mean_cosine", 0.98, 1.0), ("mean_shift", 0.0, 0.02), ("relative_norm_change", -0.02, 0.02)],
)
def test_the_band_is_what_is_no_drift(drift: pd.DataFrame, ax: Axes, measure: str, low: float, high: float) -> None:
    plot_drift_over_layers(drift, ax, measure=measure)
    corners = band(ax, "floor_repeat")
    assert corners[:, 1].min() == pytest.approx(low)
    assert corners[:, 1].max() == pytest.approx(high)
    assert {*corners[:, 0]} == {*range(len(LAYERS))}


def test_each_layer_has_its_floor_over_layers_and_the_highest_counts_over_steps(drift: pd.DataFrame) -> None:
    floors = dict(zip(LAYERS, (0.01, 0.02, 0.09, 0.03, 0.02), strict=True))
    drift = drift.assign(floor_repeat=drift["layer"].map(floors))
    over_layers, over_steps = Figure().subplots(1, 2)
    plot_drift_over_layers(drift, over_layers, measure="mean_shift")
    corners = band(over_layers, "floor_repeat")
    assert {(x, round(y, 6)) for x, y in corners if y > 0} == {*enumerate(floors.values())}
    plot_drift_over_steps(drift, over_steps, measure="mean_shift")
    colour = to_rgba(*FLOOR_COLOURS["floor_repeat"])
    (span,) = [patch for patch in over_steps.patches if np.allclose(patch.get_facecolor(), colour)]
    assert (span.get_y(), span.get_height()) == (0, pytest.approx(0.09))


def test_points_that_are_not_above_the_floor_are_hollow(drift: pd.DataFrame, ax: Axes) -> None:
    plot_drift_over_steps(drift, ax, measure="mean_shift")
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    shown = sorted((float(x), round(float(y), 9)) for line in hollow for x, y in zip(*line.get_data(), strict=True))
    below = drift[(drift["measure"] == "mean_shift") & ~drift["above_floor"]]
    assert shown == sorted((float(x), round(y, 9)) for x, y in zip(below["step"], below["value"], strict=True))


def test_without_a_floor_there_is_no_band_and_no_hollow_point(drift: pd.DataFrame, ax: Axes) -> None:
    bare = drift.assign(floor_repeat=np.nan, floor_seed=np.nan, above_floor=pd.NA, ci_low=np.nan, ci_high=np.nan)
    plot_drift_over_steps(bare, ax, measure="mean_shift")
    assert not ax.patches
    assert all(line.get_markerfacecolor() != "white" for line in ax.lines)
    assert not draw_drift(bare).legends


def test_drift_from_the_one_before_has_a_figure_of_its_own(tables: Tables) -> None:
    figure = draw_drift(tables["drift"], against="previous")
    assert "Drift from the checkpoint before" in figure.get_suptitle()
    assert len(figure.axes) == 5 + 1
    with pytest.raises(AnalysisError, match="holds nothing to draw"):
        draw_drift(tables["drift"].query("against == 'first'"), against="previous")


def test_every_group_is_a_line_and_many_are_grey(tables: Tables, ax: Axes) -> None:
    groups = tables["drift_groups"].query("against == 'first' and step == 150")
    labels = groups[groups["group_by"] == "label"]
    names = sorted(labels["group"].unique())
    plot_drift_of_groups(labels, ax, measure="mean_shift", names=names)
    lines = {str(line.get_label()).strip(): line for line in ax.lines}
    assert names == [name for name in lines if not name.startswith("_")]
    anger = labels[(labels["group"] == "anger") & (labels["measure"] == "mean_shift")]
    np.testing.assert_allclose(lines["anger"].get_ydata(), anger.set_index("layer")["value"].loc[LAYERS])
    figure = draw_drift_groups(tables["drift_groups"].query("group_by == 'speaker'"))
    (legend,) = figure.legends
    assert [text.get_text().strip() for text in legend.get_texts()] == ["each of 15", "median group"]
    with pytest.raises(AnalysisError, match=r"groups of one kind[\s\S]*label, speaker"):
        draw_drift_groups(tables["drift_groups"])
    with pytest.raises(AnalysisError, match="only step 0"):
        draw_drift_groups(tables["drift_groups"].query("group_by == 'label' and step == 0"))


def test_mean_and_covariance_stand_on_each_other(tables: Tables, drift: pd.DataFrame, ax: Axes) -> None:
    last = drift[drift["step"] == 150]
    plot_shift_parts(last, ax)
    tops = [bar.get_y() + bar.get_height() for bar in ax.containers[1]]
    parts = last[last["measure"].isin(["mean_shift", "covariance_shift"])].groupby("layer")["value"].sum()
    np.testing.assert_allclose(tops, parts.loc[LAYERS])
    assert [panel.get_title() for panel in draw_shift_parts(tables["drift"]).axes] == [
        "step 50",
        "step 100",
        "step 150",
    ]
    with pytest.raises(AnalysisError, match=r"how far means and covariances moved[\s\S]*found: mean_shift"):
        draw_shift_parts(drift[drift["measure"] == "mean_shift"])


def test_weights_from_the_input_up(tables: Tables) -> None:
    figure = draw_weight_drift(tables["weight_drift"])
    first, before, turns = [panel for panel in figure.axes if panel.get_title()]
    assert [label.get_text() for label in first.get_yticklabels()] == ["front end", "positional conv", "1", "2", "3"]
    assert [label.get_text() for label in first.get_xticklabels()] == ["50", "100", "150"]
    expected = 0.01 * np.outer(range(5), [1, 2, 3])
    np.testing.assert_allclose(first.collections[0].get_array(), expected)
    np.testing.assert_allclose(before.collections[0].get_array()[:, 0], 0.01 * np.arange(5))
    assert turns.collections[0].get_clim() == (-1, 1)
    assert np.ma.getmaskarray(turns.collections[0].get_array())[0].all(), "what did not move has no direction"
    with pytest.raises(AnalysisError, match="weights of one checkpoint"):
        draw_weight_drift(tables["weight_drift"].query("step == 0"))
    assert part_order(["10", "2", "encoder_norm", "front_end"]) == ["front_end", "encoder_norm", "2", "10"]


def test_the_head_of_the_report_says_which_layers_are_above_the_floor(tables: Tables) -> None:
    drift = tables["drift"].copy()
    head = drift_headline(drift).set_index("measure")
    assert set(head["above the floor"]) == {"4 of 5: 1, 2, 3, final"}
    drift["above_floor"] = drift["measure"] == "mean_shift"
    head = drift_headline(drift).set_index("measure")["above the floor"]
    assert head["shift of the mean"] == "all layers"
    assert head["mean cosine"] == "no layer"
    assert "above the floor" not in drift_headline(drift.assign(above_floor=pd.NA))


def test_drift_lines_are_the_table_both_ways(tables: Tables) -> None:
    drift = of_reference(tables["drift"], "first").sample(frac=1, random_state=1)
    over_steps, over_layers = Figure().subplots(1, 2)
    plot_drift_over_steps(drift, over_steps, measure="mean_cosine")
    plot_drift_over_layers(drift, over_layers, measure="mean_cosine")
    values = drift[drift["measure"] == "mean_cosine"].pivot(index="layer", columns="step", values="value").loc[LAYERS]
    for layer in LAYERS:
        np.testing.assert_array_equal(line(over_steps, layer), values.loc[layer])
    for step in STEPS:
        np.testing.assert_array_equal(line(over_layers, str(step)), values[step])
    assert over_steps.get_ylabel() == over_layers.get_ylabel() == "mean cosine\n(1 = unchanged)"
    assert labels(over_layers.get_xticklabels()) == LAYERS


def test_a_measure_without_a_known_zero_is_drawn_without_a_line_for_it(tables: Tables, ax: Axes) -> None:
    unknown = tables["drift"].replace("mean_cosine", "own_measure").drop(columns=["floor_repeat", "floor_seed"])
    plot_drift_over_steps(unknown.assign(above_floor=pd.NA), ax, measure="own_measure")
    assert ax.get_ylabel() == "own measure"
    assert len(ax.lines) == len(LAYERS)


def test_drift_of_step_0_alone_is_refused(tables: Tables) -> None:
    drift = tables["drift"]
    with pytest.raises(AnalysisError, match="holds only step 0"):
        draw_drift(drift[drift["step"] == 0])
    with pytest.raises(AnalysisError, match=r"against one of two things[\s\S]*found: depth"):
        draw_drift(drift, x="depth")
