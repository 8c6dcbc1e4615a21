"""Two-dimensional projections of clips, coloured by what is known of them. Table -> Axes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ser_probe.report.style import LEGEND_CHARACTERS, class_styles, short
from ser_probe.report.tables import need

_MARGIN = 0.04
# More names than this are not told apart by anyone; they are drawn, but not listed.
MOST_NAMED_CLASSES = 16


def plot_projection(
    table: pd.DataFrame,
    ax: Axes,
    *,
    colour: str,
    names: Sequence[str] | None = None,
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
    rasterized: bool = False,
) -> Axes:
    """Draw clips as points, one colour and marker per class.

    Distances between groups and sizes of groups in a UMAP mean little; what is near what means something.

    Args:
        table: Columns `x`, `y` and the colouring column, one row a clip.
        ax: Where to draw.
        colour: The column that colours: label, speaker, gender.
        names: All classes, in the legend's order, so that several panels agree on the colours.
        limits: The ends of the x and of the y axis.
        rasterized: Store the points of an SVG as an image, which keeps the file small.
    """
    need(table, ["x", "y", colour], "umap")
    classes = class_names(table, colour) if names is None else list(names)
    size = 9.0 if len(table) <= 800 else 4.0
    # The rarer classes are drawn last, so that a big one does not hide them.
    order = table[colour].astype(str).value_counts()
    for name, (fill, marker) in class_styles(classes).items():
        points = table[table[colour].astype(str) == name]
        ax.scatter(
            points["x"], points["y"], s=size, c=fill, marker=marker, alpha=0.75, linewidths=0,
            zorder=3 - order.get(name, 0) / (len(table) + 1), rasterized=rasterized, label=short(name),
        )  # fmt: skip
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color="#bdbdbd", linewidth=0.8)
    if limits:
        ax.set(xlim=limits[0], ylim=limits[1])
    return ax


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


def add_class_legend(ax: Axes, names: Sequence[str], title: str) -> None:
    """List the classes to the right of a panel, or say how many there are where they are too many to list."""
    if len(names) > MOST_NAMED_CLASSES:
        ax.legend([], [], title=f"{title}:\n{len(names)} classes,\ncolours repeat", loc="center left",
                  bbox_to_anchor=(1.02, 0.5), alignment="left")  # fmt: skip
        return
    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=fill, markersize=6, markeredgewidth=0)
        for fill, marker in class_styles(names).values()
    ]
    shown = [short(name, LEGEND_CHARACTERS) for name in names]
    ax.legend(handles, shown, title=title, loc="center left", bbox_to_anchor=(1.02, 0.5), alignment="left",
              handletextpad=0.2, borderaxespad=0, ncols=1 if len(names) <= 8 else 2,
              columnspacing=0.8, labelspacing=0.3)  # fmt: skip
