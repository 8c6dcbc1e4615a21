"""The figures of a study's clips and of its fine-tuning: the splits, a run or a set of seeds, runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import heading, new_figure, new_panels
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.style import PAGE_WIDTH_IN, short, styled
from ser_probe.report.tables import need
from ser_probe.report.training.plots import (
    MARKS,
    SCORES,
    mark_steps,
    plot_clips_per_split,
    plot_learning_rate,
    plot_loss,
    plot_validation_scores,
)

MOST_RUNS = 8
"""Runs that can be drawn side by side and still be read."""

Plot = Callable[[pd.DataFrame, Axes], Axes]


@styled()
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
    figure, axes = new_panels(PAGE_WIDTH_IN, 2.8, len(present))
    for ax, name in zip(axes, present, strict=True):
        plot_clips_per_split(table, ax, by=name)
        # Below the panel: bars of any length stay free of the legend.
        # Names are given, since a legend leaves out labels that begin with an underscore.
        names = [str(bars.get_label()) for bars in ax.containers]
        ax.legend(
            ax.containers, names, title=name, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3,
            columnspacing=1,
        )  # fmt: skip
    figure.suptitle("Clips per split")
    return figure


@styled()
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
    figure, axes = new_panels(PAGE_WIDTH_IN, 3.7, len(plots))
    for ax, plot in zip(axes, plots, strict=True):
        plot(table, ax)
        mark_steps(ax, best_step=best_step, saved_steps=saved_steps)
        artists = _labelled(ax)
        lines = {label: artist for label, artist in artists.items() if not label.startswith(MARKS)}
        marks = {label: artist for label, artist in artists.items() if label.startswith(MARKS)}
        # Below the panel, where no curve can run under it; the marks are the same in all panels.
        if lines and plot is not plot_learning_rate:
            ax.legend(list(lines.values()), list(lines), loc="upper center", bbox_to_anchor=(0.5, -0.22))
    if marks:
        figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=len(marks))
    runs = table["run_seed"].nunique()
    figure.suptitle(heading(table, "Fine-tuning") + (f" · {runs} runs" if runs > 1 else ""))
    return figure


@styled()
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
    measures = set(table["measure"])
    plots: list[Plot] = [plot_loss]
    plots += [plot_validation_scores] if measures & set(SCORES) else []
    plots += [plot_learning_rate] if "learning_rate" in measures else []
    return plots


def _labelled(ax: Axes) -> dict[str, Artist]:
    """Return what a legend would list, by its label."""
    handles, labels = ax.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


def _draw_if_there(plot: Plot, run: pd.DataFrame, ax: Axes) -> None:
    """Draw a panel, or leave it empty if the run has no such measure, as numeric targets have no UAR."""
    try:
        plot(run, ax)
    except AnalysisError:
        ax.set_axis_off()


def _share_scale(axes: list[Axes], *, from_zero: bool) -> None:
    """Scale a row to the lines of all its panels, where the limits of a single panel would cut off others."""
    for ax in axes:
        ax.relim()
    axes[0].autoscale(axis="y")
    if from_zero:
        axes[0].set_ylim(bottom=0)


def _add_row_legend(axes: list[Axes], *, shown: bool) -> None:
    """Name the lines of a row of panels once, beside the last of them."""
    lines: dict[str, Artist] = {}
    for ax in axes:
        lines |= _labelled(ax)
    if lines and shown:
        axes[-1].legend(list(lines.values()), list(lines), loc="center left", bbox_to_anchor=(1.02, 0.5))


_SPLITS = """
How many clips of each emotion and gender each split holds. The splits share no speaker, so with few speakers the
shares of the classes cannot be equal: compare a score with the majority class of the same split.
"""

_TRAINING = """
Loss, scores on the validation speakers, and learning rate against the step. Triangles: saved checkpoints; red
dashes: the step chosen on validation. The training loss is measured while the weights change and with dropout, the
validation loss after it and without, so the gap between them is not overfitting alone; and the best of many
evaluations on few speakers looks better than it is.
"""

_TRAINING_RUNS = """
Fine-tuning runs side by side, a column a run; of several seeds each line is one. Panels of a row have one scale. The
training loss is measured while the weights change and with dropout, the validation loss afterwards and without, so a
gap between them is no measure of overfitting by itself. Losses of runs with other targets, weights or smoothing do
not compare.
"""

TRAINING_FIGURES: dict[str, FigureSpec] = {
    "splits": FigureSpec("Clips per split", "audit", draw_splits, _SPLITS, apart=()),
    "training": FigureSpec("Fine-tuning", "training", draw_training, _TRAINING),
    "training_runs": FigureSpec("Fine-tuning, side by side", "training_runs", draw_runs, _TRAINING_RUNS, apart=()),
}
