"""The figures of drift: of layers over steps and along the network, of groups of clips, of weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ser_probe.errors import AnalysisError, NothingToDrawError
from ser_probe.report.canvas import (
    add_colour_bar,
    add_colour_key,
    grid_shape,
    heading,
    legend_below,
    legend_columns,
    new_panels,
)
from ser_probe.report.corpora.figures import CORPORA_CAPTION, draw_drift_corpora
from ser_probe.report.drift.plots import (
    FLOORS,
    SHIFTS,
    band_style,
    drift_measures,
    of_reference,
    part_order,
    plot_drift_of_groups,
    plot_drift_over_layers,
    plot_drift_over_steps,
    plot_shift_parts,
    plot_weight_map,
)
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.style import (
    CHANGE_COLOURS,
    HEAT_COLOURS,
    LAYER_COLOURS,
    PAGE_WIDTH_IN,
    STEP_COLOURS,
    styled,
)
from ser_probe.report.tables import NO_STEP, layer_order, need, step_order

_COLUMNS = 3  # of panels on a page
_PANEL_HEIGHT_IN = 2.1
_MOST_STEPS = 4
_GROUP_MEASURES = ("cka_debiased", "mean_cosine_centred", "knn_overlap", "mean_shift", "relative_norm_change")
_BEFORE = {"first": "the state before fine-tuning", "previous": "the checkpoint before"}


@styled()
def draw_drift(table: pd.DataFrame, *, x: str = "step", against: str = "first") -> Figure:
    """Draw every measure of drift, a panel each.

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
    measures, by_step = drift_measures(rows), x == "step"
    plot: Callable[..., Axes] = plot_drift_over_steps if by_step else plot_drift_over_layers
    # Step 0 has no drift by definition.
    shown = rows if by_step else rows[rows["step"] != 0]
    figure, axes = _measure_panels(shown, measures, plot)
    names = layer_order(rows["layer"]) if by_step else [str(step) for step in step_order(shown["step"])]
    key = ("hidden layer", LAYER_COLOURS) if by_step else ("fine-tuning step", STEP_COLOURS)
    add_colour_key(axes, names, *key)
    if floors := [column for column in FLOORS if column in rows and rows[column].notna().any()]:
        patches = [Patch(linewidth=0, label=f"floor: {FLOORS[column]}", **band_style(column)) for column in floors]
        figure.legend(handles=patches, loc="outside lower center", ncols=2)
    figure.suptitle(heading(rows, f"Drift from {_BEFORE[against]}" if by_step else "Drift along the layers"))
    return figure


@styled()
def draw_drift_groups(table: pd.DataFrame) -> Figure:
    """Draw the drift of each group of clips at the last step, a panel per measure.

    Args:
        table: The rows of the drift of groups of one way of grouping.

    Raises:
        AnalysisError: If the table is empty, holds several ways of grouping, or only step 0.
    """
    columns = ["step", "layer", "measure", "value", "group_by", "group"]
    rows = of_reference(need(table, columns, "drift_groups"), "first")
    if rows["group_by"].nunique() > 1:
        kinds = ", ".join(map(str, rows["group_by"].unique()))
        raise AnalysisError("A figure shows groups of one kind", found=kinds, fix="pick the rows of one group_by")
    _require_later(rows)
    step = step_order(rows["step"])[-1]
    rows = rows[rows["step"] == step].assign(group=rows["group"].astype(str))
    known = drift_measures(rows)
    measures = [measure for measure in _GROUP_MEASURES if measure in known] or known
    names = sorted(rows["group"].unique())
    figure, axes = _measure_panels(rows, measures, plot_drift_of_groups, names=names)
    handles, labels = axes[0].get_legend_handles_labels()
    if len(labels) > len(names):  # too many groups to be told apart: grey lines and their median
        handles, labels = handles[-2:], [f"each of {len(names)}", labels[-1]]
    group_by, fitting = str(rows["group_by"].iloc[0]), legend_columns(labels, PAGE_WIDTH_IN, 5)
    figure.legend(handles, labels, title=group_by, loc="outside lower center", ncols=fitting)
    figure.suptitle(heading(rows.drop(columns="n", errors="ignore"), f"Drift by {group_by} at step {step}"))
    return figure


@styled()
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
    figure, axes = new_panels(PAGE_WIDTH_IN, 3.0, len(steps), sharey=True)
    for ax, step in zip(axes, steps, strict=True):
        plot_shift_parts(rows[rows["step"] == step], ax)
        ax.set_title(f"step {step}")
    axes[0].set_ylabel("squared distance\n(1 = total variance before)")
    legend_below(figure, axes[0])
    figure.suptitle(heading(rows, "Mean against covariance"))
    return figure


