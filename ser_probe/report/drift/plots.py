"""How far layers and weights move away from an earlier state. Table -> Axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from ser_probe.report.canvas import name_places, thin_labels
from ser_probe.report.measures import SIGNED, UNCHANGED, measure_name
from ser_probe.report.style import (
    CLASS_COLOURS,
    FLOOR_COLOURS,
    GREY,
    HEAT_COLOURS,
    LAYER_COLOURS,
    PALE,
    STEP_COLOURS,
    line_colours,
    short,
    text_colour,
)
from ser_probe.report.tables import layer_order, need, pick, step_name, step_order

FLOORS = {"floor_repeat": "extracted again", "floor_seed": "another seed"}
"""Columns of what drift has to exceed, and what they are called."""
SHIFTS = {"mean_shift": "shift of the mean", "covariance_shift": "change of the covariance"}

# With more columns than this, numbers do not fit side by side in a third of a page.
_MOST_NUMBERED_COLUMNS = 4
_PARTS_FIRST = ("front_end", "feature_projection", "positional_conv", "encoder_norm")


def plot_drift_over_steps(table: pd.DataFrame, ax: Axes, *, measure: str) -> Axes:
    """Draw a measure of drift against the fine-tuning step, a line per layer, dark at the input.

    The vertical scale is that of the values: a steep line may be a small change. The band is the floor of the layer
    that has the highest; points that are not above the floor of their own layer are hollow.

    Args:
        table: Columns `step`, `layer`, `measure`, `value`; several rows of a point are averaged. With `floor_repeat`,
            `floor_seed` and `above_floor` the floor is drawn.
        ax: Where to draw.
        measure: A measure of the table.
    """
    rows = _rows(table, measure)
    layers = layer_order(rows["layer"])
    for layer, colour in zip(layers, line_colours(len(layers), LAYER_COLOURS), strict=True):
        line = rows[rows["layer"] == layer].groupby("step")["value"].mean()
        # Dashed, since the layer after the final norm is on another scale than the residual stream.
        style = "--" if layer == "final" else "-"
        ax.plot(line.index, line, color=colour, linestyle=style, marker="o", markersize=3, label=layer)
    for layer, colour in zip(layers, line_colours(len(layers), LAYER_COLOURS), strict=True):
        below = _not_above(rows[rows["layer"] == layer])
        if not below.empty:
            ax.plot(below["step"], below["value"], **_hollow(colour))
    for column in _floors(rows):
        edge = float(rows[column].max())
        ax.axhspan(*_band(measure, np.array([edge, edge]))[:, 0], zorder=0, linewidth=0, **band_style(column))
    ax.set_xlabel("fine-tuning step")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, steps=[1, 2, 5, 10]))
    return _finish(ax, measure)


def plot_drift_over_layers(table: pd.DataFrame, ax: Axes, *, measure: str) -> Axes:
    """Draw a measure of drift against the layer, a line per checkpoint, dark for early ones.

    Bands are the floors of each layer, that of seeds at the last step that has one; points that are not above the floor
    are hollow. The 95 % interval over speakers is shaded for the last checkpoint.

    Args:
        table: Columns `step`, `layer`, `measure`, `value`; several rows of a point are averaged. With `floor_repeat`,
            `floor_seed`, `above_floor`, `ci_low` and `ci_high` floor and interval are drawn.
        ax: Where to draw.
        measure: A measure of the table.
    """
    rows = _rows(table, measure)
    layers, steps = layer_order(rows["layer"]), step_order(rows["step"])
    position = {layer: i for i, layer in enumerate(layers)}
    for step, colour in zip(steps, line_colours(len(steps), STEP_COLOURS), strict=True):
        of_step = rows[rows["step"] == step]
        means = of_step.groupby("layer")["value"].mean()
        line = means.reindex([layer for layer in layers if layer in means.index])
        x = [position[layer] for layer in line.index]
        ax.plot(x, line, color=colour, marker="o", markersize=3, label=step_name(step))
        below = _not_above(of_step)
        if not below.empty:
            ax.plot([position[layer] for layer in below["layer"]], below["value"], **_hollow(colour))
        if step == steps[-1] and "ci_low" in rows:
            ends = of_step.groupby("layer")[["ci_low", "ci_high"]].mean().reindex(layers)
            ax.fill_between(range(len(layers)), ends["ci_low"], ends["ci_high"], color=colour, alpha=0.25, linewidth=0)
    for column in _floors(rows):
        known = rows[rows[column].notna()]
        edges = known[known["step"] == known["step"].max()].groupby("layer")[column].mean().reindex(layers)
        low, high = _band(measure, edges.to_numpy(float))
        ax.fill_between(range(len(layers)), low, high, zorder=0, linewidth=0, label=f"_{column}", **band_style(column))
    _name_layers(ax, layers)
    return _finish(ax, measure)


def plot_drift_of_groups(table: pd.DataFrame, ax: Axes, *, measure: str, names: Sequence[str]) -> Axes:
    """Draw a measure of drift at one step against the layer, a line per group of clips.

    Groups have fewer clips than all of them, so lines that cross may be noise.

    Args:
        table: Columns `layer`, `group`, `measure`, `value`, of one step and one way of grouping.
        ax: Where to draw.
        measure: A measure of the table.
        names: The groups, in the order of their colours; with more than there are colours all lines are grey.
    """
    rows = _rows(table, measure)
    layers = layer_order(rows["layer"])
    few = len(names) <= len(CLASS_COLOURS)
    look: dict[str, Any] = dict(linewidth=1.3, marker="o") if few else dict(linewidth=0.7, alpha=0.7, marker="")
    for place, name in enumerate(names):
        line = rows[rows["group"] == name].groupby("layer")["value"].mean().reindex(layers)
        colour = CLASS_COLOURS[place] if few else GREY
        # A name that begins with an underscore would be left out of the legend.
        ax.plot(range(len(layers)), line, color=colour, markersize=2.5, label=f" {short(name, 18)}", **look)
    if not few:
        middle = rows.groupby("layer")["value"].median().reindex(layers)
        ax.plot(range(len(layers)), middle, color="black", linewidth=1.8, label=" median group")
    _name_layers(ax, layers)
    return _finish(ax, measure)


def plot_shift_parts(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw for each layer how far its mean has moved and how far its covariance has changed, as stacked bars.

    Both parts are in units of the total variance before, so their sum is the squared Frechet distance. What clips did
    beyond both, changing places within the cloud, is not in it.

    Args:
        table: Columns `layer`, `measure`, `value`, of one step.
        ax: Where to draw.
    """
    need(table, ["layer", "measure", "value"], "drift")
    layers = layer_order(table["layer"])
    base = np.zeros(len(layers))
    for (measure, name), colour in zip(SHIFTS.items(), (CLASS_COLOURS[0], CLASS_COLOURS[5]), strict=True):
        heights = pick(table, "drift", measure=measure).groupby("layer")["value"].mean().reindex(layers).fillna(0)
        ax.bar(range(len(layers)), heights, bottom=base, width=0.75, color=colour, label=name)
        base = base + heights.to_numpy()
    _name_layers(ax, layers)
    return ax


