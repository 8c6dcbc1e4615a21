"""Values along the layers, a line per checkpoint, as geometry, acoustics and probes draw them. Table -> Axes."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from ser_probe.errors import AnalysisError
from ser_probe.report.style import STEP_COLOURS, line_colours
from ser_probe.report.tables import encoder_rows, layer_order, step_name, step_order


def encoder_layers(table: pd.DataFrame) -> list[str]:
    """Return the layers of checkpoints, in order; acoustic features and controls have no step."""
    return layer_order(encoder_rows(table)["layer"])


def encoder_steps(table: pd.DataFrame) -> list[int]:
    """Return the steps of checkpoints, ascending."""
    return step_order(encoder_rows(table)["step"])


def require_steps(table: pd.DataFrame, what: str) -> list[int]:
    """Return the steps of checkpoints, ascending.

    Raises:
        AnalysisError: If there is none.
    """
    if steps := encoder_steps(table):
        return steps
    raise AnalysisError(f"{what} holds no checkpoint", expected="rows with a step")


def plot_lines_by_layer(
    rows: pd.DataFrame, ax: Axes, *, layers: list[str], steps: list[int], small: bool = False
) -> Axes:
    """Draw `value` against the layer, a line per step, dark for early and bright for late.

    Bands on the first and the last step are the intervals of their own values. Both are of the same speakers, so a
    change can be clear where the bands touch: the table's interval of the change says so.

    Args:
        rows: Columns `step`, `layer`, `value`, and `ci_low`, `ci_high` for bands; rows of a point are averaged.
        ax: Where to draw.
        layers: All layers in order, the same for panels side by side.
        steps: All steps; one without rows keeps its colour.
        small: Whether the panel is one of many on a page, with finer lines.
    """
    size, width, opacity = (2.5, 1.3, 0.15) if small else (3.0, 1.6, 0.16)
    position = {layer: i for i, layer in enumerate(layers)}
    columns = [name for name in ("value", "ci_low", "ci_high") if name in rows]
    for step, colour in zip(steps, line_colours(len(steps), STEP_COLOURS), strict=True):
        means = rows[rows["step"] == step].groupby("layer")[columns].mean()
        if means.empty:
            continue
        means = means.reindex([layer for layer in layers if layer in means.index])
        x = [position[layer] for layer in means.index]
        ax.plot(
            x, means["value"], color=colour, marker="o", markersize=size, linewidth=width, label=step_name(step),
            zorder=3,
        )  # fmt: skip
        if step in (steps[0], steps[-1]) and {"ci_low", "ci_high"} <= set(columns):
            ax.fill_between(x, means["ci_low"], means["ci_high"], color=colour, alpha=opacity, linewidth=0, zorder=2)
    return ax


def spread_by_layer(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean per step and layer, with one standard deviation to each side; a single row has deviation 0."""
    spread = rows.groupby(["step", "layer"])["value"].agg(["mean", "std"]).fillna({"std": 0.0}).reset_index()
    low, high = spread["mean"] - spread["std"], spread["mean"] + spread["std"]
    return spread.assign(value=spread["mean"], ci_low=low, ci_high=high)
