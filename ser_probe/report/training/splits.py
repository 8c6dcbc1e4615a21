"""Figures about the material: splits."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import new_figure
from ser_probe.report.style import PAGE_WIDTH_IN, styled
from ser_probe.report.tables import need
from ser_probe.report.training.plots import plot_clips_per_split


def draw_splits(table: pd.DataFrame, *, by: Sequence[str] = ("label", "gender")) -> Figure:
    """Draw how many clips of each class every split holds.

    Args:
        table: The audit of the splits.
        by: The classes, a panel each; those the audit lacks are left out.

    Raises:
        AnalysisError: If the audit counts none of them.
    """
    need(table, ["split", "measure", "level", "value"], "audit")
    present = [name for name in by if f"clips_by_{name}" in set(table["measure"])]
    if not present:
        raise AnalysisError("The audit counts no class that can be drawn", expected=", ".join(by))
    with styled():
        figure = new_figure(PAGE_WIDTH_IN, 2.8)
        for ax, name in zip(figure.subplots(1, len(present), squeeze=False)[0], present, strict=True):
            plot_clips_per_split(table, ax, by=name)
            # Below the panel: bars of any length stay free of the legend.
            # Named one by one, since a legend leaves out labels that begin with an underscore.
            names = [str(bars.get_label()) for bars in ax.containers]
            ax.legend(
                ax.containers, names, title=name, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3,
                columnspacing=1,
            )  # fmt: skip
        figure.suptitle("Clips per split")
        return figure
