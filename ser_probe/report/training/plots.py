"""Losses, scores and learning rate over fine-tuning, and the clips of each split. Table -> Axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ser_probe.report.measures import measure_name, short_measure_name
from ser_probe.report.style import ACCENT, CLASS_COLOURS, GREY, LEGEND_CHARACTERS, short
from ser_probe.report.tables import need, pick

_SPLIT_LINES = {"train": ("-", CLASS_COLOURS[0]), "validation": ("--", CLASS_COLOURS[1])}
_MEASURE_LINES = ("-", "--", ":", "-.")
_SPLITS = ("train", "validation", "test")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo", "+++", "---")

SCORES = ("uar", "macro_f1", "accuracy", "ccc")
"""Validation scores on the scale 0 to 1 that are drawn."""

# What the legend calls the marks of `mark_steps`.
MARKS = ("best step", "saved checkpoint")


def plot_loss(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the loss of the training and the validation speakers against the fine-tuning step.

    Args:
        table: Columns `run_seed`, `step`, `split`, `measure`, `value`; each run is a line.
        ax: Where to draw.
    """
    need(table, ["run_seed", "step", "split", "measure", "value"], "training")
    rows = pick(table, "training", measure="loss")
    for split, (line, colour) in _SPLIT_LINES.items():
        _draw_runs(rows[rows["split"] == split], ax, split, line, colour)
    ax.set(xlabel="fine-tuning step", ylabel=measure_name("loss"))
    return ax


def plot_validation_scores(table: pd.DataFrame, ax: Axes, *, measures: Sequence[str] = SCORES) -> Axes:
    """Draw scores on the validation speakers against the fine-tuning step; they chose the best step.

    Args:
        table: Columns `run_seed`, `step`, `split`, `measure`, `value`; each run is a line.
        ax: Where to draw.
        measures: Which measures, on the scale 0 to 1; those the table lacks are left out.
    """
    need(table, ["run_seed", "step", "split", "measure", "value"], "training")
    rows = pick(table, "training", split="validation")
    for measure, line, colour in zip(measures, _MEASURE_LINES, CLASS_COLOURS, strict=False):
        _draw_runs(rows[rows["measure"] == measure], ax, short_measure_name(measure), line, colour)
    ax.set(xlabel="fine-tuning step", ylabel="score (validation speakers)")
    return ax


def plot_learning_rate(table: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the learning rate against the fine-tuning step.

    Args:
        table: Columns `run_seed`, `step`, `measure`, `value`.
        ax: Where to draw.
    """
    need(table, ["run_seed", "step", "measure", "value"], "training")
    _draw_runs(pick(table, "training", measure="learning_rate"), ax, "learning rate", "-", CLASS_COLOURS[0])
    ax.set(xlabel="fine-tuning step", ylabel="learning rate")
    ax.set_ylim(bottom=0)
    ax.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=False)
    return ax


def mark_steps(ax: Axes, *, best_step: int | None, saved_steps: Sequence[int]) -> None:
    """Mark the best step by a line, and the steps whose checkpoint was saved by ticks along the lower edge."""
    if best_step is not None:
        ax.axvline(best_step, color=ACCENT, linewidth=1.3, linestyle=(0, (4, 2)), label=f"{MARKS[0]} ({best_step})")
    if saved_steps:
        ax.plot(
            saved_steps, np.zeros(len(saved_steps)), transform=ax.get_xaxis_transform(), linestyle="none",
            marker="^", markersize=6, color=GREY, clip_on=False, label=MARKS[1], zorder=5,
        )  # fmt: skip


def _draw_runs(rows: pd.DataFrame, ax: Axes, label: str, line: str, colour: str) -> None:
    """Draw one line per run; many runs are drawn thin."""
    seeds = list(rows["run_seed"].drop_duplicates())
    many = len(seeds) > 3
    for i, seed in enumerate(seeds):
        run = rows[rows["run_seed"] == seed].sort_values("step")
        # Losses are logged often and would hide under markers; evaluations are few and are points.
        marker = "o" if len(run) <= 30 and not many else None
        ax.plot(
            run["step"], run["value"], color=colour, linestyle=line, marker=marker, markersize=3,
            linewidth=0.7 if many else 1.6, alpha=0.5 if many else 1, label="_" if i else label,
        )  # fmt: skip


def plot_clips_per_split(table: pd.DataFrame, ax: Axes, *, by: str) -> Axes:
    """Draw how many clips of each class every split holds, as stacked bars.

    Args:
        table: The audit of the splits: columns `split`, `measure`, `level`, `value`.
        ax: Where to draw.
        by: The class: label, gender.
    """
    need(table, ["split", "measure", "level", "value"], "audit")
    rows = pick(table, "audit", measure=f"clips_by_{by}")
    counts = rows.pivot_table(index="split", columns="level", values="value", aggfunc="sum", fill_value=0)
    counts = counts.reindex([split for split in _SPLITS if split in counts.index])
    left = np.zeros(len(counts))
    for i, name in enumerate(counts.columns):
        ax.barh(
            counts.index, counts[name], left=left, height=0.66, color=CLASS_COLOURS[i % len(CLASS_COLOURS)],
            hatch=_HATCHES[i // len(CLASS_COLOURS) % len(_HATCHES)], edgecolor="white", linewidth=0.8,
            label=short(name, LEGEND_CHARACTERS),
        )  # fmt: skip
        left += counts[name].to_numpy()
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="clips", ylabel="split")
    return ax
