"""Measures against depth, a line per checkpoint; what the variance is about; the spectrum. Table -> Axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from ser_probe.report.style import (
    CLASS_COLOURS,
    LAYER_COLOURS,
    STEP_COLOURS,
    line_colours,
    measure_name,
    short,
    spaced,
)
from ser_probe.report.tables import FUNCTIONALS, layer_order, need, pick, step_name, step_order

RESIDUAL, JOINT = "residual", "joint"
_FACTOR_COLOURS = {
    "label": CLASS_COLOURS[1],
    "speaker": CLASS_COLOURS[0],
    "gender": CLASS_COLOURS[4],
    "sentence": CLASS_COLOURS[2],
}
_SPARE_COLOURS = (CLASS_COLOURS[3], CLASS_COLOURS[5], CLASS_COLOURS[6])
# An interaction, what is shared, and the rest: colours that no factor has.
_SEEN = 0.005  # of a bar's height; a joint share below it is that of a balanced design
_INTERACTION_COLOUR, _JOINT_COLOUR = "#8a8a8a", "#b9b9b9"


def plot_lines_by_layer(
    rows: pd.DataFrame,
    ax: Axes,
    *,
    layers: list[str],
    steps: list[int],
    intervals: bool = True,
) -> Axes:
    """Draw `value` against the layer, a line per step, dark for early and bright for late.

    Bands on the first and the last step are the 95 % intervals of their own values. Both are of the same speakers, so
    a change can be clear where the bands touch: the table's interval of the change says so.

    Args:
        rows: Columns `step`, `layer`, `value`, `ci_low`, `ci_high`; several rows of a point are averaged.
        ax: Where to draw.
        layers: All layers in order, the same for panels side by side.
        steps: All steps.
        intervals: Whether to draw the bands.
    """
    position = {layer: i for i, layer in enumerate(layers)}
    columns = [name for name in ("value", "ci_low", "ci_high") if name in rows]
    for step, colour in zip(steps, line_colours(len(steps), STEP_COLOURS), strict=True):
        means = rows[rows["step"] == step].groupby("layer")[columns].mean()
        means = means.reindex([layer for layer in layers if layer in means.index])
        x = [position[layer] for layer in means.index]
        ax.plot(
            x, means["value"], color=colour, marker="o", markersize=2.5, linewidth=1.3, label=step_name(step), zorder=3
        )
        if intervals and step in (steps[0], steps[-1]) and {"ci_low", "ci_high"} <= set(columns):
            ax.fill_between(x, means["ci_low"], means["ci_high"], color=colour, alpha=0.15, linewidth=0, zorder=2)
    shown = spaced(len(layers), 5)
    ax.set_xticks(shown, [layers[i] for i in shown])
    ax.set_xlim(-0.5, len(layers) - 0.5)
    return ax


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
    plot_lines_by_layer(rows, ax, layers=layers, steps=steps)
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
    for step in dict.fromkeys([steps[0], steps[-1]]):
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
        own = rows[rows["factor"] == factor].groupby("layer")["value"].mean()
        heights = np.maximum(own.reindex(layers).to_numpy(dtype=float), 0)
        hatch = "////" if ":" in factor else None
        ax.bar(
            range(len(layers)), heights, bottom=base, width=0.85, color=colour, label=factor, hatch=hatch,
            edgecolor="white", linewidth=0.3,
        )  # fmt: skip
        base = base + np.nan_to_num(heights)
    shown = spaced(len(layers), 9)
    ax.set_xticks(shown, [layers[i] for i in shown])
    ax.set_xlim(-0.6, len(layers) - 0.4)
    ax.grid(False, axis="x")
    return ax


def factor_colours(table: pd.DataFrame) -> dict[str, str]:
    """Return the colour of each factor that has a unique share, in the order of the bars, the residual left out."""
    found = list(pick(table, "geometry", measure="unique_share")["factor"].drop_duplicates())
    factors = [name for name in found if name not in (RESIDUAL, JOINT) and ":" not in name]
    known = [name for name in _FACTOR_COLOURS if name in factors]
    others = [name for name in factors if name not in _FACTOR_COLOURS]
    spare = {name: _SPARE_COLOURS[i % len(_SPARE_COLOURS)] for i, name in enumerate(others)}
    colours = {name: (_FACTOR_COLOURS | spare)[name] for name in [*known, *others]}
    colours |= {name: _INTERACTION_COLOUR for name in found if ":" in name}
    joint = table.loc[(table["measure"] == "unique_share") & (table["factor"] == JOINT), "value"]
    return colours | ({JOINT: _JOINT_COLOUR} if joint.max() > _SEEN else {})


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


def encoder_layers(table: pd.DataFrame) -> list[str]:
    """Return the layers of checkpoints, in order; acoustic features and controls have no step."""
    rows = table[table["step"].notna() & (table["layer"] != FUNCTIONALS)]
    return layer_order(rows["layer"])


def encoder_steps(table: pd.DataFrame) -> list[int]:
    """Return the steps of checkpoints, ascending."""
    return step_order(table.loc[table["layer"] != FUNCTIONALS, "step"])
