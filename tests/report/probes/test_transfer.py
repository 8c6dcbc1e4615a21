"""The figures of the extras of the probes show the numbers of their tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.probes.learning import draw_learning_curves, plot_compression, plot_learning
from ser_probe.report.probes.transfer import draw_transfer, plot_corpus_transfer, plot_direction_cosines, plot_transfer

from ..drawn import LAYERS, Tables, line


def test_compression_is_the_mean_over_orders_above_its_baselines(tables: Tables, ax: Axes) -> None:
    table = tables["probe_description_length"]
    plot_compression(table, ax)
    expected = table[table["step"] == 150].groupby("layer")["value"].mean()[LAYERS]
    np.testing.assert_allclose(line(ax, "150"), expected)
    assert line(ax, "uniform code")[0] == 1
    assert line(ax, "class frequencies alone")[0] == pytest.approx(1.1)
    other = Figure().subplots()
    plot_compression(table.assign(frequency_bits=1655.0), other)
    assert "class frequencies alone" not in [drawn.get_label() for drawn in other.lines], "it is the uniform code"


def test_learning_curves_are_against_clips(tables: Tables, ax: Axes) -> None:
    table = tables["probe_curve"]
    plot_learning(table[table["layer"] == "1"], ax)
    assert len(ax.lines) == 2 * 4
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [49, 98, 196])
    assert {drawn.get_linestyle() for drawn in ax.lines} == {"-", "--"}
    figure = draw_learning_curves(table)
    assert [panel.get_title() for panel in figure.axes] == ["layer 0", "layer 2", "layer final"]


def test_transfer_both_ways(tables: Tables, ax: Axes) -> None:
    table = tables["probe_transfer"]
    plot_transfer(table, ax, alignment="scaled", to_later=True)
    rows = table[(table["trained_step"] == 0) & (table["tested_step"] == 100) & (table["alignment"] == "scaled")]
    np.testing.assert_allclose(line(ax, "100"), rows.set_index("layer")["value"][LAYERS])
    assert "0" not in [drawn.get_label() for drawn in ax.lines], "a checkpoint is not carried to itself"
    back = Figure().subplots()
    plot_transfer(table, back, alignment="none", to_later=False)
    rows = table[(table["trained_step"] == 150) & (table["tested_step"] == 0) & (table["alignment"] == "none")]
    np.testing.assert_allclose(line(back, "150"), rows.set_index("layer")["value"][LAYERS])
    assert len(draw_transfer(table[table["alignment"] != "rotated"]).axes) == 2 * 2 + 1, "and the colour bar"


def test_directions_stand_between_ceiling_and_null(tables: Tables, ax: Axes) -> None:
    table = tables["probe_directions"]
    plot_direction_cosines(table, ax)
    rows = table[(table["step_a"] == 0) & (table["step_b"] == 50)]
    np.testing.assert_allclose(line(ax, "50"), rows.groupby("layer")["value"].mean()[LAYERS])
    np.testing.assert_allclose(line(ax, "two seeds of one checkpoint"), 0.6)
    (band,) = ax.collections
    assert band.get_datalim(ax.transData).y0 == pytest.approx(-0.15)


def test_corpora(tables: Tables, ax: Axes) -> None:
    table = tables["probe_corpus_transfer"]
    plot_corpus_transfer(table, ax, tested_on="emodb", step=50)
    np.testing.assert_allclose(line(ax, "emodb"), 0.7)
    assert line(ax, "emovo")[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("plot", [plot_compression, plot_learning, plot_direction_cosines])
def test_tables_that_lack_what_is_drawn(plot: object, ax: Axes) -> None:
    with pytest.raises(AnalysisError, match="table lacks columns"):
        plot(pd.DataFrame({"step": [0]}), ax)  # type: ignore[operator]
