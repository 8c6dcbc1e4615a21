"""Means of cells, effect sizes, residuals and power. Table -> Axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ser_probe.report.canvas import name_places
from ser_probe.report.intervals import plot_intervals
from ser_probe.report.measures import EFFECT_SIZES, measure_name
from ser_probe.report.style import (
    ACCENT,
    CLASS_COLOURS,
    GREY,
    PALE,
    STEP_COLOURS,
    class_styles,
    line_colours,
    short,
)
from ser_probe.report.tables import need

# Lines are shifted sideways so that their intervals can be told apart: by this share of the distance between two
# levels, and by this share at most from the first line to the last.
_STEP = 0.08
_SPREAD = 0.5
_MOST_CLASSES = len(CLASS_COLOURS)


def level_order(levels: Sequence[object]) -> list[str]:
    """Return distinct levels: numbers by size, then text as it comes."""
    names = dict.fromkeys(map(str, levels))
    return sorted(names, key=lambda name: (0, float(name)) if _is_number(name) else (1, 0.0))


def _is_number(level: str) -> bool:
    try:
        float(level)
    except ValueError:
        return False
    return True


def plot_cell_means(
    table: pd.DataFrame, ax: Axes, *, x: str, lines: str | None, x_levels: Sequence[str], line_levels: Sequence[str]
) -> Axes:
    """Draw the means of cells against the levels of one factor, a line per level of another, with their intervals.

    Lines that are not parallel show an interaction. The intervals are each mean's own: two that overlap a little may
    still differ.

    Args:
        table: Columns `mean`, `ci_low`, `ci_high`, and the factors.
        ax: Where to draw.
        x: The factor across.
        lines: The factor of the lines; None for one line.
        x_levels: Its levels in their order.
        line_levels: Those of the lines; one empty name where there is one line.
    """
    need(table, [x, "mean", "ci_low", "ci_high"], "descriptives")
    place = {level: i for i, level in enumerate(x_levels)}
    styles = class_styles(line_levels)
    if len(line_levels) > _MOST_CLASSES or (len(line_levels) > 2 and all(map(_is_number, line_levels))):
        colours = line_colours(len(line_levels), STEP_COLOURS)
        styles = {level: (colour, "o") for level, colour in zip(line_levels, colours, strict=True)}
    for i, level in enumerate(line_levels):
        rows = table if lines is None else table[table[lines].astype(str) == level]
        rows = rows.assign(place=rows[x].astype(str).map(place)).sort_values("place")
        shift = min(_STEP, _SPREAD / len(line_levels)) * (i - (len(line_levels) - 1) / 2)
        mean = rows["mean"].to_numpy(float)
        error = np.vstack([mean - rows["ci_low"].to_numpy(float), rows["ci_high"].to_numpy(float) - mean])
        colour, marker = styles[level]
        ax.errorbar(
            rows["place"] + shift, mean, yerr=error, color=colour, marker=marker, markersize=4, elinewidth=1,
            linewidth=1.2, label=short(level, 24),
        )  # fmt: skip
    name_places(ax, [short(level, 16) for level in x_levels], 9, margin=0.6)
    ax.set_xlabel(short(x))
    ax.set_ylabel(measure_name(str(table["response"].iloc[0])) if "response" in table else "mean")
    return ax


def plot_effects(table: pd.DataFrame, ax: Axes, *, labels: Sequence[str]) -> Axes:
    """Draw effect sizes with their intervals, a row each, as `plot_intervals` does.

    Args:
        table: Columns `effect`, `effect_size`, `ci_low`, `ci_high`, `p_holm`, `p_bh`, `correction`, `alpha`.
        ax: Where to draw.
        labels: What each row is called.
    """
    need(table, ["effect", "effect_size", "ci_low", "ci_high", "p_holm", "correction", "alpha"], "contrasts")
    plot_intervals(table, ax, value="effect_size", filled=table[f"p_{table['correction'].iloc[0]}"] < table["alpha"])
    ax.set_yticks(range(len(table)), labels)
    effect = str(table["effect"].iloc[0])
    ax.set_xlabel(EFFECT_SIZES.get(effect, effect))
    return ax


def plot_residuals(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw studentised residuals against what normal ones of their ranks would be, with a pointwise 95 % band.

    Args:
        table: Columns `theoretical`, `residual`, `ci_low`, `ci_high`, in ascending order.
        ax: Where to draw.
    """
    need(table, ["theoretical", "residual", "ci_low", "ci_high"], "residuals")
    ax.fill_between(table["theoretical"], table["ci_low"], table["ci_high"], color=PALE, label="95 % of normal samples")
    ends = [float(table["theoretical"].min()), float(table["theoretical"].max())]
    ax.plot(ends, ends, color=GREY, linewidth=1)
    outside = (table["residual"] < table["ci_low"]) | (table["residual"] > table["ci_high"])
    for rows, colour, label in ((~outside, CLASS_COLOURS[0], "inside the band"), (outside, ACCENT, "outside")):
        if rows.any():
            ax.scatter(
                table.loc[rows, "theoretical"], table.loc[rows, "residual"], s=9, color=colour, label=label,
                rasterized=len(table) > 3000,
            )  # fmt: skip
    ax.set(xlabel="expected of a normal sample (SD)", ylabel="studentised residual (SD)")
    return ax


def plot_power(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw power against the number of repetitions, a line per effect size, with the target and the number at hand.

    Args:
        table: Rows of one design: `effect_size`, `n`, `power`, `target`, `n_now`.
        ax: Where to draw.
    """
    need(table, ["effect_size", "n", "power", "target", "n_now"], "power_curve")
    effects = sorted(table["effect_size"].unique())
    for effect, (colour, _) in zip(effects, class_styles([str(e) for e in effects]).values(), strict=True):
        rows = table[table["effect_size"] == effect].sort_values("n")
        ax.plot(rows["n"], rows["power"], color=colour, label=f"{effect:g} SD")
    ax.axhline(float(table["target"].iloc[0]), color=GREY, linewidth=1, linestyle=":", label="wanted")
    now = table["n_now"].iloc[0]
    if not pd.isna(now) and now <= table["n"].max():
        ax.axvline(float(now), color=ACCENT, linewidth=1, linestyle="--", label="at hand")
    ax.set_xscale("log")
    ticks = [n for n in (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000) if n <= table["n"].max()]
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.minorticks_off()
    ax.set(ylim=(0, 1.02), ylabel="power")
    return ax
