"""How figures look: fonts, colour-blind safe colours and colour maps, short labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, to_hex, to_rgb

# The text width of a printed page. Figures are drawn as wide as they are printed, so that sizes below are true.
PAGE_WIDTH_IN = 7.2

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "figure.titlesize": 11,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "axes.unicode_minus": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # A label such as "$x" is a label, not mathematics, and must not stop the figure.
    "text.parse_math": False,
    # Text as outlines looks the same everywhere; the salt makes element names, and so the bytes, repeatable.
    "svg.fonttype": "path",
    "svg.hashsalt": "ser-probe",
}

GREY = "#5f5f5f"
PALE = "#dcdcdc"
MID_GREY = "#bdbdbd"
ACCENT = "#b3261e"

# Okabe and Ito (2008), without the yellow, which is too light on white; black last.
CLASS_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F4F24", "#000000")
CLASS_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<")

FUNCTIONAL_COLOURS = dict(zip(("frequency", "energy", "spectral", "temporal"), CLASS_COLOURS, strict=False))
"""Colours of the groups of acoustic functionals, in the order in which they are shown."""
FACTOR_COLOURS = {
    "label": CLASS_COLOURS[1],
    "speaker": CLASS_COLOURS[0],
    "gender": CLASS_COLOURS[4],
    "sentence": CLASS_COLOURS[2],
}
"""Colours of the factors of variance; other factors take the spare ones, interactions and joint shares are grey."""
SPARE_FACTOR_COLOURS = (CLASS_COLOURS[3], CLASS_COLOURS[5], CLASS_COLOURS[6])
INTERACTION_COLOUR, JOINT_COLOUR = "#8a8a8a", "#b9b9b9"
FLOOR_COLOURS = {"floor_repeat": ("#c4c4c4", 0.8), "floor_seed": ("#e7c9a9", 0.7)}
"""Bands of what drift has to exceed, with their opacity."""

# Colour maps of cells: values, shares from 0 to 1, and changes to either side of 0.
HEAT_COLOURS = "viridis"
SHARE_COLOURS = "Blues"
CHANGE_COLOURS = "RdBu"
# Colour maps of lines and points.
STEP_COLOURS = "viridis"
LAYER_COLOURS = "plasma"
CORPUS_COLOURS = "plasma"
NUMBER_COLOURS = "viridis"
# The light end of these is left out: pale yellow cannot be read on white.
_READABLE = 0.87

LEGEND_CHARACTERS = 18
"""Longest name in a legend beside a panel, which takes its room from the panel."""


@contextmanager
def styled() -> Iterator[None]:
    """Make and save figures in this style within the context, or within the function that it decorates."""
    with matplotlib.rc_context(STYLE):
        yield


def short(text: object, most: int = 40) -> str:
    """Return a label on one line and no longer than fits; it comes from files and may be anything."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def line_colours(count: int, name: str) -> list[str]:
    """Return `count` colours from dark to bright along a sequential map, all readable on white."""
    positions = np.linspace(0.0, _READABLE, count) if count > 1 else np.array([0.0])
    return [to_hex(colour) for colour in matplotlib.colormaps[name](positions)]


def class_styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker per class; beyond eight classes the marker tells equal colours apart."""
    n = len(CLASS_COLOURS)
    return {
        name: (CLASS_COLOURS[i % n], CLASS_MARKERS[(i // n + i * (len(names) <= n)) % len(CLASS_MARKERS)])
        for i, name in enumerate(names)
    }


def text_colour(cmap: Colormap, position: float) -> str:
    """Return black or white, whichever is easier to read on the colour at a position in [0, 1] of a map."""
    red, green, blue = to_rgb(cmap(float(np.clip(position, 0, 1))))
    # Relative luminance (ITU-R BT.709); 0.45 is where black and white are read equally well here.
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 else "white"
