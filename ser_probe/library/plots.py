"""Plots as a notebook draws them: a table or a result in, Axes out, which may be given.

What is drawn, and how it misleads, is said by the functions of `report` that these call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ser_probe.library.results import AnalysisResult, FinetuneResult
from ser_probe.report.acoustics.plots import plot_group_controls
from ser_probe.report.canvas import add_step_legend
from ser_probe.report.drift.plots import plot_drift_over_layers
from ser_probe.report.evaluation import plots as evaluation
from ser_probe.report.geometry import plots as geometry
from ser_probe.report.probes.plots import plot_scores_by_layer
from ser_probe.report.probes.plots_changes import plot_changes
from ser_probe.report.similarity.plots import add_colour_bar, colour_limits, plot_layer_matrix, rows_of_measure
from ser_probe.report.style import measure_name, styled
from ser_probe.report.tables import layer_order, pick, pooled_rows, step_order, with_steps
from ser_probe.report.training.plots import plot_loss
from ser_probe.report.umap.plots import add_class_legend, class_names, is_scale, plot_projection

Table = pd.DataFrame | AnalysisResult


def plot_probe_scores(
    table: Table, ax: Axes | None = None, *, measure: str = "weighted_f1", split: str = "test", **where: object
) -> Axes:
    """Draw the score of a probe per layer, a line per checkpoint, with its controls; see `plot_scores_by_layer`.

    Args:
        table: The result of `probe`, or its table `probe`.
        ax: Where to draw; None: a new figure.
        measure: Which measure: weighted_f1, uar, accuracy.
        split: Which clips are scored.
        where: Rows to take, by column, where there are several, as `family="linear"`.
    """
    rows = _rows(table, "probe", where)
    with styled():
        ax = plot_scores_by_layer(rows, _axes(ax), measure=measure, split=split)
        add_step_legend(ax, step_order(rows.loc[rows["control"] == "none", "step"]))
    return ax


def plot_probe_changes(table: Table, ax: Axes | None = None, *, measure: str = "uar", **where: object) -> Axes:
    """Draw how the score of each layer has changed against the first checkpoint; see `plot_changes`.

    Args:
        table: The result of `probe`, or its table `probe_changes`.
        ax: Where to draw; None: a new figure.
        measure: Which measure.
        where: Rows to take, by column, where there are several.
    """
    rows = _rows(table, "probe_changes", where)
    with styled():
        ax = plot_changes(rows, _axes(ax), measure=measure)
        add_step_legend(ax, step_order(rows["step"]))
    return ax


def plot_similarity(table: Table, ax: Axes | None = None, *, measure: str | None = None, **where: object) -> Axes:
    """Draw the similarity of the layers of two representations as a heat map; see `plot_layer_matrix`.

    Args:
        table: The result of `similarity`, or its table.
        ax: Where to draw; None: a new figure.
        measure: Which measure; None: the main one.
        where: Rows to take, by column, such as `step_a=0, step_b=50`. Of several pairs of representations the last one
            of two different ones is drawn, so that `where` names another.
    """
    rows = rows_of_measure(_rows(table, "similarity", where), measure)
    sides = [rows[f"model_{side}"].str.cat(rows[f"checkpoint_{side}"], " ").str.strip() for side in "ab"]
    different = sides[0] != sides[1]
    last = rows.index[different][-1] if different.any() else rows.index[-1]
    rows = rows[(sides[0] == sides[0][last]) & (sides[1] == sides[1][last])]
    limits = colour_limits(rows["value"])
    with styled():
        ax = plot_layer_matrix(rows, _axes(ax), limits=limits)
        ax.set(xlabel=f"layer of {sides[0][last]}", ylabel=f"layer of {sides[1][last]}")
        add_colour_bar([ax], limits, measure_name(str(rows["measure"].iloc[0])))
    return ax


def plot_drift(table: Table, ax: Axes | None = None, *, measure: str = "cka_debiased", **where: object) -> Axes:
    """Draw how far each layer has moved, a line per checkpoint, with its floor; see `plot_drift_over_layers`.

    Args:
        table: The result of `drift`, or its table.
        ax: Where to draw; None: a new figure.
        measure: Which measure.
        where: Rows to take, by column; by default those `against="first"`.
    """
    rows = _rows(table, "drift", {"against": "first", **where})
    with styled():
        ax = plot_drift_over_layers(rows, _axes(ax), measure=measure)
        add_step_legend(ax, step_order(rows["step"]))
    return ax


def plot_geometry(
    table: Table, ax: Axes | None = None, *, measure: str = "effective_rank", factor: str = "", **where: object
) -> Axes:
    """Draw a measure of the shape of each layer, a line per checkpoint; see `report.geometry.plots.plot_geometry`.

    Args:
        table: The result of `geometry`, or its table.
        ax: Where to draw; None: a new figure.
        measure: Which measure.
        factor: Of a measure by factor, which one, such as `label`.
        where: Rows to take, by column, where there are several.
    """
    rows = _rows(table, "geometry", where)
    layers, steps = layer_order(rows["layer"]), step_order(rows["step"])
    with styled():
        ax = geometry.plot_geometry(rows, _axes(ax), measure=measure, factor=factor, layers=layers, steps=steps)
        ax.set_xlabel("hidden layer")
        add_step_legend(ax, steps)
    return ax


def plot_acoustics(
    table: Table, ax: Axes | None = None, *, group: str = "all", measure: str = "r2", **where: object
) -> Axes:
    """Draw how well acoustic features are predicted from each layer, a line per checkpoint, with controls.

    The bands are 95 % intervals over speakers of the first and the last checkpoint's own values.

    Args:
        table: The result of `acoustics`, or its table `acoustics_groups`.
        ax: Where to draw; None: a new figure.
        group: The mean of which group of features, such as `frequency`; all: of all.
        measure: Which measure.
        where: Rows to take, by column, where there are several.
    """
    rows = _rows(table, "acoustics_groups", {"group": group, "measure": measure, **where})
    scores = pick(rows, "acoustics_groups", control="none")
    layers, steps = layer_order(scores["layer"]), step_order(scores["step"])
    with styled():
        ax = geometry.plot_lines_by_layer(scores, _axes(ax), layers=layers, steps=steps)
        plot_group_controls(rows, ax, group=group, measure=measure, layers=layers)
        ax.set(xlabel="hidden layer", ylabel=f"{measure_name(measure)}, {group} features")
        add_step_legend(ax, steps)
    return ax


def plot_umap(
    table: Table, ax: Axes | None = None, *, colour: str = "label", layer: str | None = None, **where: object
) -> Axes:
    """Draw the map of one layer and checkpoint, coloured by a column; see `plot_projection`.

    Args:
        table: The result of `umap`, or its table.
        ax: Where to draw; None: a new figure.
        colour: The column that colours.
        layer: Which layer; None: the last one that was mapped.
        where: Further rows to take, such as `step=50`; by default those of the last step.
    """
    rows = _rows(table, "umap", where)
    rows = pick(rows, "umap", layer=layer or layer_order(rows["layer"])[-1])
    rows = pick(rows, "umap", step=rows["step"].max())
    with styled():
        ax = plot_projection(rows, _axes(ax), colour=colour)
        if not is_scale(rows[colour]):
            add_class_legend(ax, class_names(rows, colour), colour, some_unknown=bool(rows[colour].isna().any()))
        ax.set(box_aspect=1, title=f"layer {rows['layer'].iloc[0]}")
    return ax


def plot_confusion(table: Table, ax: Axes | None = None, *, counts: bool = False, **where: object) -> Axes:
    """Draw a confusion matrix in percent of each true class; see `report.evaluation.plots.plot_confusion`.

    Args:
        table: The result of `evaluate`, or its table `confusion`.
        ax: Where to draw; None: a new figure.
        counts: Print the numbers of clips too.
        where: Rows to take, by column; by default those of all clips.
    """
    rows = _rows(table, "confusion", {"group_by": "overall", **where})
    with styled():
        return evaluation.plot_confusion(rows, _axes(ax), counts=counts)


def plot_reliability(table: Table, ax: Axes | None = None, **where: object) -> Axes:
    """Draw accuracy against confidence; see `report.evaluation.plots.plot_reliability`.

    Args:
        table: The result of `evaluate`, or its table `reliability`.
        ax: Where to draw; None: a new figure.
        where: Rows to take, by column.
    """
    with styled():
        return evaluation.plot_reliability(_rows(table, "reliability", where), _axes(ax))


def plot_training(table: pd.DataFrame | FinetuneResult, ax: Axes | None = None) -> Axes:
    """Draw the losses of a fine-tuning run by step; see `plot_loss`.

    Args:
        table: The result of `finetune`, or its table `training`.
        ax: Where to draw; None: a new figure.
    """
    with styled():
        ax = plot_loss(table.training if isinstance(table, FinetuneResult) else table, _axes(ax))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()
    return ax


PLOTS: Mapping[str, Callable[..., Axes]] = {
    "probe": plot_probe_scores,
    "similarity": plot_similarity,
    "drift": plot_drift,
    "geometry": plot_geometry,
    "acoustics": plot_acoustics,
    "umap": plot_umap,
    "evaluate": plot_confusion,
}
"""What `AnalysisResult.plot` draws, by the name of the result."""


def _rows(table: Table, name: str, where: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows to draw of a table or a result; of several corpora those of all pooled, where no one is named.

    Raises:
        AttributeError: If the result has no such table.
        AnalysisError: If there are no such rows.
    """
    rows = with_steps(getattr(table, name) if isinstance(table, AnalysisResult) else table)
    rows = rows if "corpus" in where else pooled_rows(rows)
    return pick(rows, name, **where) if where else rows


def _axes(ax: Axes | None) -> Axes:
    return pyplot.subplots(layout="constrained")[1] if ax is None else ax
