"""Predictions of a classifier: confusion matrices, reliability, scores per class, numeric agreement. Table -> Axes."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ser_probe.report.measures import measure_name
from ser_probe.report.style import (
    CLASS_COLOURS,
    CLASS_MARKERS,
    GREY,
    LEGEND_CHARACTERS,
    PALE,
    SHARE_COLOURS,
    STEP_COLOURS,
    line_colours,
    short,
    text_colour,
)
from ser_probe.report.tables import need, pick

# A wider matrix has no room for numbers on a page.
MOST_NUMBERED_CLASSES = 14
MOST_VECTOR_POINTS = 15_000
_SMALLEST_FONT, _LARGEST_FONT = 4.5, 9.0
_LABEL_CHARACTERS = 14


def plot_confusion(table: pd.DataFrame, ax: Axes, *, width_in: float = 3.0, counts: bool = False) -> Axes:
    """Draw a confusion matrix: of each true class (row) how many percent were taken for which class (column).

    The colours span 0 to 100 %. A row is about one class however often it occurs, so a mistake that looks as large as
    another can be about far fewer clips: the counts tell.

    Args:
        table: Columns `true`, `predicted`, `share`, and `count` if `counts`; a row per pair of classes, in the order of
            the classes. A class that never occurs has the share NaN and an empty row.
        ax: Where to draw.
        width_in: Width of the matrix in inches, which the numbers are made to fit.
        counts: Print the number of clips below each share.
    """
    need(table, ["true", "predicted", "share", *(["count"] if counts else [])], "confusion")
    names = list(dict.fromkeys(table["true"]))
    shares = _matrix(table, "share", names)
    cmap = matplotlib.colormaps[SHARE_COLOURS]
    ax.grid(False)
    ax.set_facecolor(PALE)
    ax.pcolormesh(np.ma.masked_invalid(shares), cmap=cmap, vmin=0, vmax=1, edgecolors="white", linewidth=0.4)
    centres, labels = np.arange(len(names)) + 0.5, [short(name, _LABEL_CHARACTERS) for name in names]
    ax.set_xticks(centres, labels, rotation=90)
    ax.set_yticks(centres, labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.invert_yaxis()
    ax.set_aspect("equal")
    ax.set(xlabel="predicted", ylabel="true (rows in %)")
    if len(names) <= MOST_NUMBERED_CLASSES:
        numbers = _matrix(table, "count", names) if counts else None
        # Three digits in a cell, in points.
        size = float(np.clip(0.4 * 72 * width_in / len(names), _SMALLEST_FONT, _LARGEST_FONT))
        for row, column in np.argwhere(np.isfinite(shares)):
            share = shares[row, column]
            text = f"{100 * share:.0f}" + ("" if numbers is None else f"\n({_count(numbers[row, column])})")
            ax.text(
                column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=size, linespacing=0.95,
                color=text_colour(cmap, float(share)),
            )  # fmt: skip
    return ax


def _count(value: float) -> str:
    """Return a number of clips as text; a mean over runs gets one decimal."""
    return f"{value:.0f}" if value == round(value) or value >= 100 else f"{value:.1f}"


def _matrix(table: pd.DataFrame, column: str, names: list[str]) -> np.ndarray:
    grid = table.pivot(index="true", columns="predicted", values=column)
    return grid.reindex(index=names, columns=names).to_numpy(dtype=float)


def plot_reliability(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw accuracy against confidence; a calibrated classifier lies on the diagonal.

    Bins with few clips (grey bars) lie off the diagonal by chance. Several runs are drawn as a line each.

    Args:
        table: Columns `low`, `high`, `n`, `confidence`, `accuracy` of one run, or of several told apart by `run_seed`.
        ax: Where to draw.
    """
    need(table, ["low", "high", "n", "confidence", "accuracy"], "reliability")
    runs = [run for _, run in table.groupby("run_seed", sort=False, dropna=False)] if "run_seed" in table else [table]
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (4, 2)), linewidth=1.2, label="calibrated")
    if len(runs) == 1:
        width = table["high"] - table["low"]
        ax.bar(
            table["low"], table["n"] / max(table["n"].sum(), 1), width, align="edge", color=PALE,
            label="share of clips",
        )  # fmt: skip
    many = len(runs) > 3
    for i, run in enumerate(runs):
        filled = run[run["n"] > 0]
        ax.plot(
            filled["confidence"], filled["accuracy"], color=CLASS_COLOURS[0], marker=None if many else "o",
            markersize=4, linewidth=0.7 if many else 1.6, alpha=0.5 if many else 1, zorder=3,
            label="_" if i else ("accuracy" if len(runs) == 1 else "accuracy, a line a run"),
        )  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    ax.set_aspect("equal")
    return ax


