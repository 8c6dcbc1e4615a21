"""What the audit found, drawn into given axes: distributions by label, copies, counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ser_probe.report.style import CLASS_COLOURS, GREY, MID_GREY, PALE, short
from ser_probe.report.tables import need

LONGEST_NAME = 16
_MOST_APART = 40
BROKEN = {
    "label": "different labels", "split": "different splits", "corpus": "different corpora",
    "speaker": "different speakers", "sentence": "different sentences", "": "nothing: repetitions",
}  # fmt: skip
"""What copies break, in the order of the rows, and its words."""
SAME = {"bytes": "identical files", "samples": "identical samples", "sound": "same sound"}


def plot_distribution(table: pd.DataFrame, ax: Axes, *, value: str, labels: Sequence[str]) -> Axes:
    """Draw where a property of the clips of each label lies: median, quartiles, 5 to 95 %, and the clips beyond.

    Args:
        table: Columns `label` and the property.
        ax: Where to draw.
        value: The property.
        labels: The labels, from the top.
    """
    need(table, ["label", value], "properties of clips")
    for row, label in enumerate(labels):
        values = table.loc[table["label"].astype(str) == label, value].dropna().to_numpy(float)
        if not len(values):
            continue
        low, first, middle, third, high = np.percentile(values, [5, 25, 50, 75, 95])
        beyond = values[(values < low) | (values > high)]
        ax.plot(beyond, np.full(len(beyond), row), ".", color=MID_GREY, markersize=2.5, zorder=1)
        ax.hlines(row, low, high, color=CLASS_COLOURS[0], linewidth=1.2)
        ax.hlines(row, first, third, color=CLASS_COLOURS[0], linewidth=5)
        ax.plot([middle], [row], "o", color="white", markersize=3.2, zorder=3)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.set_yticks(range(len(labels)), [short(label, LONGEST_NAME) for label in labels])
    ax.grid(axis="y", visible=False)
    return ax


def plot_copies(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw how many groups of copies break what, by what the clips of a group have in common.

    A group that breaks several things is counted in each row.

    Args:
        table: Columns `group`, `same`, `breaks`.
        ax: Where to draw.
    """
    need(table, ["group", "same", "breaks"], "copies")
    groups = table.drop_duplicates("group")
    parts = groups["breaks"].astype(str).str.split(", ")
    start = np.zeros(len(BROKEN))
    for colour, (same, words) in zip(CLASS_COLOURS, SAME.items(), strict=False):
        of_kind = groups["same"] == same
        counts = np.array([int((of_kind & parts.map(lambda found, name=name: name in found)).sum()) for name in BROKEN])
        ax.barh(range(len(BROKEN)), counts, left=start, height=0.62, color=colour, label=words)
        start += counts
    for row, number in enumerate(start):
        ax.annotate(f"{number:g}", (number, row), xytext=(4, 0), textcoords="offset points", va="center", color=GREY)
    ax.set_ylim(len(BROKEN) - 0.4, -0.6)
    ax.set_yticks(range(len(BROKEN)), list(BROKEN.values()))
    ax.set_xlim(0, max(1.0, start.max() * 1.12))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("groups of copies")
    return ax


def plot_counts(table: pd.DataFrame, ax: Axes, *, by: str, labels: Sequence[str], parts: Sequence[str]) -> Axes:
    """Draw how many clips each label has, a bar a label, its parts in colours.

    Args:
        table: Columns `label`, `n_clips` and the factor.
        ax: Where to draw.
        by: The factor.
        labels: The labels, from the top.
        parts: The values of the factor, from the left; the empty text is for clips without one.
    """
    need(table, ["label", "n_clips", by], "counts of clips")
    counts = table.assign(label=table["label"].astype(str)).pivot_table(
        index="label", columns=by, values="n_clips", aggfunc="sum", fill_value=0
    )
    start = np.zeros(len(labels))
    colours = iter(CLASS_COLOURS)
    for part in parts:
        numbers = counts[part].reindex(list(labels), fill_value=0).to_numpy(float)
        colour = next(colours, MID_GREY) if part else PALE
        ax.barh(
            range(len(labels)), numbers, left=start, height=0.68, color=colour, label=short(part, 14) or "none given"
        )
        start += numbers
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.set_yticks(range(len(labels)), [short(label, LONGEST_NAME) for label in labels])
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("clips")
    return ax


def plot_speakers(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw how many clips each speaker has, the most first.

    Args:
        table: Columns `speaker` and `n_clips`.
        ax: Where to draw.
    """
    need(table, ["speaker", "n_clips"], "counts of clips")
    counts = table[table["speaker"].astype(str) != ""].groupby("speaker")["n_clips"].sum()
    counts = counts.sort_values(ascending=False)
    # Gaps between more bars would be all that is seen of them.
    width = 0.8 if len(counts) <= _MOST_APART else 1.0
    ax.bar(np.arange(len(counts)) + 0.5, counts, width, color=CLASS_COLOURS[0], linewidth=0)
    ax.set_xlim(0, max(1, len(counts)))
    ax.set_ylim(0, None)
    ax.set_xlabel("speakers, sorted")
    ax.set_ylabel("clips")
    return ax
