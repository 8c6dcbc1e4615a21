"""How well what is not voice tells label, speaker and corpus: a row per group of properties. Table -> Axes, Figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ser_probe.report.canvas import new_panels
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.style import ACCENT, CLASS_COLOURS, GREY, MID_GREY, PAGE_WIDTH_IN, short, styled
from ser_probe.report.tables import need, pick

_COLUMNS = ["target", "properties", "uar", "chance", "low", "high", "p_adjusted", "verdict", "alarm"]
_ROW_HEIGHT_IN = 0.25
_SIGNIFICANT = ("weak", "clear", "strong")


def plot_shortcuts(table: pd.DataFrame, ax: Axes, *, target: str, groups: list[str]) -> Axes:
    """Draw the UAR of each group of properties with its interval over speakers, and a line at chance.

    Marks are filled where the corrected p is below 0.05, and red where the verdict is an alarm. A group in which all
    clips are alike has a small cross at chance.

    Args:
        table: The table of shortcuts.
        ax: Where to draw.
        target: `label`, `speaker` or `corpus`.
        groups: The groups of properties, from the top; those that the target lacks stay empty.
    """
    rows = pick(need(table, _COLUMNS, "shortcuts"), "shortcuts", target=target)
    rows = rows.assign(place=rows["properties"].map({name: place for place, name in enumerate(groups)}))
    constant = rows["verdict"] == "constant"
    ax.axvline(rows["chance"].iloc[0], color=GREY, linewidth=1, linestyle=":")
    ax.scatter(rows.loc[constant, "uar"], rows.loc[constant, "place"], marker="x", s=16, color=MID_GREY, linewidth=1)
    shown = rows[~constant]
    colours = np.where(shown["alarm"].to_numpy(bool), ACCENT, CLASS_COLOURS[0])
    filled = np.where(shown["verdict"].isin(_SIGNIFICANT), colours, "white")
    ax.hlines(shown["place"], shown["low"], shown["high"], colors=colours.tolist(), linewidth=1.4)
    ax.scatter(
        shown["uar"], shown["place"], s=24, zorder=3, edgecolors=colours.tolist(), facecolors=filled.tolist()
    )  # fmt: skip
    ax.set_yticks(range(len(groups)), [short(name, 24) for name in groups])
    ax.set_ylim(len(groups) - 0.4, -0.6)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.grid(axis="y", visible=False)
    return ax


@styled()
def draw_shortcuts(table: pd.DataFrame) -> Figure:
    """Draw a panel per target.

    Raises:
        AnalysisError: If the table is empty or lacks a column.
    """
    need(table, _COLUMNS, "shortcuts")
    targets, groups = list(table["target"].drop_duplicates()), list(table["properties"].drop_duplicates())
    figure, axes = new_panels(PAGE_WIDTH_IN, 1.5 + _ROW_HEIGHT_IN * len(groups), len(targets), sharey=True)
    for ax, target in zip(axes, targets, strict=True):
        plot_shortcuts(table, ax, target=target, groups=groups)
        rows = table[table["target"] == target]
        n_clips = f", {int(rows['n_clips'].iloc[0])} clips" if "n_clips" in rows else ""
        ax.set_title(f"{target}{n_clips}")
        ax.set_xlabel("UAR")
    figure.legend(handles=_handles(table), loc="outside lower center", ncols=5)
    figure.suptitle("What the files give away without the voice")
    return figure


def _handles(table: pd.DataFrame) -> list[Line2D]:
    """Return the entries of the legend for what occurs."""
    blue = CLASS_COLOURS[0]

    def dot(label: str, colour: str, inside: str) -> Line2D:
        return Line2D([], [], linestyle="", marker="o", markersize=5, color=colour, markerfacecolor=inside, label=label)

    significant, alarm = table["verdict"].isin(_SIGNIFICANT), table["alarm"].astype(bool)
    constant = table["verdict"] == "constant"
    entries = [
        (alarm.any(), dot("alarm", ACCENT, ACCENT)),
        ((significant & ~alarm).any(), dot("significant", blue, blue)),
        ((~significant & ~constant).any(), dot("not significant", blue, "white")),
        (constant.any(), Line2D([], [], linestyle="", marker="x", markersize=4, color=MID_GREY, label="all alike")),
        (True, Line2D([], [], color=GREY, linewidth=1, linestyle=":", label="chance")),
    ]
    return [handle for there, handle in entries if there]


_CAPTION = """
Label, speaker and corpus predicted from properties of the files alone, by a fit that is tested on other speakers than
it learns from (the speaker: on other clips). Bars: 95 % intervals over speakers; dotted: guessing. Filled: significant
after correction for all rows (permutation test); red: an alarm. Significance sees more than the UAR shows: a few clips
that are named for certain hardly move it. Length, silence, level, noise floor, bandwidth and clipping are the voice's
doing too, and tell the label a little in most corpora; people and rooms differ in level and noise, which tells speakers
apart. All together is what a probe has to beat.
"""

SHORTCUT_FIGURES: dict[str, FigureSpec] = {
    "audit_shortcuts": FigureSpec("Shortcuts in the files", "audit_shortcuts", draw_shortcuts, _CAPTION, apart=()),
}
