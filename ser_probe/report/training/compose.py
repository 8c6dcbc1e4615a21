"""Figures of fine-tuning: one run or one set of seeds, and several runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import heading, new_figure
from ser_probe.report.style import PAGE_WIDTH_IN, short, styled
from ser_probe.report.tables import need
from ser_probe.report.training.plots import (
    MARKS,
    SCORES,
    mark_steps,
    plot_learning_rate,
    plot_loss,
    plot_validation_scores,
)

MOST_RUNS = 8
"""Runs that fit beside each other and can still be read."""

Plot = Callable[[pd.DataFrame, Axes], Axes]


def draw_training(table: pd.DataFrame, *, best_step: int | None = None, saved_steps: Sequence[int] = ()) -> Figure:
    """Draw the losses, the validation scores and the learning rate of fine-tuning.

    Args:
        table: The training table.
        best_step: The step chosen on validation, to be marked.
        saved_steps: The steps whose checkpoint was saved, to be marked.

    Raises:
        AnalysisError: If the table is empty or has no loss.
    """
    need(table, ["run_seed", "step", "split", "measure", "value"], "training")
    plots = _plots(table)
    with styled():
        figure = new_figure(PAGE_WIDTH_IN, 3.7)
        for ax, plot in zip(figure.subplots(1, len(plots), squeeze=False)[0], plots, strict=True):
            plot(table, ax)
            mark_steps(ax, best_step=best_step, saved_steps=saved_steps)
        for ax, plot in zip(list(figure.axes), plots, strict=True):
            handles, labels = ax.get_legend_handles_labels()
            lines = {s: h for h, s in zip(handles, labels, strict=True) if not s.startswith(MARKS)}
            marks = {s: h for h, s in zip(handles, labels, strict=True) if s.startswith(MARKS)}
            # Below the panel, where no curve can run under it; the marks are the same in all panels.
            if lines and plot is not plot_learning_rate:
                ax.legend(list(lines.values()), list(lines), loc="upper center", bbox_to_anchor=(0.5, -0.22))
        if marks:
            figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=len(marks))
        runs = table["run_seed"].nunique()
        figure.suptitle(heading(table, "Fine-tuning") + (f" · {runs} runs" if runs > 1 else ""))
        return figure


def draw_runs(table: pd.DataFrame) -> Figure:
    """Draw several runs side by side: a column a run, and its losses, validation scores and learning rate below.

    The panels of a row have one scale, so that heights compare. Losses of runs with other losses (weights, smoothing,
    other targets) do not compare, whatever their heights.

    Args:
        table: Training tables one under another, with a column `run` that names them.

    Raises:
        AnalysisError: If there is no loss, or more runs than `MOST_RUNS`.
    """
    need(table, ["run", "run_seed", "step", "split", "measure", "value"], "training")
    names = list(table["run"].drop_duplicates())
    if len(names) > MOST_RUNS:
        raise AnalysisError("Too many runs to draw side by side", expected=f"up to {MOST_RUNS}", found=len(names))
    plots = _plots(table)
    with styled():
        figure = new_figure(max(PAGE_WIDTH_IN, 2.4 * len(names)), 2.3 * len(plots) + 0.6)
        axes = figure.subplots(len(plots), len(names), squeeze=False, sharey="row", sharex="col")
        for column, name in enumerate(names):
            run = table[table["run"] == name]
            for row, plot in enumerate(plots):
                _draw_if_there(plot, run, axes[row, column])
                axes[row, column].label_outer()
            axes[0, column].set_title(short(name, 28))
        for row, plot in enumerate(plots):
            _share_scale(list(axes[row]), from_zero=plot is plot_learning_rate)
            _add_row_legend(list(axes[row]), shown=plot is not plot_learning_rate)
        figure.suptitle("Fine-tuning, side by side")
        return figure


def _plots(table: pd.DataFrame) -> list[Plot]:
    found = set(table["measure"])
    plots: list[Plot] = [plot_loss]
    plots += [plot_validation_scores] if found & set(SCORES) else []
    plots += [plot_learning_rate] if "learning_rate" in found else []
    return plots


def _draw_if_there(plot: Plot, run: pd.DataFrame, ax: Axes) -> None:
    """Draw a panel; of a run that has no such measure, as numeric targets have no UAR, leave it empty."""
    try:
        plot(run, ax)
    except AnalysisError:
        ax.set_axis_off()


def _share_scale(axes: list[Axes], *, from_zero: bool) -> None:
    """Let the scale of a row hold the lines of all its panels: a limit that one panel has set would cut off others."""
    for ax in axes:
        ax.relim()
    axes[0].autoscale(axis="y")
    if from_zero:
        axes[0].set_ylim(bottom=0)


def _add_row_legend(axes: list[Axes], *, shown: bool) -> None:
    """Name the lines of a row of panels once, beside the last of them."""
    lines: dict[str, Artist] = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        lines |= dict(zip(labels, handles, strict=True))
    if lines and shown:
        axes[-1].legend(list(lines.values()), list(lines), loc="center left", bbox_to_anchor=(1.02, 0.5))
