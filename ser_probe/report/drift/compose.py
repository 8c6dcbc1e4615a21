"""Figures about drift: of layers over steps and along the network, of groups of clips, of weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ser_probe.errors import AnalysisError, NothingToDrawError
from ser_probe.report.canvas import add_colour_key, heading, new_figure
from ser_probe.report.drift.plots import (
    BANDS,
    FLOORS,
    SHIFTS,
    add_scale,
    drift_measures,
    of_reference,
    part_order,
    plot_drift_of_groups,
    plot_drift_over_layers,
    plot_drift_over_steps,
    plot_shift_parts,
    plot_weight_map,
)
from ser_probe.report.style import LAYER_COLOURS, PAGE_WIDTH_IN, STEP_COLOURS, legend_columns, styled
from ser_probe.report.tables import NO_STEP, layer_order, need, step_order

_COLUMNS = 3  # of panels on a page
_PANEL_HEIGHT_IN = 2.1
_MOST_STEPS = 4
_GROUP_MEASURES = ("cka_debiased", "mean_cosine_centred", "knn_overlap", "mean_shift", "relative_norm_change")
_TURNS = "RdBu"
_BEFORE = {"first": "the state before fine-tuning", "previous": "the checkpoint before"}


def draw_drift(table: pd.DataFrame, *, x: str = "step", against: str = "first") -> Figure:
    """Draw every measure of drift in a panel of its own.

    Args:
        table: The drift table.
        x: `step` (a line per layer) or `layer` (a line per step).
        against: What drift is measured from, `first` or `previous`.

    Raises:
        AnalysisError: If the table is empty or holds only step 0, `x` is neither, or nothing is measured from that.
    """
    if x not in ("step", "layer"):
        raise AnalysisError("Drift is drawn against one of two things", expected="x = 'step' or 'layer'", found=x)
    rows = of_reference(need(table, ["step", "layer", "measure", "value"], "drift"), against)
    _require_later(rows)
    with styled():
        measures, by_step = drift_measures(rows), x == "step"
        plot: Callable[..., Axes] = plot_drift_over_steps if by_step else plot_drift_over_layers
        # A line at no drift says nothing of the layers.
        shown = rows if by_step else rows[rows["step"] != 0]
        figure, axes = _panels(len(measures))
        for ax, measure in zip(axes, measures, strict=True):
            plot(shown, ax, measure=measure)
        _label_below_only(axes)
        names = layer_order(rows["layer"]) if by_step else [str(step) for step in step_order(shown["step"])]
        key = ("hidden layer", LAYER_COLOURS) if by_step else ("fine-tuning step", STEP_COLOURS)
        add_colour_key(axes, names, *key)
        _add_floor_legend(figure, rows)
        title = f"Drift from {_BEFORE[against]}" if by_step else "Drift along the layers"
        figure.suptitle(heading(rows, title))
        return figure


def draw_drift_groups(table: pd.DataFrame) -> Figure:
    """Draw the drift of each group of clips at the last step, a panel per measure.

    Args:
        table: The rows of the drift of groups of one way of grouping.

    Raises:
        AnalysisError: If the table is empty, holds several ways of grouping, or only step 0.
    """
    rows = of_reference(
        need(table, ["step", "layer", "measure", "value", "group_by", "group"], "drift_groups"), "first"
    )
    if rows["group_by"].nunique() > 1:
        kinds = ", ".join(map(str, rows["group_by"].unique()))
        raise AnalysisError("A figure shows groups of one kind", found=kinds, fix="pick the rows of one group_by")
    _require_later(rows)
    steps = step_order(rows["step"])
    rows = rows[rows["step"] == steps[-1]]
    with styled():
        found = drift_measures(rows)
        measures = [measure for measure in _GROUP_MEASURES if measure in found] or found
        names = sorted(map(str, rows["group"].unique()))
        figure, axes = _panels(len(measures))
        for ax, measure in zip(axes, measures, strict=True):
            plot_drift_of_groups(rows.assign(group=rows["group"].astype(str)), ax, measure=measure, names=names)
        _label_below_only(axes)
        handles, labels = axes[0].get_legend_handles_labels()
        if len(labels) > len(names):
            handles, labels = handles[-2:], [f"each of {len(names)}", labels[-1]]
        by = str(rows["group_by"].iloc[0])
        figure.legend(
            handles, labels, title=by, loc="outside lower center", ncols=legend_columns(labels, PAGE_WIDTH_IN, 5)
        )
        figure.suptitle(heading(rows.drop(columns="n", errors="ignore"), f"Drift by {by} at step {steps[-1]}"))
        return figure


def draw_shift_parts(table: pd.DataFrame, *, most_steps: int = _MOST_STEPS) -> Figure:
    """Draw how far the mean of each layer moved and how far its covariance changed, a panel per step.

    Args:
        table: The drift table.
        most_steps: Of more steps than this, so many are drawn, evenly spaced, with the last.

    Raises:
        NothingToDrawError: If the table does not hold both measures after step 0.
    """
    rows = of_reference(need(table, ["step", "layer", "measure", "value"], "drift"), "first")
    rows = rows[rows["measure"].isin(SHIFTS) & (rows["step"] > 0)]
    if set(rows["measure"]) != set(SHIFTS):
        raise NothingToDrawError(
            "The drift table does not say how far means and covariances moved",
            expected=", ".join(SHIFTS),
            found=", ".join(rows["measure"].unique()) or "neither, after step 0",
        )
    steps = step_order(rows["step"])
    steps = [steps[i] for i in np.unique(np.linspace(len(steps) - 1, 0, most_steps).round().astype(int))]
    with styled():
        figure = new_figure(PAGE_WIDTH_IN, 3.0)
        axes = list(figure.subplots(1, len(steps), squeeze=False, sharey=True)[0])
        for ax, step in zip(axes, steps, strict=True):
            plot_shift_parts(rows[rows["step"] == step], ax)
            ax.set_title(f"step {step}")
        axes[0].set_ylabel("squared distance\n(1 = total variance before)")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        figure.suptitle(heading(rows, "Mean against covariance"))
        return figure


def draw_weight_drift(table: pd.DataFrame) -> Figure:
    """Draw how far the weights of each block moved: since the first checkpoint, since the last one, and how straight.

    Args:
        table: The weight drift table.

    Raises:
        AnalysisError: If the table is empty, or holds one checkpoint only.
    """
    rows = need(table, ["step", "layer", "measure", "value", "against"], "weight_drift")
    if rows["step"].nunique() < 2:
        raise AnalysisError("The weights of one checkpoint have not moved", fix="give the weights of two or more")
    changes = rows[(rows["measure"] == "relative_change") & rows["value"].notna()]
    parts = [
        ("since the first", changes[(changes["against"] == "first") & (changes["step"] > changes["step"].min())]),
        ("since the one before", changes[changes["against"] == "previous"]),
        ("direction of updates", rows[rows["measure"] == "update_cosine"]),
    ]
    with styled():
        shown = [(title, part) for title, part in parts if not part.empty]
        n_parts = len(part_order(rows["layer"].unique().tolist()))
        figure = new_figure(PAGE_WIDTH_IN, max(3.0, 1.7 + 0.2 * n_parts))
        axes = list(figure.subplots(1, len(shown), squeeze=False, sharey=True)[0])
        for ax, (title, part) in zip(axes, shown, strict=True):
            turns = part["measure"].iloc[0] == "update_cosine"
            finite = part["value"][np.isfinite(part["value"])]
            limits = (-1.0, 1.0) if turns else (0.0, float(finite.max()) or 1.0)
            cmap = _TURNS if turns else "viridis"
            plot_weight_map(part, ax, limits=limits, cmap=cmap)
            ax.set_title(title)
            add_scale([ax], limits, "cosine of two updates" if turns else "relative change", cmap=cmap)
        axes[0].set_ylabel("block")
        figure.suptitle(heading(rows.drop(columns="n", errors="ignore"), "Drift of the weights"))
        return figure


def _require_later(rows: pd.DataFrame) -> None:
    """Raise where there is nothing but what drift is measured against, or files that do not say when they were made."""
    steps = step_order(rows["step"])
    if steps == [0]:
        raise AnalysisError("The drift table holds only step 0, which is what drift is measured against")
    if steps == [NO_STEP]:
        raise AnalysisError("The drift table names no step, and its figures are drawn over fine-tuning steps")


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return a page of so many panels of equal size, filled row by row."""
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    figure = new_figure(PAGE_WIDTH_IN, max(3.2, 0.9 + _PANEL_HEIGHT_IN * rows))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def _label_below_only(axes: list[Axes]) -> None:
    """Leave out what stands below a panel where another panel stands below that."""
    for ax, below in zip(axes, axes[_COLUMNS:], strict=False):
        assert below is not None
        ax.set_xlabel("")


def _add_floor_legend(figure: Figure, rows: pd.DataFrame) -> None:
    found = [column for column in FLOORS if column in rows and rows[column].notna().any()]
    if found:
        patches = [Patch(linewidth=0, label=f"floor: {FLOORS[column]}", **BANDS[column]) for column in found]
        figure.legend(handles=patches, loc="outside lower center", ncols=2)
