"""The figures of a paired comparison of models: differences of scores, a row per pair."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ser_probe.files import distinct_slugs
from ser_probe.report.canvas import new_panels
from ser_probe.report.figures import save_figure
from ser_probe.report.intervals import plot_intervals
from ser_probe.report.measures import short_measure_name
from ser_probe.report.style import PAGE_WIDTH_IN, short, styled
from ser_probe.report.tables import need

MOST_PAIRS = 28
_TABLE = "comparison"
_ROW_IN = 0.42
_ALPHA = 0.05


@styled()
def draw_comparison(table: pd.DataFrame) -> Figure:
    """Draw each pair's difference with its interval over speakers, a panel per measure.

    A mark is filled where p, corrected over the pairs, is below 0.05. The intervals are not corrected: a hollow mark
    may well have one that leaves out 0. Of more than 28 pairs the first are drawn.

    Args:
        table: Rows of one corpus, and of one target if numeric.

    Raises:
        AnalysisError: If the table is empty or lacks a column.
    """
    columns = ["model_a", "model_b", "measure", "value", "ci_low", "ci_high", "p_holm", "n", "n_speakers"]
    need(table, columns, _TABLE)
    measures = list(dict.fromkeys(table["measure"]))
    pairs = list(dict.fromkeys(zip(table["model_a"], table["model_b"], strict=True)))[:MOST_PAIRS]
    figure, axes = new_panels(PAGE_WIDTH_IN, 1.4 + _ROW_IN * max(2, len(pairs)), len(measures), sharey=True)
    for ax, measure in zip(axes, measures, strict=True):
        rows = table[table["measure"] == measure].head(len(pairs))
        plot_intervals(rows, ax, value="value", filled=rows["p_holm"] < _ALPHA)
        ax.locator_params(axis="x", nbins=4)
        ax.set_xlabel(short_measure_name(measure))
    axes[0].set_ylim(len(pairs) - 0.4, -0.6)
    axes[0].set_yticks(range(len(pairs)), [f"{short(a, 22)}\n- {short(b, 22)}" for a, b in pairs])
    what = [short(value) for name in ("corpus", "target") if name in table for value in table[name].unique()[:1]]
    clips = f"n = {int(table['n'].iloc[0])} clips, {int(table['n_speakers'].iloc[0])} speakers"
    figure.suptitle(" · ".join(["Differences of scores, 95 % over speakers", *what, clips]))
    return figure


def write_comparison_figures(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw the differences of each corpus, and of each numeric target.

    Args:
        table: The table of a comparison.
        folder: Where to.

    Returns:
        PNG and SVG of each figure, `comparison_<corpus>` or `comparison_<corpus>_<target>`.
    """
    files: list[Path] = []
    keys = [name for name in ("corpus", "target") if name in table]
    names = {key: [str(value) for value in table[key].unique()] for key in keys}
    slugs = {key: dict(zip(names[key], distinct_slugs(names[key]), strict=True)) for key in keys}
    for values, rows in table.groupby(keys, sort=False):
        parts = [slugs[key][str(value)] for key, value in zip(keys, values, strict=True)]
        files += save_figure(draw_comparison(rows), folder, "_".join([_TABLE, *parts]))
    return files