def plot_class_scores(table: pd.DataFrame, ax: Axes, *, measure: str = "recall") -> Axes:
    """Draw a score of each class, a bar per group, with what the table gives as its interval.

    Args:
        table: Columns `class`, `group`, `measure`, `value`, `ci_low`, `ci_high`; classes and groups are drawn in the
            order of their rows. A score that is not defined has no bar.
        ax: Where to draw.
        measure: Which score.
    """
    need(table, ["class", "group", "measure", "value", "ci_low", "ci_high"], "classes")
    rows = pick(table, "classes", measure=measure)
    names, groups = list(dict.fromkeys(rows["class"])), list(dict.fromkeys(rows["group"]))
    height = 0.8 / len(groups)
    for i, group in enumerate(groups):
        scores = rows[rows["group"] == group].set_index("class").reindex(names)
        y = np.arange(len(names)) + (i - (len(groups) - 1) / 2) * height
        colour, label = CLASS_COLOURS[i % len(CLASS_COLOURS)], short(group, LEGEND_CHARACTERS)
        ax.barh(y, scores["value"], height, color=colour, label=label)
        _draw_intervals(scores, ax, y, color="black", linewidth=0.9)
    _name_rows(ax, [short(name, _LABEL_CHARACTERS) for name in names])
    ax.set_xlim(0, 1)
    ax.set(xlabel=f"{measure_name(measure)} per class")
    return ax


def plot_score_rows(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw a score of several checkpoints on several sets of clips: a row per set, a point and interval per checkpoint.

    Args:
        table: Columns `row`, `step`, `value`, `ci_low`, `ci_high`; rows are drawn in their order, from the top.
        ax: Where to draw.
    """
    need(table, ["row", "step", "value", "ci_low", "ci_high"], "scores")
    names, steps = list(dict.fromkeys(table["row"])), sorted(set(table["step"]))
    colours = line_colours(len(steps), STEP_COLOURS)
    for i, (step, colour) in enumerate(zip(steps, colours, strict=True)):
        scores = table[table["step"] == step].set_index("row").reindex(names)
        y = np.arange(len(names)) + (i - (len(steps) - 1) / 2) * 0.6 / len(steps)
        _draw_intervals(scores, ax, y, color=colour, linewidth=1.6)
        label = "step 0 (untrained head)" if step == 0 else f"step {step}"
        marker = CLASS_MARKERS[i % len(CLASS_MARKERS)]
        ax.plot(scores["value"], y, linestyle="none", marker=marker, color=colour, label=label)
    _name_rows(ax, names)
    if table["value"].between(0, 1).all():
        ax.set_xlim(0, 1)
    return ax


def _draw_intervals(scores: pd.DataFrame, ax: Axes, y: np.ndarray, *, color: str, linewidth: float) -> None:
    ends = scores[["ci_low", "ci_high"]].to_numpy(dtype=float)
    known = np.isfinite(ends).all(axis=1)
    ax.hlines(y[known], ends[known, 0], ends[known, 1], color=color, linewidth=linewidth)


def _name_rows(ax: Axes, names: list[str]) -> None:
    """Name rows from the top."""
    ax.set_yticks(np.arange(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)


def plot_agreement(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw predicted against true values; exact predictions lie on the diagonal.

    A cloud flatter than the diagonal means predictions close to the mean: the concordance is lower for it, the
    correlation is not.

    Args:
        table: Columns `true` and `predicted`, in the target's unit.
        ax: Where to draw.
    """
    need(table, ["true", "predicted"], "predictions")
    values = table[["true", "predicted"]].to_numpy(dtype=float)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    ax.plot(limits, limits, color=GREY, linestyle=(0, (4, 2)), linewidth=1.2)
    ax.plot(
        table["true"], table["predicted"], linestyle="none", marker="o", markersize=3, alpha=0.5,
        color=CLASS_COLOURS[0], markeredgewidth=0, rasterized=len(table) > MOST_VECTOR_POINTS,
    )  # fmt: skip
    ax.set(xlim=limits, ylim=limits, xlabel="true", ylabel="predicted")
    ax.set_aspect("equal")
    return ax
