"""The figure of a paired comparison of models: differences of scores, a row per pair."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.report.canvas import new_figure
from ser_probe.report.style import CLASS_COLOURS, GREY, PAGE_WIDTH_IN, measure_name, short, styled
from ser_probe.report.tables import need

MOST_PAIRS = 28
_ROW_IN = 0.42
_NAMES = {"uar": "UAR"}
_ALPHA = 0.05


def draw_comparison(table: pd.DataFrame) -> Figure:
    """Draw each pair's difference with its interval over speakers, a panel per measure.

    A mark is filled where p, corrected over the pairs, is below 0.05. The intervals are not corrected: a hollow mark
    may well have one that leaves out 0. Of more than 28 pairs the first are drawn.

    Args:
        table: Rows of one corpus, and of one target if numeric.

    Raises:
        AnalysisError: If the table is empty or lacks a column.
    """
    need(table, ["model_a", "model_b", "measure", "value", "ci_low", "ci_high", "p_holm", "n", "n_speakers"], NAME)
    measures = list(dict.fromkeys(table["measure"]))
    pairs = list(dict.fromkeys(zip(table["model_a"], table["model_b"], strict=True)))[:MOST_PAIRS]
    with styled():
        figure = new_figure(PAGE_WIDTH_IN, 1.4 + _ROW_IN * max(2, len(pairs)))
        axes = list(figure.subplots(1, len(measures), sharey=True, squeeze=False)[0])
        for ax, measure in zip(axes, measures, strict=True):
            rows = table[table["measure"] == measure].head(len(pairs))
            _plot_differences(rows, ax)
            ax.set_xlabel(_NAMES.get(measure, measure_name(measure)))
        axes[0].set_yticks(range(len(pairs)), [f"{short(a, 22)}\n- {short(b, 22)}" for a, b in pairs])
        axes[0].set_ylim(len(pairs) - 0.4, -0.6)
        what = [short(value) for name in ("corpus", "target") if name in table for value in table[name].unique()[:1]]
        clips = f"n = {int(table['n'].iloc[0])} clips, {int(table['n_speakers'].iloc[0])} speakers"
        figure.suptitle(" · ".join(["Differences of scores, 95 % over speakers", *what, clips]))
        return figure


NAME = "comparison"


def _plot_differences(rows: pd.DataFrame, ax: Axes) -> Axes:
    y, found = np.arange(len(rows)), (rows["p_holm"] < _ALPHA).to_numpy(bool)
    ax.axvline(0, color=GREY, linewidth=1, linestyle=":")
    ax.hlines(y, rows["ci_low"], rows["ci_high"], color=CLASS_COLOURS[0], linewidth=1.4)
    ax.scatter(
        rows["value"], y, s=26, zorder=3, edgecolors=CLASS_COLOURS[0],
        facecolors=np.where(found, CLASS_COLOURS[0], "white").tolist(),
    )  # fmt: skip
    ax.locator_params(axis="x", nbins=4)
    ax.grid(axis="y", visible=False)
    return ax
