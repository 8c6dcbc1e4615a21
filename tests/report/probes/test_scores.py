"""Probe scores along the layers: lines, controls and rings are what the table says."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from ser_probe.errors import AnalysisError
from ser_probe.report.probes.scores import draw_scores, plot_scores_by_layer

from ..drawn import LAYERS, STEPS, MakeTables, Tables, labels, line


def test_score_lines_are_means_over_seeds_in_layer_order(tables: Tables, ax: Axes) -> None:
    probe = tables["probe"]
    plot_scores_by_layer(probe.sample(frac=1, random_state=1), ax, measure="uar")
    chosen = probe[(probe["split"] == "test") & (probe["measure"] == "uar") & (probe["control"] == "none")]
    for step in STEPS:
        means = [chosen[(chosen["step"] == step) & (chosen["layer"] == layer)]["value"].mean() for layer in LAYERS]
        np.testing.assert_allclose(line(ax, str(step)), means)
    baseline = chosen[chosen["layer"] == "functionals"]["value"].mean()
    np.testing.assert_allclose(line(ax, "eGeMAPS"), baseline)
    assert labels(ax.get_xticklabels()) == LAYERS
    assert ax.get_ylabel() == "unweighted average recall (test speakers)"


def test_controls_are_not_mixed_with_the_scores(tables: Tables, ax: Axes) -> None:
    probe = tables["probe"]
    plot_scores_by_layer(probe, ax, measure="weighted_f1")
    rows = probe[(probe["split"] == "test") & (probe["measure"] == "weighted_f1")]
    shuffled = rows[rows["control"] == "shuffled_labels"]
    expected = [shuffled[shuffled["layer"] == layer]["value"].mean() for layer in LAYERS]
    np.testing.assert_allclose(line(ax, "shuffled labels"), expected)
    majority = rows[rows["control"] == "majority_class"]["value"].mean()
    np.testing.assert_allclose(line(ax, "majority class"), majority)


def test_a_control_of_one_layer_is_a_line_across(tables: Tables, ax: Axes) -> None:
    probe = tables["probe"]
    one = probe[(probe["control"] != "shuffled_labels") | (probe["layer"] == "final")]
    plot_scores_by_layer(one, ax, measure="uar")
    rows = one[(one["control"] == "shuffled_labels") & (one["split"] == "test") & (one["measure"] == "uar")]
    np.testing.assert_allclose(line(ax, "shuffled labels"), [rows["value"].mean()] * 2)


def test_the_ring_is_where_validation_not_test_is_best(tables: Tables, ax: Axes) -> None:
    probe = tables["probe"].copy()
    probe = probe[probe["step"].isna() | (probe["step"] == 0)]
    scores = probe["control"].eq("none") & probe["layer"].ne("functionals")
    probe.loc[scores & probe["split"].eq("validation") & probe["layer"].eq("1"), "value"] = 0.95
    probe.loc[scores & probe["split"].eq("test") & probe["layer"].eq("3"), "value"] = 0.99
    plot_scores_by_layer(probe, ax, measure="uar")
    (ring,) = [drawn for drawn in ax.lines if drawn.get_markersize() == 9]
    assert list(ring.get_xdata()) == [LAYERS.index("1")]


def test_without_a_measure_there_is_nothing_to_draw(tables: Tables, ax: Axes) -> None:
    with pytest.raises(AnalysisError, match=r"probe table holds nothing to draw[\s\S]*measure = 'ccc'"):
        plot_scores_by_layer(tables["probe"], ax, measure="ccc")


def test_many_checkpoints_are_shown_by_a_colour_bar(make_tables: MakeTables) -> None:
    tables = make_tables(2, range(0, 1000, 50))
    figure = draw_scores(tables["probe"])
    assert [ax.get_ylabel() for ax in figure.axes] == ["weighted F1 (test speakers)", "fine-tuning step"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["eGeMAPS", "shuffled labels", "majority class"]
