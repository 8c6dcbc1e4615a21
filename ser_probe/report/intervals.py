"""Values with their intervals, a row each; filled marks are significant. Table -> Axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ser_probe.report.style import CLASS_COLOURS, GREY


def plot_intervals(table: pd.DataFrame, ax: Axes, *, value: str, filled: pd.Series) -> Axes:
    """Draw a value and its interval per row, from the top, with a line at 0.

    Intervals are not corrected for how many there are: a hollow mark may well have one that leaves out 0.

    Args:
        table: The column of values, and `ci_low` and `ci_high`.
        ax: Where to draw.
        value: The column of values.
        filled: Per row whether its mark is filled: whether the corrected p is below alpha.
    """
    y = np.arange(len(table))
    ax.axvline(0, color=GREY, linewidth=1, linestyle=":")
    ax.hlines(y, table["ci_low"], table["ci_high"], color=CLASS_COLOURS[0], linewidth=1.4)
    ax.scatter(
        table[value], y, s=26, zorder=3, edgecolors=CLASS_COLOURS[0],
        facecolors=np.where(filled.to_numpy(bool), CLASS_COLOURS[0], "white").tolist(),
    )  # fmt: skip
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    return ax
