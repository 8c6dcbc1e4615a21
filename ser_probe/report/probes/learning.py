"""How much training material a probe needs: the length of the labels' code, and learning curves."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ser_probe.report.canvas import add_step_legend, heading, name_places, new_panels
from ser_probe.report.layer_lines import plot_lines_by_layer, spread_by_layer
from ser_probe.report.measures import measure_name
from ser_probe.report.probes.scores import target_names
from ser_probe.report.style import GREY, PAGE_WIDTH_IN, STEP_COLOURS, line_colours, styled
from ser_probe.report.tables import at_step, first_and_last, layer_order, need, pick, step_order


@styled()
def draw_description_length(table: pd.DataFrame) -> Figure:
    """Draw the compression of the labels by each layer, a line per checkpoint.

    Raises:
        AnalysisError: If the table is empty or lacks columns.
    """
    rows = pick(table, "probe_description_length", measure="compression")
    figure, (ax,) = new_panels(PAGE_WIDTH_IN, 3.6)
    plot_compression(rows, ax)
    add_step_legend(ax, step_order(rows["step"]))
    ceiling = f"at most {rows['ceiling'].mean():.2g} can be reached"
    ax.set_title(f"{heading(rows, f'Online code of {target_names(rows)}')} · {ceiling}")
    return figure


@styled()
def draw_learning_curves(table: pd.DataFrame, *, measure: str = "uar") -> Figure:
    """Draw the learning curves of the first, a middle and the last layer, at the first and the last checkpoint.

    Raises:
        AnalysisError: If the table is empty or lacks the measure.
    """
    rows = pick(table, "probe_curve", measure=measure)
    layers, steps = layer_order(rows["layer"]), first_and_last(step_order(rows["step"]))
    shown = list(dict.fromkeys([layers[0], layers[len(layers) // 2], layers[-1]]))
    figure, axes = new_panels(PAGE_WIDTH_IN, 3.2, len(shown), sharex=True, sharey=True)
    for ax, layer in zip(axes, shown, strict=True):
        plot_learning(rows[(rows["layer"] == layer) & rows["step"].isin(steps)], ax, measure=measure)
        ax.set_title(f"layer {layer}")
        ax.label_outer()
    colours = line_colours(len(steps), STEP_COLOURS)
    handles = [Line2D([], [], color=colour, marker="o", markersize=3) for colour in colours]
    handles += [Line2D([], [], color=GREY, linestyle=style) for style in ("-", "--")]
    names = [*(at_step(step) for step in steps), "fewer speakers", "fewer clips of each speaker"]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    figure.suptitle(heading(rows, f"Learning curves of {target_names(rows)}"))
    return figure


def plot_compression(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw how many times shorter the labels' code is than the uniform one, per layer; a line per checkpoint.

    Args:
        table: Columns `step`, `layer`, `measure`, `value`, `uniform_bits`, `frequency_bits`, `ceiling`.
        ax: Where to draw.
    """
    columns = ["step", "layer", "measure", "value", "uniform_bits", "frequency_bits", "ceiling"]
    rows = need(table, columns, "probe_description_length")
    rows = rows[rows["measure"] == "compression"]
    layers = layer_order(rows["layer"])
    plot_lines_by_layer(spread_by_layer(rows), ax, layers=layers, steps=step_order(rows["step"]))
    ax.axhline(1, color=GREY, linestyle="--", linewidth=1, label="uniform code")
    frequency = (rows["uniform_bits"] / rows["frequency_bits"]).mean()
    # With classes of equal size both lines would lie on each other.
    if abs(frequency - 1) > 0.01:
        ax.axhline(frequency, color=GREY, linestyle=":", linewidth=1, label="class frequencies alone")
    name_places(ax, layers, 17, margin=0.5)
    ax.set(xlabel="hidden layer", ylabel="compression of the labels (ratio)")
    return ax


def plot_learning(table: pd.DataFrame, ax: Axes, *, measure: str = "uar") -> Axes:
    """Draw the score of one layer against the number of training clips, drawn as fewer speakers or as fewer clips.

    Args:
        table: Rows of one layer: `step`, `by`, `fraction`, `measure`, `value`, `sd_over_draws`, `train_clips`.
        ax: Where to draw.
        measure: Which measure.
    """
    columns = ["step", "by", "fraction", "measure", "value", "sd_over_draws", "train_clips"]
    rows = need(table, columns, "probe_curve")
    rows = rows[rows["measure"] == measure]
    steps = step_order(rows["step"])
    for step, colour in zip(steps, line_colours(len(steps), STEP_COLOURS), strict=True):
        for by, style in (("speakers", "-"), ("clips", "--")):
            part = rows[(rows["step"] == step) & (rows["by"] == by)].sort_values("train_clips")
            ax.plot(part["train_clips"], part["value"], style, color=colour, marker="o", markersize=3)
            spread = part["sd_over_draws"].fillna(0)
            ax.fill_between(part["train_clips"], part["value"] - spread, part["value"] + spread,
                            color=colour, alpha=0.12, linewidth=0)  # fmt: skip
    ax.set(xlabel="training clips", ylabel=measure_name(measure))
    ax.set_xlim(left=0)
    return ax
