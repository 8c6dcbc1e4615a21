"""Figures about change and material: drift, projections, splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.compose_layers import add_colour_key, heading, new_figure
from ser_probe.report.plots_drift import drift_measures, plot_drift_over_layers, plot_drift_over_steps
from ser_probe.report.plots_training import plot_clips_per_split
from ser_probe.report.plots_umap import add_class_legend, class_names, plot_projection, projection_limits
from ser_probe.report.style import LAYER_COLOURS, PAGE_WIDTH_IN, STEP_COLOURS, styled
from ser_probe.report.tables import layer_order, need, step_order

# Points beyond this number would make an SVG of tens of megabytes.
_MOST_VECTOR_POINTS = 15_000


def draw_drift(table: pd.DataFrame, *, x: str = "step") -> Figure:
    """Draw every measure of drift in a panel of its own.

    Args:
        table: The drift table.
        x: `step` (a line per layer) or `layer` (a line per step).

    Raises:
        AnalysisError: If the table is empty or holds only step 0, or `x` is neither.
    """
    if x not in ("step", "layer"):
        raise AnalysisError("Drift is drawn against one of two things", expected="x = 'step' or 'layer'", found=x)
    with styled():
        measures = drift_measures(need(table, ["step", "layer", "measure", "value"], "drift"))
        if step_order(table["step"]) == [0]:
            raise AnalysisError("The drift table holds only step 0, which is what drift is measured against")
        figure = new_figure(PAGE_WIDTH_IN, 3.2)
        axes = list(figure.subplots(1, len(measures), squeeze=False)[0])
        plot = plot_drift_over_steps if x == "step" else plot_drift_over_layers
        for ax, measure in zip(axes, measures, strict=True):
            plot(table, ax, measure=measure)
        by_step = x == "step"
        names = layer_order(table["layer"]) if by_step else [str(step) for step in step_order(table["step"])]
        key = ("hidden layer", LAYER_COLOURS) if by_step else ("fine-tuning step", STEP_COLOURS)
        add_colour_key(axes, names, *key)
        title = "Drift from the state before fine-tuning" if by_step else "Drift along the layers"
        figure.suptitle(heading(table, title))
        return figure


def draw_umap(
    table: pd.DataFrame,
    *,
    colours: Sequence[str] = ("label", "speaker", "gender"),
    most_checkpoints: int = 4,
) -> Figure:
    """Draw one layer's projections: a column per checkpoint, a row per colouring.

    Args:
        table: The rows of one layer of the projection table.
        colours: The columns that colour; those the table lacks are left out.
        most_checkpoints: Of more checkpoints than this, so many are drawn, evenly spaced, with the first and the last.

    Raises:
        AnalysisError: If the table is empty, or holds several layers.
    """
    need(table, ["x", "y", "step", "layer"], "umap")
    if table["layer"].nunique() > 1:
        raise AnalysisError(
            "A projection figure shows one layer",
            found="layers " + ", ".join(layer_order(table["layer"])),
            fix="pick the rows of one layer",
        )
    present = [colour for colour in colours if colour in table and table[colour].notna().any()]
    if not present:
        raise AnalysisError("The projection table has no column to colour by", expected=", ".join(colours))
    steps = _spaced(step_order(table["step"]), most_checkpoints)
    shown = table[table["step"].isin(steps)]
    limits = projection_limits(shown)
    with styled():
        figure = new_figure(PAGE_WIDTH_IN, (PAGE_WIDTH_IN - 1.6) / max(3, len(steps)) * len(present) + 0.9)
        grid = figure.subplots(len(present), len(steps), squeeze=False)
        for axes, colour in zip(grid, present, strict=True):
            names = class_names(table, colour)
            for ax, step in zip(axes, steps, strict=True):
                part = shown[shown["step"] == step]
                many = len(shown) * len(present) > _MOST_VECTOR_POINTS
                plot_projection(part, ax, colour=colour, names=names, limits=limits, rasterized=many)
                ax.set_box_aspect(1)
                if ax.get_subplotspec().is_first_row():  # type: ignore[union-attr]
                    ax.set_title(_projection_title(part, step), fontsize=9)
            axes[0].set_ylabel(f"by {colour}")
            add_class_legend(axes[-1], names, colour)
        figure.supxlabel("UMAP 1 across, UMAP 2 up (no unit; same limits in all panels)", fontsize=9)
        total = table["step"].nunique()
        some = "" if len(steps) == total else f" · {len(steps)} of {total} checkpoints"
        clips = f" · n = {shown['clip_id'].nunique()} clips" if "clip_id" in shown else ""
        figure.suptitle(heading(table, f"UMAP of layer {table['layer'].iloc[0]}") + clips + some)
        return figure


def _projection_title(part: pd.DataFrame, step: int) -> str:
    title = f"step {step}"
    if "trustworthiness" in part and part["trustworthiness"].notna().any():
        title += f"\ntrustworthiness {part['trustworthiness'].mean():.2f}"
    return title


def _spaced(steps: list[int], most: int) -> list[int]:
    """Return at most so many steps, evenly spaced, with the first and the last."""
    if len(steps) <= most:
        return steps
    return [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))]


def draw_splits(table: pd.DataFrame, *, by: Sequence[str] = ("label", "gender")) -> Figure:
    """Draw how many clips of each class every split holds.

    Args:
        table: The audit of the splits.
        by: The classes, a panel each; those the audit lacks are left out.

    Raises:
        AnalysisError: If the audit counts none of them.
    """
    need(table, ["split", "measure", "level", "value"], "audit")
    present = [name for name in by if f"clips_by_{name}" in set(table["measure"])]
    if not present:
        raise AnalysisError("The audit counts no class that can be drawn", expected=", ".join(by))
    with styled():
        figure = new_figure(PAGE_WIDTH_IN, 2.8)
        for ax, name in zip(figure.subplots(1, len(present), squeeze=False)[0], present, strict=True):
            plot_clips_per_split(table, ax, by=name)
            # Below the panel: bars of any length stay free of the legend.
            # Named one by one, since a legend leaves out labels that begin with an underscore.
            names = [str(bars.get_label()) for bars in ax.containers]
            ax.legend(
                ax.containers, names, title=name, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3,
                columnspacing=1,
            )  # fmt: skip
        figure.suptitle("Clips per split")
        return figure