@styled()
def draw_weight_drift(table: pd.DataFrame) -> Figure:
    """Draw how far the weights of each block moved since the first and the previous checkpoint, and how straight.

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
    shown = [(title, part) for title, part in parts if not part.empty]
    n_parts = len(part_order(rows["layer"].unique().tolist()))
    figure, axes = new_panels(PAGE_WIDTH_IN, max(3.0, 1.7 + 0.2 * n_parts), len(shown), sharey=True)
    for ax, (title, part) in zip(axes, shown, strict=True):
        if part["measure"].iloc[0] == "update_cosine":
            limits, colours, label = (-1.0, 1.0), CHANGE_COLOURS, "cosine of two updates"
        else:
            finite = part["value"][np.isfinite(part["value"])]
            limits, colours, label = (0.0, float(finite.max()) or 1.0), HEAT_COLOURS, "relative change"
        plot_weight_map(part, ax, limits=limits, cmap=colours)
        ax.set_title(title)
        place = dict(location="bottom", fraction=0.05, aspect=25, shrink=0.9)
        bar = add_colour_bar([ax], limits, label, colours=colours, **place)
        bar.locator = MaxNLocator(nbins=4)
        bar.update_ticks()
    axes[0].set_ylabel("block")
    figure.suptitle(heading(rows.drop(columns="n", errors="ignore"), "Drift of the weights"))
    return figure


def _require_later(rows: pd.DataFrame) -> None:
    """Raise an error if the table holds only step 0, which drift is measured against, or no step at all."""
    steps = step_order(rows["step"])
    if steps == [0]:
        raise AnalysisError("The drift table holds only step 0, which is what drift is measured against")
    if steps == [NO_STEP]:
        raise AnalysisError("The drift table names no step, and its figures are drawn over fine-tuning steps")


def _measure_panels(
    rows: pd.DataFrame, measures: list[str], plot: Callable[..., Axes], **options: object
) -> tuple[Figure, list[Axes]]:
    """Return a page with a panel per measure; only the lowest panels name the horizontal axis."""
    n_rows, _ = grid_shape(len(measures), _COLUMNS)
    figure, axes = new_panels(PAGE_WIDTH_IN, max(3.2, 0.9 + _PANEL_HEIGHT_IN * n_rows), len(measures), _COLUMNS)
    for ax, measure in zip(axes, measures, strict=True):
        plot(rows, ax, measure=measure, **options)
    for ax in axes[:-_COLUMNS]:
        ax.set_xlabel("")
    return figure, axes


_DRIFT_STEPS = """
How far each layer is from its own state before fine-tuning; one line per layer, dark at the input and bright at the
output, dashed after the final norm. The dotted line is no change. The vertical scales differ between the panels and
start where the values do. A layer can turn as a whole (low cosine) and keep its geometry (high CKA). Grey is the floor:
what extracting the same weights again changes, in the layer where that is most; the other band is the difference to
another fine-tuning seed. Hollow points are not above the floor of their layer; without a band no floor was measured, or
it is too small to be seen.
"""

_DRIFT_LAYERS = """
The same drift against depth; one line per checkpoint, dark for early and bright for late, with the 95 % interval over
speakers of the last one where there are three speakers. A layer inherits the changes of all layers before it, so a late
layer that differs need not have been changed itself: see the weights. Bands and hollow points: the floor of each layer.
"""

_DRIFT_PREVIOUS = """
How far each layer is from its state at the checkpoint before: where training works at which time. Distances between
neighbouring checkpoints do not add up to the distance from the first, since a layer may turn back; and checkpoints that
lie further apart differ more for that alone.
"""

_DRIFT_PARTS = """
Each layer's squared Frechet distance from its state before fine-tuning, in units of its total variance then: how far
all clips moved alike (the mean), and how much the cloud changed its shape (the covariance). A layer whose bar is all
mean has moved without telling clips apart otherwise. Clips that change places within the cloud leave no trace here: see
CKA and neighbours. The panels share their scale, so early steps may look like nothing.
"""

_DRIFT_GROUPS = """
The drift of the clips of each group at the last checkpoint. The mean and the neighbours are those of all clips, CKA is
within the group. Groups have fewer clips than all of them: lines that cross are noise unless their intervals, which the
table has for groups of three or more speakers, are apart. With more than eight groups each is a grey line.
"""

_WEIGHT_DRIFT = """
Frobenius norm of the change of the weights over that of the weights, for each transformer block and what lies around
the blocks, from the input at the bottom: since the first checkpoint, and since the one before; on the right the cosine
between an update and the one before it (1 goes straight on, 0 takes a new direction, below 0 turns back). All weights
count alike, whatever they do to the output: a small change of a block can move its layer far.
"""

DRIFT_FIGURES: dict[str, FigureSpec] = {
    "drift_steps": FigureSpec(
        "Drift over fine-tuning", "drift", draw_drift, _DRIFT_STEPS, options={"x": "step"}, pooled=True
    ),
    "drift_layers": FigureSpec("Drift along the layers", "drift", draw_drift, _DRIFT_LAYERS, options={"x": "layer"}),
    "drift_corpora": FigureSpec(
        "Drift by corpus", "drift", draw_drift_corpora, CORPORA_CAPTION, apart=("model",), optional=True
    ),
    "drift_previous": FigureSpec(
        "Drift from checkpoint to checkpoint", "drift", draw_drift, _DRIFT_PREVIOUS,
        options={"x": "step", "against": "previous"}, pooled=True,
    ),
    "drift_parts": FigureSpec(
        "Drift of mean and of covariance", "drift", draw_shift_parts, _DRIFT_PARTS, pooled=True, optional=True
    ),
    "drift_groups": FigureSpec(
        "Drift by group of clips", "drift_groups", draw_drift_groups, _DRIFT_GROUPS,
        apart=("corpus", "model", "group_by"), named=("group_by",), pooled=True,
    ),
    "weight_drift": FigureSpec("Drift of the weights", "weight_drift", draw_weight_drift, _WEIGHT_DRIFT),
}  # fmt: skip
