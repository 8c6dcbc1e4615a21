"""What the tests of all topics read back from a panel, and the layers and steps of their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Text

Tables = dict[str, pd.DataFrame]
MakeTables = Callable[[int, Sequence[int]], Tables]

LAYERS = ["0", "1", "2", "3", "final"]
STEPS = [0, 50, 100, 150]


def labels(ticks: Iterable[Text]) -> list[str]:
    """Return the texts of tick labels."""
    return [tick.get_text() for tick in ticks]


def line(ax: Axes, label: str) -> np.ndarray:
    """Return the values of the line that the legend calls so."""
    (drawn,) = [line for line in ax.lines if line.get_label() == label]
    return np.asarray(drawn.get_ydata(), dtype=float)
