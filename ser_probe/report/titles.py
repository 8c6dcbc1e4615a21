"""Titles that fit their figure: long ones are broken between their parts, then between words, and then shortened."""

from __future__ import annotations

import re
from collections.abc import Callable

from matplotlib.figure import Figure
from matplotlib.text import Text

MOST_LINES = 4
"""Lines of a title; a longer title is cut and ends in an ellipsis."""

_MARGIN_PX = 2.0
# Where a title may be broken, the best place first: between its parts, in a list, between words, in a name.
_BREAKS = (r"(?<= · )", r"(?<=, )", r"(?<= )", r"(?<=[/_.-])", r"")

Width = Callable[[str], float]


def fit_titles(figure: Figure) -> bool:
    """Break the titles of a figure and of its panels that are wider than there is room; the figure has been drawn once.

    A title has room up to the figure's edges, one of a panel up to the titles of the panels beside it.

    Returns:
        Whether a title was changed, so that the figure has to be laid out again.
    """
    panels = [ax.title for ax in figure.axes if ax.get_title()]
    changed = [_fit(text, figure, [other for other in panels if other is not text]) for text in panels]
    above_all = figure.get_suptitle()
    titles = [text for text in figure.texts if above_all and text.get_text() == above_all]
    return any([*changed, *(_fit(text, figure, []) for text in titles)])


def _fit(text: Text, figure: Figure, others: list[Text]) -> bool:
    room = _room(text, figure, others)
    lines: list[str] = []
    for line in text.get_text().split("\n"):
        lines += break_line(line, room, lambda part: _width(text, part))
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], _cut(lines[MOST_LINES - 1] + "…", room, lambda part: _width(text, part))]
    if "\n".join(lines) == text.get_text():
        return False
    text.set_text("\n".join(lines))
    return True


def _room(text: Text, figure: Figure, others: list[Text]) -> float:
    """Return how wide a title may be, in pixels."""
    extent = text.get_window_extent()
    x = {"left": extent.x0, "right": extent.x1}.get(text.get_horizontalalignment(), (extent.x0 + extent.x1) / 2)
    low, high = _MARGIN_PX, figure.bbox.width - _MARGIN_PX
    for other in others:
        box = other.get_window_extent()
        if box.y1 < extent.y0 or box.y0 > extent.y1:  # above or below
            continue
        centre = (box.x0 + box.x1) / 2
        if centre > x + 1:
            high = min(high, (x + centre) / 2 - _MARGIN_PX)
        elif centre < x - 1:
            low = max(low, (x + centre) / 2 + _MARGIN_PX)
    widths = {"left": high - x, "right": x - low}
    return max(widths.get(text.get_horizontalalignment(), 2 * min(x - low, high - x)), 1.0)


def _width(text: Text, line: str) -> float:
    """Return how wide a line of a title is, in pixels."""
    whole = text.get_text()
    text.set_text(line)
    width = text.get_window_extent().width
    text.set_text(whole)
    return float(width)


def break_line(line: str, room: float, width: Width) -> list[str]:
    """Return a line as several that are no wider than there is room, each as full as it can be."""
    if width(line) <= room:
        return [line]
    for pattern in _BREAKS:
        parts = [part for part in re.split(pattern, line) if part]
        if len(parts) < 2:
            continue
        lines = [""]
        for part in parts:
            longer = lines[-1] + part
            lines = [*lines[:-1], longer] if not lines[-1] or width(_stripped(longer)) <= room else [*lines, part]
        if len(lines) > 1:
            return [piece for part in lines for piece in break_line(_stripped(part), room, width)]
    return [line]  # a single letter


def _stripped(line: str) -> str:
    """Return a line without the separator at its end."""
    return line.removesuffix(" · ").strip()


def _cut(line: str, room: float, width: Width) -> str:
    while len(line) > 2 and width(line) > room:
        line = line[:-2] + "…"
    return line
