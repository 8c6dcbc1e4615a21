"""Two-dimensional projections of clips, coloured by what is known of them. Table -> Axes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.lines import Line2D

from ser_probe.report.style import LEGEND_CHARACTERS, MID_GREY, NUMBER_COLOURS, class_styles, line_colours, short
from ser_probe.report.tables import need

_MARGIN = 0.04
# More classes than this cannot be told apart: they are drawn, but not listed.
MOST_NAMED_CLASSES = 16
# A column of numbers with no more different values than this is coloured as classes: a rating from 1 to 5.
MOST_CLASSES_OF_NUMBERS = 10


def plot_projection(
    table: pd.DataFrame,
    ax: Axes,
    *,
    colour: str,
    names: Sequence[str] | None = None,
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
    scale: Normalize | None = None,
    rasterized: bool = False,
) -> Axes:
    """Draw clips as points, one colour and marker per class, or along a scale where the column holds numbers.

    Distances between groups and sizes of groups in a UMAP mean little; what is near what means something.

    Args:
        table: Columns `x`, `y` and the colouring column, one row a clip.
        ax: Where to draw.
        colour: The column that colours: label, speaker, gender.
        names: All classes, in the legend's order, so that several panels agree on the colours.
        limits: The ends of the x and of the y axis.
        scale: The ends of the colours of numbers, so that several panels agree.
        rasterized: Store the points of an SVG as an image, which keeps the file small.
    """
    need(table, ["x", "y", colour], "umap")
    size = 9.0 if len(table) <= 800 else 4.0
    if is_scale(table[colour]):
        _draw_numbers(table, ax, colour, scale or number_scale(table[colour]), size, rasterized)
    else:
        classes = class_names(table, colour) if names is None else list(names)
        _draw_classes(table, ax, colour, classes, size, rasterized)
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=MID_GREY, linewidth=0.8)
    if limits:
        ax.set(xlim=limits[0], ylim=limits[1])
    return ax


def is_scale(values: pd.Series) -> bool:
    """Tell whether a column is coloured along a scale: numbers with more than ten different values."""
    return bool(pd.api.types.is_numeric_dtype(values)) and values.nunique() > MOST_CLASSES_OF_NUMBERS


def number_scale(values: pd.Series) -> Normalize:
    """Return the scale from a column's smallest to its largest number."""
    return Normalize(float(values.min()), float(values.max()))


def number_colours() -> LinearSegmentedColormap:
    """Return the colours of numbers, from dark to bright, all readable on white."""
    return LinearSegmentedColormap.from_list("numbers", line_colours(9, NUMBER_COLOURS))


def _draw_classes(
    table: pd.DataFrame, ax: Axes, colour: str, classes: Sequence[str], size: float, rasterized: bool
) -> None:
    _draw_unknown(table[table[colour].isna()], ax, size, rasterized)
    # The rarer classes are drawn last, so that a big one does not hide them.
    order = table[colour].astype(str).value_counts()
    for name, (fill, marker) in class_styles(classes).items():
        points = table[table[colour].astype(str) == name]
        ax.scatter(
            points["x"], points["y"], s=size, c=fill, marker=marker, alpha=0.75, linewidths=0,
            zorder=3 - order.get(name, 0) / (len(table) + 1), rasterized=rasterized, label=short(name),
        )  # fmt: skip


def _draw_numbers(table: pd.DataFrame, ax: Axes, colour: str, scale: Normalize, size: float, rasterized: bool) -> None:
    _draw_unknown(table[table[colour].isna()], ax, size, rasterized)
    known = table.dropna(subset=[colour])
    ax.scatter(
        known["x"], known["y"], s=size, c=known[colour], cmap=number_colours(), norm=scale, alpha=0.75, linewidths=0,
        zorder=3, rasterized=rasterized,
    )  # fmt: skip


def _draw_unknown(points: pd.DataFrame, ax: Axes, size: float, rasterized: bool) -> None:
    if len(points):
        ax.scatter(points["x"], points["y"], s=size, c=MID_GREY, linewidths=0, zorder=1.5, rasterized=rasterized)


def class_names(table: pd.DataFrame, colour: str) -> list[str]:
    """Return the classes of a colouring column, sorted, as text."""
    return sorted(table[colour].dropna().astype(str).unique())


def projection_limits(table: pd.DataFrame) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return axis limits that hold all points of all panels, with a margin."""
    need(table, ["x", "y"], "umap")
    ends = []
    for column in ("x", "y"):
        low, high = float(table[column].min()), float(table[column].max())
        margin = _MARGIN * (high - low or 1.0)
        ends.append((low - margin, high + margin))
    return ends[0], ends[1]


def add_class_legend(ax: Axes, names: Sequence[str], title: str, *, some_unknown: bool = False) -> None:
    """List the classes to the right of a panel, or say how many there are where they are too many to list.

    Args:
        ax: The panel.
        names: The classes, in the order of their colours.
        title: The legend's title.
        some_unknown: Whether clips without a class are drawn too.
    """
    if len(names) > MOST_NAMED_CLASSES:
        ax.legend([], [], title=f"{title}:\n{len(names)} classes,\ncolours repeat", loc="center left",
                  bbox_to_anchor=(1.02, 0.5), alignment="left")  # fmt: skip
        return
    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=fill, markersize=6, markeredgewidth=0)
        for fill, marker in class_styles(names).values()
    ]
    shown = [short(name, LEGEND_CHARACTERS) for name in names]
    if some_unknown:
        handles.append(Line2D([], [], linestyle="none", marker="o", color=MID_GREY, markersize=6, markeredgewidth=0))
        shown.append("(none)")
    ax.legend(handles, shown, title=title, loc="center left", bbox_to_anchor=(1.02, 0.5), alignment="left",
              handletextpad=0.2, borderaxespad=0, ncols=1 if len(names) <= 8 else 2,
              columnspacing=0.8, labelspacing=0.3)  # fmt: skip


def add_number_key(ax: Axes, scale: Normalize, title: str) -> None:
    """Draw the scale of a column's numbers to the right of a panel."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    # Beside the panel like a legend, not beside the legends of other rows.
    bar = figure.colorbar(
        ScalarMappable(scale, number_colours()), cax=ax.inset_axes((1.08, 0.05, 0.07, 0.9)), label=title
    )
    bar.outline.set_visible(False)  # type: ignore[operator]