def plot_weight_map(table: pd.DataFrame, ax: Axes, *, limits: tuple[float, float], cmap: str = HEAT_COLOURS) -> Axes:
    """Draw a value per part of the model (rows, from the input at the bottom) and checkpoint (columns, by step).

    Args:
        table: Columns `layer`, `step`, `value`; several rows of a cell are averaged.
        ax: Where to draw.
        limits: Values at the ends of the colour map.
        cmap: The colour map.
    """
    need(table, ["layer", "step", "value"], "weight_drift")
    grid = table.pivot_table(index="layer", columns="step", values="value", aggfunc="mean", dropna=False)
    grid = grid.reindex(index=part_order(grid.index), columns=step_order(table["step"]))
    cells = np.ma.masked_invalid(grid.to_numpy(float))
    ax.grid(False)
    ax.set_facecolor(PALE)
    norm = Normalize(*limits)
    mesh = ax.pcolormesh(cells, cmap=cmap, norm=norm, edgecolors="white", linewidth=0.3)
    ax.set_xticks(np.arange(cells.shape[1]) + 0.5, [str(step) for step in grid.columns])
    ax.set_yticks(np.arange(cells.shape[0]) + 0.5, [name.replace("_", " ") for name in grid.index])
    thin_labels(ax.xaxis, 6)
    thin_labels(ax.yaxis, 30)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if cells.shape[1] <= _MOST_NUMBERED_COLUMNS:
        for (row, column), value in np.ma.ndenumerate(cells):
            colour = text_colour(mesh.get_cmap(), float(norm(value)))
            ax.text(column + 0.5, row + 0.5, f"{value:z.2g}", ha="center", va="center", color=colour, fontsize=9)
    ax.set_xlabel("fine-tuning step")
    return ax


