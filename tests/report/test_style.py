"""What is drawn is what the table says: values are read back from the lines and cells."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from ser_probe.report.canvas import spaced
from ser_probe.report.style import (
    CLASS_COLOURS,
    LAYER_COLOURS,
    STEP_COLOURS,
    class_styles,
    line_colours,
    short,
    text_colour,
)


def _contrast_with_white(colour: str) -> float:
    """Contrast ratio of WCAG 2.2 between a colour and white."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return 1.05 / (0.05 + float(linear @ [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("name", [STEP_COLOURS, LAYER_COLOURS])
def test_lines_can_be_seen_on_white(name: str) -> None:
    # The bright end of the uncut maps, pale yellow, has a contrast of 1.2: a line nobody sees.
    assert min(_contrast_with_white(colour) for colour in line_colours(9, name)) > 1.5
    assert len(set(line_colours(26, name))) == 26


def test_classes_differ_by_colour_or_marker() -> None:
    few, many = [str(i) for i in range(7)], [str(i) for i in range(30)]
    assert len({colour for colour, _ in class_styles(few).values()}) == 7
    assert len({marker for _, marker in class_styles(few).values()}) == 7
    assert len(set(class_styles(many).values())) == 30
    assert len(CLASS_COLOURS) == len(set(CLASS_COLOURS))


def test_cell_text_is_white_on_dark_and_black_on_bright(ax: Axes) -> None:
    mesh = ax.pcolormesh([[0, 1]], cmap="viridis")
    assert (text_colour(mesh.get_cmap(), 0.0), text_colour(mesh.get_cmap(), 1.0)) == ("white", "black")


def test_labels_are_shortened_to_one_line() -> None:
    assert short("a\nb\t c") == "a b c"
    assert len(short("x" * 500)) == 40
    assert short("x" * 40) == "x" * 40


@pytest.mark.parametrize("count", [1, 2, 5, 26, 100])
def test_tick_labels_are_thinned_but_never_the_last(count: int) -> None:
    shown = spaced(count, 6)
    assert shown[-1] == count - 1
    assert len(shown) <= 7
    gaps = np.diff(shown)
    assert len(gaps) == 0 or gaps.min() >= -(-count // 6)
