"""Titles are broken where they read best, and never wider than there is room."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from ser_probe.report.titles import MOST_LINES, break_line, fit_titles


@pytest.mark.parametrize(
    ("line", "room", "lines"),
    [
        ("short", 10, ["short"]),
        ("what · model · n = 3", 15, ["what · model", "n = 3"]),
        ("similarity of a · b", 10, ["similarity", "of a", "b"]),
        ("one, two, three", 9, ["one, two,", "three"]),
        ("runs/wavlm/best", 11, ["runs/wavlm/", "best"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("a", 0, ["a"]),
    ],
)
def test_a_line_is_broken_where_it_reads_best(line: str, room: int, lines: list[str]) -> None:
    """In letters of one width."""
    assert break_line(line, room, len) == lines


def test_titles_of_panels_do_not_touch_and_are_cut_in_the_end() -> None:
    figure = Figure(figsize=(4.0, 2.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title("a title that is wider than its panel is")
    right.set_title("word " * 60)
    figure.draw_without_rendering()
    fit_titles(figure)
    figure.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in (left, right)]
    assert boxes[0].x0 >= 0
    assert boxes[0].x1 <= boxes[1].x0
    assert boxes[1].x1 <= figure.bbox.width
    assert right.get_title().count("\n") == MOST_LINES - 1
    assert right.get_title().endswith("…")
