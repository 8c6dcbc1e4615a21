"""Measures against depth, a line per checkpoint; what the variance is about; the spectrum. Table -> Axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from ser_probe.report.canvas import name_places
from ser_probe.report.layer_lines import plot_lines_by_layer
from ser_probe.report.measures import measure_name
from ser_probe.report.style import (
    FACTOR_COLOURS,
    INTERACTION_COLOUR,
    JOINT_COLOUR,
    LAYER_COLOURS,
    SPARE_FACTOR_COLOURS,
    STEP_COLOURS,
    line_colours,
    short,
)
from ser_probe.report.tables import first_and_last, need, pick

RESIDUAL, JOINT = "residual", "joint"
_SMALLEST_JOINT_SHARE = 0.005  # below it, the joint share is that of a balanced design


def plot_geometry(
    table: pd.DataFrame, ax: Axes, *, measure: str, layers: list[str], steps: list[int], factor: str = ""
) -> Axes:
    """Draw one measure of geometry per layer, a line per checkpoint.

    A measure by factor has its null as dotted lines in the colours of the first and the last checkpoint; the ceiling of
    a measure of dimension, what isotropic clips have, is named above the panel, since it is far off.

    Args:
        table: The geometry table.
        ax: Where to draw.
        measure: Which measure.
        layers: All layers in order.
        steps: All steps.
        factor: Which factor; empty for a measure of shape.
    """
    rows = pick(table, "geometry", measure=measure, factor=factor)
    plot_lines_by_layer(rows, ax, layers=layers, steps=steps, small=True)
    name_places(ax, layers, 5, margin=0.5)
    null = rows["baseline"].mean()
    ax.set_ylabel(measure_name(measure), fontsize=9)
    if factor:
        ax.set_title(f"by {short(factor, 14)}", fontsize=9)
        _plot_null(rows, ax, layers, steps)
    elif np.isfinite(null) and abs(null) >= 1:
        ax.set_title(f"isotropic clips: {null:.{0 if null >= 100 else 1}f}", fontsize=9)
    return ax


def _plot_null(rows: pd.DataFrame, ax: Axes, layers: list[str], steps: list[int]) -> None:
    """Draw what permuted classes give, of the first and the last step."""
    colours = dict(zip(steps, line_colours(len(steps), STEP_COLOURS), strict=True))
    for step in first_and_last(steps):
        means = rows[rows["step"] == step].groupby("layer")["baseline"].mean().reindex(layers)
        ax.plot(range(len(layers)), means, color=colours[step], linewidth=1.3, linestyle=(0, (1, 1.4)), zorder=2.5)


def plot_variance_shares(table: pd.DataFrame, ax: Axes, *, layers: list[str], step: int) -> Axes:
    """Draw the unique shares of each factor as stacked bars per layer, the noise left out: what is above the bars.

    Shares below 0, which mean none, are drawn as none, so that bars may end a little above what the table adds up to.

    Args:
        table: The geometry table.
        ax: Where to draw.
        layers: All layers in order.
        step: Which checkpoint.
    """
    rows = pick(table, "geometry", measure="unique_share", step=step)
    base = np.zeros(len(layers))
    for factor, colour in factor_colours(table).items():
        shares = rows[rows["factor"] == factor].groupby("layer")["value"].mean()
        heights = np.maximum(shares.reindex(layers).to_numpy(dtype=float), 0)
        hatch = "////" if ":" in factor else None
        ax.bar(
            range(len(layers)), heights, bottom=base, width=0.85, color=colour, label=factor, hatch=hatch,
            edgecolor="white", linewidth=0.3,
        )  # fmt: skip
        base = base + np.nan_to_num(heights)
    name_places(ax, layers, 9, margin=0.6)
    ax.grid(False, axis="x")
    return ax


def factor_colours(table: pd.DataFrame) -> dict[str, str]:
    """Return the colour of each factor that has a unique share, in the order of the bars, the residual left out."""
    rows = pick(table, "geometry", measure="unique_share")
    names = list(rows["factor"].drop_duplicates())
    factors = [name for name in names if name not in (RESIDUAL, JOINT) and ":" not in name]
    colours = {name: colour for name, colour in FACTOR_COLOURS.items() if name in factors}
    for i, name in enumerate(name for name in factors if name not in FACTOR_COLOURS):
        colours[name] = SPARE_FACTOR_COLOURS[i % len(SPARE_FACTOR_COLOURS)]
    colours |= {name: INTERACTION_COLOUR for name in names if ":" in name}
    joint = rows.loc[rows["factor"] == JOINT, "value"].max()
    return colours | ({JOINT: JOINT_COLOUR} if joint > _SMALLEST_JOINT_SHARE else {})


def plot_spectrum(table: pd.DataFrame, ax: Axes, *, layers: list[str], step: int) -> Axes:
    """Draw each component's share of the variance, both axes logarithmic, a line per layer, dark at the input.

    Args:
        table: The table of spectra.
        ax: Where to draw.
        layers: All layers in order.
        step: Which checkpoint.
    """
    rows = pick(need(table, ["step", "layer", "component", "value"], "geometry_spectrum"), "spectrum", step=step)
    for layer, colour in zip(layers, line_colours(len(layers), LAYER_COLOURS), strict=True):
        line = rows[rows["layer"] == layer].groupby("component")["value"].mean()
        line = line[line > 0]
        ax.plot(line.index, line, color=colour, linewidth=1.2, linestyle="--" if layer == "final" else "-", label=layer)
    ax.set(xscale="log", yscale="log")
    # Plain numbers: the style does not draw powers of ten.
    ax.xaxis.set_major_locator(FixedLocator([1, 3, 10, 30, 100, 300, 1000]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.minorticks_off()
    return ax
