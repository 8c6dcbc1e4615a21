"""What became of the layers: changes of a score, recall per class, weights of a learned sum. Table -> Axes."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ser_probe.report.style import (
    ACCENT,
    GREY,
    LEGEND_CHARACTERS,
    STEP_COLOURS,
    class_styles,
    line_colours,
    measure_name,
    short,
    thin_labels,
)
from ser_probe.report.tables import FUNCTIONALS, layer_order, need, pick, step_name, step_order

SIGNIFICANT = 0.05
_CLASS_MAP = "Blues"


def plot_changes(table: pd.DataFrame, ax: Axes, *, measure: str = "uar") -> Axes:
    """Draw how far each layer's score is from that of the first checkpoint, with the interval of the last one.

    Filled dots are layers whose change is significant after Holm's correction over layers. Whether a dot can be filled
    at all depends on how many speakers were tested. Dots are not independent: neighbouring layers hold much the same.

    Args:
        table: Columns `step`, `layer`, `measure`, `value`, `ci_low`, `ci_high`, `p_holm`.
        ax: Where to draw.
        measure: Which measure.
    """
    need(table, ["step", "layer", "measure", "value", "ci_low", "ci_high", "p_holm"], "probe changes")
    rows = pick(table, "probe changes", measure=measure)
    layers, steps = layer_order(rows["layer"]), step_order(rows["step"])
    colours = line_colours(len(steps) + 1, STEP_COLOURS)[1:]  # the first checkpoint's colour is that of 0
    ax.axhline(0, color=GREY, linewidth=1)
    x = np.arange(len(layers))
    for step, colour in zip(steps, colours, strict=True):
        own = rows[rows["step"] == step].set_index("layer").reindex(layers)
        last = step == steps[-1]
        ax.plot(x, own["value"], color=colour, linewidth=1.8 if last else 1.0, label=step_name(step), zorder=3)
        if last:
            ax.vlines(x, own["ci_low"], own["ci_high"], color=colour, linewidth=1.4, zorder=2)
        found = (own["p_holm"] < SIGNIFICANT).to_numpy()
        for chosen, face in ((found, colour), (~found, "white")):
            ax.plot(x[chosen], own["value"][chosen], linestyle="none", marker="o", markersize=5 if last else 3,
                    markerfacecolor=face, markeredgecolor=colour, zorder=4)  # fmt: skip
    _name_layers(ax, layers)
    ax.set_ylabel(f"change of {'UAR' if measure == 'uar' else measure_name(measure)}")
    return ax


def plot_steps_by_layer(table: pd.DataFrame, ax: Axes, *, baseline: str | None = None) -> Axes:
    """Draw a value per layer, a line per checkpoint, with the intervals of the first and the last.

    Args:
        table: Columns `step`, `layer`, `value`, `ci_low`, `ci_high`: one row per step and layer. Rows of acoustic
            features become a dashed line.
        ax: Where to draw.
        baseline: What 0 is called; None draws no line there.
    """
    need(table, ["step", "layer", "value", "ci_low", "ci_high"], "probe")
    encoder = table[(table["layer"] != FUNCTIONALS) & table["step"].notna()]
    layers, steps = layer_order(encoder["layer"]), step_order(encoder["step"])
    if baseline is not None:
        ax.axhline(0, color=GREY, linewidth=1, linestyle=(0, (1, 1.4)), label=baseline)
    acoustic = table.loc[table["layer"] == FUNCTIONALS, "value"]
    if not acoustic.empty:
        ax.axhline(acoustic.mean(), color=ACCENT, linestyle=(0, (6, 3)), linewidth=1.8, label="eGeMAPS")
    x = np.arange(len(layers))
    for step, colour in zip(steps, line_colours(len(steps), STEP_COLOURS), strict=True):
        own = encoder[encoder["step"] == step].set_index("layer").reindex(layers)
        ax.plot(x, own["value"], color=colour, marker="o", markersize=3, label=step_name(step), zorder=3)
        if step in (steps[0], steps[-1]):
            ax.fill_between(x, own["ci_low"], own["ci_high"], color=colour, alpha=0.16, linewidth=0, zorder=2)
    _name_layers(ax, layers)
    return ax


def plot_sum_by_step(table: pd.DataFrame, ax: Axes, *, baseline: str | None = None) -> Axes:
    """Draw a value of probes that take all layers at once over fine-tuning steps, with its interval.

    Args:
        table: Columns `step`, `value`, `ci_low`, `ci_high`: one row per step.
        ax: Where to draw.
        baseline: What 0 is called.
    """
    need(table, ["step", "value", "ci_low", "ci_high"], "probe")
    rows = table.sort_values("step")
    colour = line_colours(1, STEP_COLOURS)[0]
    ax.axhline(0, color=GREY, linewidth=1, linestyle=(0, (1, 1.4)), label=baseline)
    ax.vlines(rows["step"], rows["ci_low"], rows["ci_high"], color=colour, linewidth=1.4)
    ax.plot(rows["step"], rows["value"], color=colour, marker="o", markersize=4, label="learned sum of layers")
    ax.set_xticks(steps := step_order(rows["step"]), [step_name(step) for step in steps])
    ax.set_xlabel("fine-tuning step")
    return ax


def plot_recall_lines(table: pd.DataFrame, ax: Axes, *, classes: list[str]) -> Axes:
    """Draw the recall of each class per layer, a line per class.

    Args:
        table: Columns `class`, `layer`, `value`: one row per class and layer.
        ax: Where to draw.
        classes: The classes, in the order of their colours.
    """
    layers = layer_order(table["layer"])
    x = np.arange(len(layers))
    styles = class_styles(classes)
    for name in classes:
        own = table[table["class"] == name].set_index("layer").reindex(layers)
        colour, marker = styles[name]
        ax.plot(x, own["value"], color=colour, marker=marker, markersize=4, linewidth=1.3,
                label=short(name, LEGEND_CHARACTERS))  # fmt: skip
    _name_layers(ax, layers)
    ax.set_ylim(-0.02, 1.02)
    return ax


def plot_recall_map(table: pd.DataFrame, ax: Axes, *, classes: list[str]) -> Axes:
    """Draw the recall of each class (row) per layer (column) as colours from 0 to 1; for many classes.

    Args:
        table: Columns `class`, `layer`, `value`: one row per class and layer.
        ax: Where to draw.
        classes: The classes, top to bottom.
    """
    layers = layer_order(table["layer"])
    grid = table.pivot(index="class", columns="layer", values="value").reindex(index=classes, columns=layers)
    ax.grid(False)
    ax.pcolormesh(np.ma.masked_invalid(grid.to_numpy(float)), cmap=matplotlib.colormaps[_CLASS_MAP], vmin=0, vmax=1)
    ax.set_xticks(np.arange(len(layers)) + 0.5, layers)
    ax.set_yticks(np.arange(len(classes)) + 0.5, [short(name, LEGEND_CHARACTERS) for name in classes])
    thin_labels(ax.xaxis, most=9)
    thin_labels(ax.yaxis, most=20)
    ax.invert_yaxis()
    ax.set_xlabel("hidden layer")
    return ax


def plot_centres(table: pd.DataFrame, ax: Axes, *, measure: str) -> Axes:
    """Draw a depth over fine-tuning steps with its interval over speakers; the ends of the network bound the axis.

    Args:
        table: Columns `step`, `measure`, `value`, `ci_low`, `ci_high`, `first_layer`, `last_layer`.
        ax: Where to draw.
        measure: `centre_of_gravity` or `expected_layer`.
    """
    rows = pick(table, "probe centre", measure=measure).sort_values("step")
    colour = line_colours(1, STEP_COLOURS)[0]
    ax.fill_between(rows["step"], rows["ci_low"], rows["ci_high"], color=colour, alpha=0.16, linewidth=0)
    ax.plot(rows["step"], rows["value"], color=colour, marker="o", markersize=4)
    ax.set_ylim(rows["first_layer"].min(), rows["last_layer"].max())
    ax.set_xticks(steps := step_order(rows["step"]), [step_name(step) for step in steps])
    thin_labels(ax.xaxis, most=6)
    ax.set(xlabel="fine-tuning step", ylabel="depth in layers", title=measure.replace("_", " "))
    return ax


def _name_layers(ax: Axes, layers: list[str]) -> None:
    ax.set_xticks(range(len(layers)), layers)
    thin_labels(ax.xaxis, most=max(5, round(2.4 * ax.get_position().width * 7.2)))
    ax.set_xlim(-0.5, len(layers) - 0.5)
    ax.set_xlabel("hidden layer")
