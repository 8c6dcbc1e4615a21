"""What a figure of a report is: from which table, how it is drawn, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure


@dataclass(frozen=True)
class FigureSpec:
    """A figure that can be drawn: from which table, how, and one for each value of which columns.

    Args:
        title: What the figure is called in the report.
        table: The name of the table it is drawn from.
        draw: Takes the table and the options below; returns the figure.
        caption: How to read it, and how it misleads.
        apart: Columns whose values are not mixed: each value that occurs gets a figure of its own.
        named: Those of them that name the figure even where there is only one value.
        options: What `draw` is given beside the table.
        pooled: Whether, of corpora and all of them pooled, only the latter is drawn.
        optional: Whether a table often lacks what the figure is about, such as a second model: nothing is said where
            `draw` finds nothing of it.
    """

    title: str
    table: str
    draw: Callable[..., Figure]
    caption: str
    apart: tuple[str, ...] = ("corpus", "model")
    named: tuple[str, ...] = ()
    options: Mapping[str, Any] | None = None
    pooled: bool = False
    optional: bool = False
