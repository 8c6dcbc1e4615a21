"""What the figures of all topics share: panels of a page, titles, the axis of layers, colour keys and legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure

from ser_probe.report.style import HEAT_COLOURS, STEP_COLOURS, line_colours, short
from ser_probe.report.tables import clip_count, step_name

# With more checkpoints than this the legend would be higher than the figure: a colour bar replaces it.
_MOST_LISTED_STEPS = 12
# Wide letters of the legends' font in an inch; a handle and the gap to the next column take as much as 7 letters.
_LETTERS_AN_INCH, _HANDLE_LETTERS = 13.0, 7


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure of this size at print, whose panels and legends make room for each other."""
    return Figure(figsize=(width_in, height_in), layout="constrained")


def new_panels(
    width_in: float, height_in: float, count: int = 1, columns: int | None = None, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many panels of equal size, filled row by row; by default all in one row.

    Args:
        width_in: Of the figure at print, in inches.
        height_in: Likewise.
        count: How many panels.
        columns: How many side by side.
        options: Of `Figure.subplots`, such as `sharey`.
    """
    figure = new_figure(width_in, height_in)
    rows, columns = grid_shape(count, columns or count)
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).ravel())
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def grid_shape(count: int, most_columns: int) -> tuple[int, int]:
    """Return how many rows and columns so many panels take."""
    columns = min(most_columns, count)
    return -(-count // columns), columns


def heading(table: pd.DataFrame, what: str, model: str = "model") -> str:
    """Return a figure's title: what it shows, of which model, over how many clips."""
    models = [short(name) for name in table[model].drop_duplicates()] if model in table else []
    return " · ".join(part for part in (what, ", ".join(models), clip_count(table)) if part)


def spaced(count: int, most: int) -> list[int]:
    """Return at most about `most` positions of 0..count-1, evenly spaced, the last always and none close to it."""
    every = max(1, -(-count // most))
    last = count - 1
    return [i for i in range(count) if i == last or (i % every == 0 and last - i >= every)]


def thin_labels(axis: Axis, most: int) -> None:
    """Hide those of the visible tick labels that would touch their neighbours, keeping the last one."""
    labels = axis.get_ticklabels()
    shown = set(spaced(len(labels), most))
    for i, label in enumerate(labels):
        label.set_visible(i in shown)


def name_places(ax: Axes, names: Sequence[str], most: int, *, margin: float | None = None) -> None:
    """Name at most about so many of the places 0, 1, ... along an axis of layers or levels.

    Args:
        ax: The panel.
        names: Of all places.
        most: About so many names fit. Ticks, unlike the visibility of labels, are shared by panels.
        margin: How far the axis goes beyond the first and the last place; by default as far as what is drawn.
    """
    shown = spaced(len(names), most)
    ax.set_xticks(shown, [names[i] for i in shown])
    if margin is not None:
        ax.set_xlim(-margin, len(names) - 1 + margin)


def name_steps(ax: Axes, steps: Sequence[int]) -> None:
    """Name fine-tuning steps along an axis on which each stands at its number."""
    ax.set_xticks(steps, [step_name(step) for step in steps])
    ax.set_xlabel("fine-tuning step")


def add_colour_key(axes: list[Axes], names: list[str], title: str, colours: str) -> None:
    """Draw a colour bar with one step per line of these panels, named beside it."""
    scale = ScalarMappable(
        BoundaryNorm([*range(len(names) + 1)], len(names)), ListedColormap(line_colours(len(names), colours))
    )
    bar = axes[0].figure.colorbar(scale, ax=axes, label=title, aspect=30, pad=0.02, fraction=0.05)
    bar.outline.set_visible(False)
    bar.minorticks_off()
    shown = spaced(len(names), 13)
    bar.set_ticks([i + 0.5 for i in shown], labels=[names[i] for i in shown])
    bar.ax.tick_params(length=0)


def add_colour_bar(
    axes: list[Axes], limits: tuple[float, float], label: str, *, colours: str = HEAT_COLOURS, **place: Any
) -> Colorbar:
    """Draw one colour bar for all heat maps of a figure, which must share these limits.

    Args:
        axes: The panels.
        limits: Values at the ends of the colour map.
        label: What the values are.
        colours: The colour map.
        place: Of `Figure.colorbar`: where the bar stands and how large it is.
    """
    figure = axes[0].get_figure(root=True)
    bar: Colorbar = figure.colorbar(ScalarMappable(Normalize(*limits), colours), ax=axes, label=label, **place)  # type: ignore[union-attr]
    bar.outline.set_visible(False)  # type: ignore[operator]
    return bar


def add_step_legend(ax: Axes, steps: list[int]) -> None:
    """List the checkpoints and the other lines beside a panel; many checkpoints become a colour bar."""
    handles, labels = ax.get_legend_handles_labels()
    numbers = {step_name(step) for step in steps}
    lines = [(handle, label) for handle, label in zip(handles, labels, strict=True) if label in numbers]
    others = [(handle, label) for handle, label in zip(handles, labels, strict=True) if label not in numbers]
    figure = ax.get_figure(root=True)
    assert figure is not None
    if len(steps) > _MOST_LISTED_STEPS:
        add_colour_key([ax], [step_name(step) for step in steps], "fine-tuning step", STEP_COLOURS)
        lines = []
    if lines:
        first = ax.legend(*zip(*lines, strict=True), title="fine-tuning step", loc="upper left",
                          bbox_to_anchor=(1.01, 1.0), alignment="left")  # fmt: skip
        if others:
            ax.add_artist(first)  # the next legend takes its place
    if others and lines:
        ax.legend(*zip(*others, strict=True), loc="lower left", bbox_to_anchor=(1.01, 0.0), alignment="left")
    elif others:
        figure.legend(*zip(*others, strict=True), loc="outside lower center", ncols=len(others))


def legend_below(
    figure: Figure, ax: Axes, most_columns: int | None = None, *, longest: int | None = None, **options: Any
) -> None:
    """List what a panel shows below the whole figure.

    Args:
        figure: The figure.
        ax: The panel.
        most_columns: By default all names stand in one row.
        longest: Longer names are shortened to so many characters.
        options: Of `Figure.legend`, such as `title`.
    """
    handles, names = ax.get_legend_handles_labels()
    shown = names if longest is None else [short(name, longest) for name in names]
    columns = min(most_columns or len(names), len(names))
    figure.legend(handles, shown, loc="outside lower center", ncols=columns, **options)


def legend_columns(names: Sequence[str], width_in: float, most: int) -> int:
    """Return how many columns a legend below a figure of this width has room for, by its longest name."""
    letters = width_in * _LETTERS_AN_INCH
    return max(1, min(len(names), most, int(letters // (max(map(len, names), default=0) + _HANDLE_LETTERS))))
