"""What layers keep of each acoustic functional: heat maps, rankings of what is lost and gained. Table -> Axes."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize

from ser_probe.report.canvas import spaced
from ser_probe.report.style import ACCENT, CLASS_COLOURS, FUNCTIONAL_COLOURS, GREY, PALE
from ser_probe.report.tables import need

_CONTROL_LINES = (
    ("shuffled_clips", "clips shuffled", GREY, (0, (1, 1.4))),
    ("random_weights", "random weights", ACCENT, (0, (5, 2))),
)
_WORDS = (
    (r"_sma3(nz)?", ""),
    (r"^F0semitoneFrom27\.5Hz", "F0"),
    (r"^(F[123])amplitudeLogRelF0", r"\1 level"),
    (r"^(F[123])(frequency|bandwidth)", r"\1 \2"),
    (r"^logRelF0-", ""),
    (r"^equivalentSoundLevel_dBp", "equivalent sound level"),
    (r"^shimmerLocaldB", "shimmer"),
    (r"^jitterLocal", "jitter"),
    (r"^HNRdBACF", "HNR"),
    (r"^hammarbergIndex", "Hammarberg "),
    (r"^alphaRatio", "alpha ratio "),
    (r"^spectralFlux", "spectral flux "),
    (r"^slope(U?V)([\d-]+)", r"slope \2 \1"),
    (r"^mfcc(\d)(V?)", r"MFCC \1 \2"),
    (r"percentile(\d+)\.0", r"\1 %"),
    (r"pctlrange0-2", "20-80 % range"),
    (r"stddevNorm", "rel. SD"),
    (r"amean", "mean"),
    (r"meanRisingSlope", "rising slope"),
    (r"stddevRisingSlope", "rising slope SD"),
    (r"meanFallingSlope", "falling slope"),
    (r"stddevFallingSlope", "falling slope SD"),
    (r"^MeanVoicedSegmentLengthSec", "voiced length mean"),
    (r"^StddevVoicedSegmentLengthSec", "voiced length SD"),
    (r"^MeanUnvoicedSegmentLength", "unvoiced length mean"),
    (r"^StddevUnvoicedSegmentLength", "unvoiced length SD"),
    (r"^VoicedSegmentsPerSec", "voiced segments per s"),
    (r"^loudnessPeaksPerSec", "loudness peaks per s"),
    (r"_", " "),
)  # fmt: skip
"""Replacements that shorten openSMILE's names to fit a row of a figure; the tables keep openSMILE's names."""


def short_functional(name: str) -> str:
    """Return a functional's name as a figure shows it: `F0semitoneFrom27.5Hz_sma3nz_amean` is `F0 mean`."""
    for pattern, word in _WORDS:
        name = re.sub(pattern, word, name)
    return " ".join(name.split())


def functional_order(table: pd.DataFrame) -> pd.DataFrame:
    """Return the functionals in the order of the figures: by group, in the order of the table within it.

    Returns:
        Columns `feature`, `group`, `flag`, a row each.
    """
    need(table, ["feature", "group", "flag"], "acoustics")
    functionals = table[["feature", "group", "flag"]].drop_duplicates("feature")
    place = functionals["group"].map({group: i for i, group in enumerate(group_order(functionals["group"]))})
    return functionals.iloc[np.argsort(place.to_numpy(), kind="stable")].reset_index(drop=True)


def group_order(groups: Iterable[object], *, first: str = "") -> list[str]:
    """Return groups of functionals without repeats: the one named first, the known ones, then others by name."""
    present = set(map(str, groups))
    known = (first, *FUNCTIONAL_COLOURS)
    return [name for name in (*known, *sorted(present - set(known))) if name in present]


def group_colour(group: str) -> str:
    """Return the colour of a group of functionals."""
    return FUNCTIONAL_COLOURS.get(group, CLASS_COLOURS[6])


def plot_functional_map(
    values: pd.DataFrame, ax: Axes, *, functionals: pd.DataFrame, norm: Normalize, cmap: str, names: bool = False
) -> QuadMesh:
    """Draw a value per functional (rows, groups apart) and layer (columns); cells without a value stay pale.

    Args:
        values: A row per functional and a column per layer, in the order of `functionals`.
        ax: Where to draw.
        functionals: From `functional_order`; those with a flag are marked.
        norm: The scale of the colours.
        cmap: The colours.
        names: Whether to name the rows.

    Returns:
        The mesh, for a colour bar.
    """
    cells = np.ma.masked_invalid(values.to_numpy(dtype=float))
    mesh = ax.pcolormesh(cells, cmap=cmap, norm=norm, edgecolors="face", linewidth=0.1, rasterized=True)
    ax.set_facecolor(PALE)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.invert_yaxis()
    rows, columns = cells.shape
    shown = spaced(columns, 6)
    ax.set_xticks([i + 0.5 for i in shown], [str(values.columns[i]) for i in shown], fontsize=9)
    ax.set_yticks(np.arange(rows) + 0.5)
    ax.tick_params(length=0, pad=2)
    if names:
        marks = functionals["flag"].map(lambda flag: " †" if flag else "")
        labels = [short_functional(name) for name in functionals["feature"]]
        ax.set_yticklabels([label + mark for label, mark in zip(labels, marks, strict=True)], fontsize=6)
        for label, group in zip(ax.get_yticklabels(), functionals["group"], strict=True):
            label.set_color(group_colour(str(group)))
    else:
        ax.set_yticklabels([])
    groups = functionals["group"].to_numpy()
    for edge in np.flatnonzero(groups[1:] != groups[:-1]):
        ax.axhline(float(edge) + 1, color="white", linewidth=2.0)
        ax.axhline(float(edge) + 1, color="black", linewidth=0.6)
    return mesh


def plot_ranking(rows: pd.DataFrame, ax: Axes) -> Axes:
    """Draw changes with their intervals, one row each, the largest at the top; filled where p < 0.05 after correction.

    Args:
        rows: Rows of the table of changes, in the order of drawing.
        ax: Where to draw.
    """
    places = np.arange(len(rows))
    for place, (_, row) in zip(places, rows.iterrows(), strict=True):
        colour = group_colour(str(row["group"]))
        if np.isfinite(row["ci_low"]):
            ax.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, linewidth=1.6, alpha=0.55)
        significant = row["p_holm"] < 0.05
        ax.plot(row["value"], place, marker="o", markersize=5.5, color=colour, markeredgewidth=1.4,
                markerfacecolor=colour if significant else "white")  # fmt: skip
    ax.set_yticks(places, [short_functional(name) for name in rows["feature"]], fontsize=9)
    ax.invert_yaxis()
    ax.axvline(0, color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    return ax


def plot_group_controls(table: pd.DataFrame, ax: Axes, *, group: str, measure: str, layers: list[str]) -> Axes:
    """Draw the controls of a group's mean: shuffled clips, random weights, the gender alone.

    Args:
        table: The table of group means.
        ax: Where to draw.
        group: Which group.
        measure: Which measure.
        layers: All layers in order.
    """
    rows = table[(table["group"] == group) & (table["measure"] == measure)]
    for control, label, colour, dashes in _CONTROL_LINES:
        line = rows[rows["control"] == control].groupby("layer")["value"].mean().reindex(layers)
        if line.notna().any():
            ax.plot(range(len(layers)), line, color=colour, linewidth=1.3, linestyle=dashes, label=label, zorder=2)
    gender = rows[rows["control"] == "gender_only"]["value"]
    if len(gender):
        ax.axhline(gender.mean(), color=GREY, linewidth=1.2, linestyle=(0, (1, 4)), label="gender alone", zorder=1)
    return ax
