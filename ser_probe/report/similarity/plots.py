"""Heat maps of similarity: layers against checkpoints, and layers against layers. Table -> Axes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from ser_probe.report.canvas import thin_labels
from ser_probe.report.style import HEAT_COLOURS, PALE, text_colour
from ser_probe.report.tables import FUNCTIONALS, layer_order, need, pick, step_name, step_order

# With more cells than this, numbers of nine points do not fit on a page.
MOST_NUMBERED_CELLS = 260
MOST_ROW_LABELS, MOST_COLUMN_LABELS = 30, 16
_ROUND_TO = 0.05


def colour_limits(values: pd.Series) -> tuple[float, float]:
    """Return the range of the values rounded outwards to 0.05, so that nearby figures share their scale."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return 0.0, 1.0
    low = math.floor(round(finite.min() / _ROUND_TO, 6)) * _ROUND_TO
    high = math.ceil(round(finite.max() / _ROUND_TO, 6)) * _ROUND_TO
    return (low, high) if high > low else (low, low + _ROUND_TO)


def plot_layer_checkpoint_map(
    table: pd.DataFrame,
    ax: Axes,
    *,
    column: str = "value",
    limits: tuple[float, float] | None = None,
    numbers: bool | None = None,
) -> Axes:
    """Draw a value per layer (rows, from the input at the bottom) and checkpoint (columns, by step).

    The colours span the values, not 0 to 1: small differences look large, and the scale must be read.

    Args:
        table: Columns `layer_a`, `step_a` and the value's column; several rows of a cell are averaged.
        ax: Where to draw.
        column: The column with the value.
        limits: Values at the ends of the colour map; by default the range of the values.
        numbers: Print the value in each cell; by default where there are few enough cells.
    """
    need(table, ["layer_a", "step_a", column], "similarity")
    grid = table.pivot_table(index="layer_a", columns="step_a", values=column, aggfunc="mean", dropna=False)
    grid.index = grid.index.astype(str)
    steps = step_order(table["step_a"])
    grid = grid.reindex(index=layer_order(table["layer_a"]), columns=steps)
    grid.columns = [step_name(step) for step in steps]
    _draw_cells(grid, ax, limits or colour_limits(table[column]), numbers)
    ax.set(xlabel="fine-tuning step", ylabel="hidden layer")
    return ax


def plot_layer_matrix(
    table: pd.DataFrame,
    ax: Axes,
    *,
    limits: tuple[float, float] | None = None,
    numbers: bool | None = None,
) -> Axes:
    """Draw the similarity of each layer `a` (columns) with each layer `b` (rows, from the input at the bottom).

    Neighbouring layers of a residual network are alike by construction: a bright band along the diagonal
    is no finding in itself, its width is.

    Args:
        table: Columns `layer_a`, `layer_b` and `value`; several rows of a cell are averaged.
        ax: Where to draw.
        limits: Values at the ends of the colour map; by default the range of the values.
        numbers: Print the value in each cell; by default where there are few enough cells.
    """
    need(table, ["layer_a", "layer_b", "value"], "similarity")
    grid = table.pivot_table(index="layer_b", columns="layer_a", values="value", aggfunc="mean", dropna=False)
    grid = grid.reindex(index=layer_order(table["layer_b"]), columns=layer_order(table["layer_a"]))
    # A matrix is read by its pattern; numbers help only while it is small.
    _draw_cells(grid, ax, limits or colour_limits(table["value"]), grid.size <= 25 if numbers is None else numbers)
    thin_labels(ax.xaxis, most=6)
    thin_labels(ax.yaxis, most=9)
    ax.set_aspect("equal")
    return ax


def _draw_cells(grid: pd.DataFrame, ax: Axes, limits: tuple[float, float], numbers: bool | None) -> None:
    """Draw a table of values as coloured cells, the first row at the bottom; cells without a value stay pale."""
    values = np.ma.masked_invalid(grid.to_numpy(dtype=float))
    norm = Normalize(*limits)
    rows, columns = values.shape
    ax.grid(False)
    ax.set_facecolor(PALE)
    # White lines between large cells; between many small ones they would cover the picture.
    edges = "white" if values.size <= MOST_NUMBERED_CELLS else "face"
    mesh = ax.pcolormesh(values, cmap=HEAT_COLOURS, norm=norm, edgecolors=edges, linewidth=0.4)
    ax.set_xticks(np.arange(columns) + 0.5, [str(name) for name in grid.columns])
    ax.set_yticks(np.arange(rows) + 0.5, [str(name) for name in grid.index])
    thin_labels(ax.xaxis, MOST_COLUMN_LABELS)
    thin_labels(ax.yaxis, MOST_ROW_LABELS)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if values.size <= MOST_NUMBERED_CELLS if numbers is None else numbers:
        for (row, column), value in np.ma.ndenumerate(values):
            colour = text_colour(mesh.get_cmap(), float(norm(value)))
            ax.text(column + 0.5, row + 0.5, f"{value:z.2f}", ha="center", va="center", color=colour, fontsize=9)


def rows_of_measure(table: pd.DataFrame, measure: str | None = None) -> pd.DataFrame:
    """Return the rows of one measure of similarity, by default of the main one."""
    return pick(table, "similarity", measure=measure or main_measure(table))


def main_measure(table: pd.DataFrame) -> str:
    """Return the measure that figures show by default: debiased CKA, else what the table has, biased CKA last."""
    need(table, ["measure"], "similarity")
    measures = list(table["measure"].drop_duplicates())
    preferred = [name for name in ("cka_debiased", "cka_minibatch") if name in measures]
    return str([*preferred, *(name for name in measures if name != "cka"), "cka"][0])


def with_functional_group(similarity: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons with a group of functionals, such as the layer `functionals:spectral`, with `group`."""
    names = need(similarity, ["layer_b"], "similarity")["layer_b"].astype(str)
    rows = similarity[names.str.startswith(f"{FUNCTIONALS}:")]
    return rows.assign(group=rows["layer_b"].astype(str).str.split(":").str[1])
