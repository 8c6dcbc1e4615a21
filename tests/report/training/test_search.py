"""Figures of a search: what is drawn is what the table says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from ser_probe.errors import AnalysisError
from ser_probe.report.figures import save_figure
from ser_probe.report.style import ACCENT, PAGE_WIDTH_IN
from ser_probe.report.training.search import (
    draw_history,
    draw_importance,
    draw_parameters,
    plot_history,
    plot_importance,
    plot_parameter,
)

RATE, KIND = "finetune.learning_rate", "finetune.scheduler"
SMALLEST_FONT_PT = 9
PIXEL_IN = 1 / 200  # layouts end within a pixel of the page


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame({
        "trial": [0, 1, 2, 3, 4],
        "state": ["pruned", "complete", "failed", "complete", "complete"],
        "reason": ["diverged", "", "interrupted", "", ""],
        "value": [0.2, 0.5, np.nan, 0.7, 0.6],
        "best_value": [np.nan, 0.5, 0.5, 0.7, 0.7],
        "time_taken_s": [1.0, 5.0, np.nan, 5.0, 5.0],
        RATE: [1e-3, 1e-4, 2e-4, 3e-4, 4e-4],
        KIND: ["linear", "linear", "cosine", "cosine", "constant"],
    })  # fmt: skip


@pytest.fixture
def importance() -> pd.DataFrame:
    return pd.DataFrame({"parameter": [RATE, KIND], "importance": [0.8, 0.2]})


def points(ax: Axes, label: str) -> list[list[float]]:
    (found,) = [each for each in ax.collections if each.get_label() == label]
    return np.asarray(found.get_offsets()).tolist()


def test_the_history_is_the_table(table: pd.DataFrame, ax: Axes) -> None:
    plot_history(table, ax, metric="uar")
    assert points(ax, "complete") == [[1, 0.5], [3, 0.7], [4, 0.6]]
    assert points(ax, "pruned (last value)") == [[0, 0.2]]
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [1, 2, 3, 4]
    assert line.get_ydata().tolist() == [0.5, 0.5, 0.7, 0.7]
    assert ax.get_ylabel() == "unweighted average recall\n(validation speakers)"


def test_a_number_is_drawn_where_it_is(table: pd.DataFrame, ax: Axes) -> None:
    plot_parameter(table, ax, parameter=RATE, metric="uar", log=True)
    assert ax.get_xscale() == "log"
    assert points(ax, "complete") == [[1e-4, 0.5], [3e-4, 0.7], [4e-4, 0.6]]
    assert points(ax, "best trial") == [[3e-4, 0.7]]
    assert plot_parameter(table, Figure().subplots(), parameter=RATE, metric="uar").get_xscale() == "linear"


def test_names_have_places(table: pd.DataFrame, ax: Axes) -> None:
    plot_parameter(table, ax, parameter=KIND, metric="uar", log=True)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["constant", "cosine", "linear"]
    assert points(ax, "complete") == [[2, 0.5], [1, 0.7], [0, 0.6]]
    assert points(ax, "pruned (last value)") == [[2, 0.2]]


def test_the_best_is_the_lowest_where_less_is_better(table: pd.DataFrame, ax: Axes) -> None:
    losses = table.assign(best_value=[np.nan, 0.5, 0.5, 0.5, 0.5])
    plot_parameter(losses, ax, parameter=RATE, metric="loss")
    assert points(ax, "best trial") == [[1e-4, 0.5]]


def test_bars_are_the_importance_largest_on_top(importance: pd.DataFrame, ax: Axes) -> None:
    plot_importance(importance, ax)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [KIND, RATE]
    assert [bar.get_width() for bar in ax.patches] == [0.2, 0.8]


def test_figures_are_whole_and_repeatable(table: pd.DataFrame, importance: pd.DataFrame, tmp_path: Path) -> None:
    three = table.assign(other=table["trial"] / 7)
    figures = {
        "history": lambda: draw_history(table, metric="uar"),
        "one": lambda: draw_parameters(table, metric="loss", parameters=[RATE], logs=[RATE]),
        "three": lambda: draw_parameters(three, metric="uar", parameters=[RATE, KIND, "other"]),
        "importance": lambda: draw_importance(importance),
    }
    for name, draw in figures.items():
        figure = draw()
        first = [path.read_bytes() for path in save_figure(figure, tmp_path / "a", name)]
        assert [path.read_bytes() for path in save_figure(draw(), tmp_path / "b", name)] == first
        assert figure.get_figwidth() <= PAGE_WIDTH_IN
        shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
        assert min(text.get_fontsize() for text in shown) >= SMALLEST_FONT_PT
        box, page = figure.get_tightbbox(), figure.bbox_inches
        beyond = [-box.x0, -box.y0, box.x1 - page.x1, box.y1 - page.y1]
        assert max(beyond) < PIXEL_IN, name
        assert not any("$" in text.get_text() for text in shown), "mathematics is not set, and would be shown as it is"
    assert len(draw_parameters(three, metric="uar", parameters=[RATE, KIND, "other"]).axes) == 3


def test_the_best_trial_stands_out(table: pd.DataFrame, ax: Axes) -> None:
    plot_parameter(table, ax, parameter=RATE, metric="uar")
    (ring,) = [each for each in ax.collections if each.get_label() == "best trial"]
    assert to_hex(ring.get_edgecolors()[0]) == ACCENT


@pytest.mark.parametrize("draw", [lambda table: draw_history(table, metric="uar"), draw_importance])
def test_what_is_missing_is_named(draw: object) -> None:
    with pytest.raises(AnalysisError, match="lacks columns that its figure is drawn from"):
        draw(pd.DataFrame({"trial": [0]}))  # type: ignore[operator]
    empty = pd.DataFrame(columns=["trial", "state", "value", "best_value", "parameter", "importance"])
    with pytest.raises(AnalysisError, match="is empty"):
        draw(empty)  # type: ignore[operator]
