"""Classes before and after fine-tuning: recall per layer, and which class is taken for which."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import add_colour_bar, legend_below, new_panels, thin_labels
from ser_probe.report.evaluation.plots import plot_class_scores, plot_confusion
from ser_probe.report.probes.scores import WEIGHTED_SUM, name_layers, probe_heading
from ser_probe.report.style import (
    CLASS_COLOURS,
    LEGEND_CHARACTERS,
    PAGE_WIDTH_IN,
    SHARE_COLOURS,
    class_styles,
    short,
    styled,
)
from ser_probe.report.tables import at_step, first_and_last, layer_order, pick, step_order

_MOST_NAMED_CLASSES = 20
_MOST_NAMED_LAYERS = 9


@styled()
def draw_confusion_change(table: pd.DataFrame) -> Figure:
    """Draw which class is taken for which at the first and the last checkpoint, at the layers that validation chose.

    Args:
        table: The confusion table, of one target and family.

    Raises:
        AnalysisError: If no layer was chosen.
    """
    chosen = pick(table, "probe confusion", chosen=True)
    chosen = chosen[chosen["step"].notna()]
    steps = first_and_last(step_order(chosen["step"]))
    if not steps:
        raise AnalysisError("The confusion table holds no layer that validation chose")
    figure, axes = new_panels(PAGE_WIDTH_IN if len(steps) > 1 else 4.4, 4.6, len(steps))
    for ax, step in zip(axes, steps, strict=True):
        rows = chosen[chosen["step"] == step]
        plot_confusion(rows, ax, width_in=2.4)
        if rows["true"].nunique() > _MOST_NAMED_CLASSES:
            thin_labels(ax.xaxis, most=_MOST_NAMED_CLASSES)
            thin_labels(ax.yaxis, most=_MOST_NAMED_CLASSES)
        layer = short(rows["layer"].iloc[0])
        ax.set_title(f"{at_step(step)}, " + ("sum of layers" if layer == WEIGHTED_SUM else f"layer {layer}"))
    for ax in axes[1:]:
        ax.set_ylabel("")
        ax.tick_params(labelleft=False)
    figure.suptitle(probe_heading(chosen, "Answers of the probe"))
    return figure


@styled()
def draw_class_recall(table: pd.DataFrame) -> Figure:
    """Draw the recall of each class per layer, at the first and at the last checkpoint.

    Args:
        table: The table of classes, of one target and family.

    Raises:
        AnalysisError: If it holds no recall of layers.
    """
    rows = pick(table, "probe classes", measure="recall", split="test", control="none")
    rows = rows[rows["step"].notna()]
    classes, steps = sorted(rows["class"].unique()), first_and_last(step_order(rows["step"]))
    if not steps:
        raise AnalysisError("The table of classes holds no checkpoint")
    title = probe_heading(rows.drop(columns="n", errors="ignore"), "Recall per class: probe")
    if rows["layer"].nunique() == 1:
        return _draw_recall_bars(rows[rows["step"].isin(steps)], title)
    few = len(classes) <= len(CLASS_COLOURS)
    plot = plot_recall_lines if few else plot_recall_map
    figure, axes = new_panels(PAGE_WIDTH_IN, 3.6 if few else 4.6, len(steps), sharey=True)
    for ax, step in zip(axes, steps, strict=True):
        plot(rows[rows["step"] == step], ax, classes=classes)
        thin_labels(ax.xaxis, _MOST_NAMED_LAYERS)
        ax.set_title(at_step(step))
    if few:
        unit = rows["divided_by"].iloc[0] if "divided_by" in rows else "speaker"
        axes[0].set_ylabel(f"recall (test {unit}s)")
        legend_below(figure, axes[0], 4, columnspacing=1.2)
    else:
        axes[0].set_ylabel("class")
        add_colour_bar(axes, (0, 1), "recall", colours=SHARE_COLOURS, pad=0.02)
    figure.suptitle(title)
    return figure


def _draw_recall_bars(rows: pd.DataFrame, title: str) -> Figure:
    """Draw the recall of each class of probes that take all layers at once, a bar a checkpoint."""
    figure, (ax,) = new_panels(PAGE_WIDTH_IN, min(9.0, 1.4 + 0.42 * rows["class"].nunique()))
    plot_class_scores(rows.assign(group=[at_step(int(step)) for step in rows["step"]]), ax)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    ax.set_xlabel(f"{ax.get_xlabel()} (lines: 95 % over speakers)")
    ax.set_title(title)
    return figure


def plot_recall_lines(table: pd.DataFrame, ax: Axes, *, classes: list[str]) -> Axes:
    """Draw the recall of each class per layer, a line per class.

    Args:
        table: Columns `class`, `layer`, `value`: one row per class and layer.
        ax: Where to draw.
        classes: The classes, in the order of their colours.
    """
    layers = layer_order(table["layer"])
    for name, (colour, marker) in class_styles(classes).items():
        line = table[table["class"] == name].set_index("layer").reindex(layers)
        ax.plot(np.arange(len(layers)), line["value"], color=colour, marker=marker, markersize=4, linewidth=1.3,
                label=short(name, LEGEND_CHARACTERS))  # fmt: skip
    name_layers(ax, layers)
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
    ax.pcolormesh(np.ma.masked_invalid(grid.to_numpy(float)), cmap=matplotlib.colormaps[SHARE_COLOURS], vmin=0, vmax=1)
    ax.set_xticks(np.arange(len(layers)) + 0.5, layers)
    ax.set_yticks(np.arange(len(classes)) + 0.5, [short(name, LEGEND_CHARACTERS) for name in classes])
    thin_labels(ax.xaxis, _MOST_NAMED_LAYERS)
    thin_labels(ax.yaxis, _MOST_NAMED_CLASSES)
    ax.invert_yaxis()
    ax.set_xlabel("hidden layer")
    return ax
