"""How far each layer moves away from its state before fine-tuning. Table -> Axes."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ser_probe.report.style import GREY, LAYER_COLOURS, STEP_COLOURS, line_colours, measure_name, spaced
from ser_probe.report.tables import layer_order, need, pick, step_order

# The value of a measure where nothing has changed.
UNCHANGED = {"cka_debiased": 1.0, "cka": 1.0, "mean_cosine": 1.0, "relative_norm_change": 0.0}


def plot_drift_over_steps(table: pd.DataFrame, ax: Axes, *, measure: str) -> Axes:
    """Draw a measure of drift against the fine-tuning step, a line per layer, dark at the input.

    The vertical scale is that of the values: a steep line may be a small change.

    Args:
        table: Columns `step`, `layer`, `measure`, `value`; several rows of a point are averaged.
        ax: Where to draw.
        measure: `cka_debiased`, `mean_cosine`, `relative_norm_change` or another measure of the table.
    """
    rows = _rows(table, measure)
    layers = layer_order(rows["layer"])
    for layer, colour in zip(layers, line_colours(len(layers), LAYER_COLOURS), strict=True):
        line = rows[rows["layer"] == layer].groupby("step")["value"].mean()
        # The layer after the final norm is on another scale than the residual stream: it is told apart.
        style = "--" if layer == "final" else "-"
        ax.plot(line.index, line, color=colour, linestyle=style, marker="o", markersize=3, label=layer)
    ax.set_xlabel("fine-tuning step")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    return _finish(ax, measure)


def plot_drift_over_layers(table: pd.DataFrame, ax: Axes, *, measure: str) -> Axes:
    """Draw a measure of drift against the layer, a line per checkpoint, dark for early ones.

    Args:
        table: Columns `step`, `layer`, `measure`, `value`; several rows of a point are averaged.
        ax: Where to draw.
        measure: `cka_debiased`, `mean_cosine`, `relative_norm_change` or another measure of the table.
    """
    rows = _rows(table, measure)
    layers, steps = layer_order(rows["layer"]), step_order(rows["step"])
    position = {layer: i for i, layer in enumerate(layers)}
    for step, colour in zip(steps, line_colours(len(steps), STEP_COLOURS), strict=True):
        means = rows[rows["step"] == step].groupby("layer")["value"].mean()
        line = means.reindex([layer for layer in layers if layer in means.index])
        x = [position[layer] for layer in line.index]
        ax.plot(x, line, color=colour, marker="o", markersize=3, label=str(step))
    # A panel may be a third of a page wide.
    shown = spaced(len(layers), 5)
    ax.set_xticks(shown, [layers[i] for i in shown])
    ax.set_xlabel("hidden layer")
    return _finish(ax, measure)


def drift_measures(table: pd.DataFrame) -> list[str]:
    """Return the measures of drift in the table, the known ones first and in their usual order."""
    need(table, ["measure"], "drift")
    found = list(table["measure"].drop_duplicates())
    known = [measure for measure in UNCHANGED if measure in found]
    return known + [measure for measure in found if measure not in UNCHANGED]


def _rows(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    need(table, ["step", "layer", "measure", "value"], "drift")
    rows = pick(table, "drift", measure=measure)
    return rows.assign(layer=rows["layer"].astype(str), step=rows["step"].astype(int))


def _finish(ax: Axes, measure: str) -> Axes:
    """Name the vertical axis and draw the line on which nothing has changed."""
    if measure in UNCHANGED:
        ax.axhline(UNCHANGED[measure], color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        ax.set_ylabel(f"{measure_name(measure)}\n({UNCHANGED[measure]:g} = unchanged)")
    else:
        ax.set_ylabel(measure_name(measure))
    return ax