def band_style(floor: str) -> dict[str, Any]:
    """Return how the band of a floor is drawn."""
    colour, opacity = FLOOR_COLOURS[floor]
    return {"color": colour, "alpha": opacity}


def part_order(names: pd.Index | Sequence[str]) -> list[str]:
    """Return parts of a model from the input on: what lies around the blocks, and the blocks."""
    parts = layer_order(names)
    return [name for name in _PARTS_FIRST if name in parts] + [name for name in parts if name not in _PARTS_FIRST]


def drift_measures(table: pd.DataFrame) -> list[str]:
    """Return the measures of drift in the table, the known ones first and in their usual order."""
    need(table, ["measure"], "drift")
    measures = list(table["measure"].drop_duplicates())
    known = [measure for measure in UNCHANGED if measure in measures]
    return known + [measure for measure in measures if measure not in UNCHANGED]


def of_reference(table: pd.DataFrame, against: str) -> pd.DataFrame:
    """Return the rows that are measured from the `first` checkpoint, or from the `previous` one.

    Raises:
        AnalysisError: If there is none.
    """
    return pick(table, "drift", against=against) if "against" in table or against != "first" else table


def _rows(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    need(table, ["step", "layer", "measure", "value"], "drift")
    rows = pick(table, "drift", measure=measure)
    return rows.assign(layer=rows["layer"].astype(str), step=rows["step"].astype(int))


def _floors(rows: pd.DataFrame) -> list[str]:
    return [column for column in reversed(FLOORS) if column in rows and rows[column].notna().any()]


def _band(measure: str, edges: np.ndarray) -> np.ndarray:
    """Return the lower and the upper end of what counts as no drift, array of shape (2, L)."""
    unchanged = UNCHANGED[measure]
    low = unchanged - edges if unchanged == 1 or measure in SIGNED else np.full(edges.shape, unchanged)
    high = unchanged + edges if unchanged == 0 else np.full(edges.shape, unchanged)
    return np.stack([low, high])


def _not_above(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the points that are not above their floor; none where no floor was measured."""
    if "above_floor" not in rows:
        return rows.head(0)
    known = rows[rows["above_floor"].notna()]
    return known[~known["above_floor"].astype(bool)]


def _hollow(colour: str) -> dict[str, Any]:
    return dict(linestyle="", label="_hollow", marker="o", markersize=3, markerfacecolor="white",
                markeredgecolor=colour, zorder=3)  # fmt: skip


def _name_layers(ax: Axes, layers: Sequence[str]) -> None:
    name_places(ax, layers, 5)  # a panel may be a fourth of a page wide
    ax.set_xlabel("hidden layer")


def _finish(ax: Axes, measure: str) -> Axes:
    """Name the vertical axis and draw the line on which nothing has changed."""
    if measure in UNCHANGED:
        ax.axhline(UNCHANGED[measure], color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        ax.set_ylabel(f"{measure_name(measure)}\n({UNCHANGED[measure]:g} = unchanged)")
    else:
        ax.set_ylabel(measure_name(measure))
    return ax
