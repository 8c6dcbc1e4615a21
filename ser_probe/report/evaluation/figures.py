"""The figures of a classifier's predictions: scores, matrices by group, agreement, and the best of it on one page."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import grid_shape, legend_below, new_figure, new_panels
from ser_probe.report.evaluation.headline import chosen_step
from ser_probe.report.evaluation.plots import (
    plot_agreement,
    plot_class_scores,
    plot_confusion,
    plot_reliability,
    plot_score_rows,
)
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.measures import short_measure_name
from ser_probe.report.style import PAGE_WIDTH_IN, short, styled
from ser_probe.report.tables import need, pick

# More matrices side by side cannot be read; a column with more values (speakers) is not drawn.
MOST_PANELS = 4
_MOST_TARGETS = 4
# Room for tick labels and axis names, of a panel's width and of the height below it, in inches.
_LABELS_IN = 1.1


def group_column(table: pd.DataFrame) -> str | None:
    """Return the first column by which there are few enough groups for panels side by side; None if there is none."""
    need(table, ["group_by", "group"], "confusion")
    for name, rows in table.groupby("group_by", sort=False):
        if name != "overall" and 2 <= rows["group"].nunique() <= MOST_PANELS:
            return str(name)
    return None


@styled()
def draw_evaluation(
    confusion: pd.DataFrame, reliability: pd.DataFrame, classes: pd.DataFrame, scores: pd.DataFrame
) -> Figure:
    """Draw the best of an evaluation of one model on one corpus: matrices by group, reliability, recall per class.

    The lines on the bars are what `classes` gives as intervals: over speakers, or over runs. Groups are of different
    people: a difference between them may be one between these few speakers.

    Args:
        confusion: Rows of one run, or the mean over runs.
        reliability: Rows of one or several runs, of all clips.
        classes: Scores of each class, of one run or the mean over runs.
        scores: What the title says: `measure` and `value` over all clips, of one run or the mean over runs.

    Raises:
        AnalysisError: If a table is empty or lacks a column.
    """
    by = group_column(confusion)
    panels = _panels(confusion, by)
    width = min(PAGE_WIDTH_IN / len(panels), 3.4)
    top_height = width + 0.5
    figure = new_figure(PAGE_WIDTH_IN, top_height + 3.6)
    halves: Any = figure.subfigures(2, 1, height_ratios=[top_height, 3.0])
    top, bottom = halves
    _draw_matrices(panels, list(top.subplots(1, len(panels), squeeze=False)[0]), width - 0.6)
    left, right = bottom.subplots(1, 2, width_ratios=[1, 1.25])
    plot_reliability(pick(reliability, "reliability", group_by="overall"), left)
    shown = classes[classes["group_by"] == (by or "overall")]
    plot_class_scores(shown, right)
    several = "n_runs" in classes and int(classes["n_runs"].max()) > 1
    lines = "± 1 SD over runs" if several else "95 % over speakers"
    right.set_xlabel(f"{right.get_xlabel()} (lines: {lines})")
    for ax in (left, right):
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=MOST_PANELS, columnspacing=0.9, handlelength=1.6
        )
    figure.suptitle(f"{_heading(confusion)}\n{_values(scores)}")
    return figure


@styled()
def draw_confusions(confusion: pd.DataFrame) -> Figure:
    """Draw the confusion matrix of all clips with counts, and those of a few groups.

    Args:
        confusion: Rows of one run on one corpus, or the mean over runs.

    Raises:
        AnalysisError: If the table is empty or lacks a column.
    """
    by = group_column(confusion)
    panels = _panels(confusion, by)
    n_rows, columns = grid_shape(len(panels), 2)
    width = min(PAGE_WIDTH_IN / columns, 4.6)
    figure, axes = new_panels(width * columns, (width + 0.2) * n_rows + 0.4, len(panels), columns)
    _draw_matrices(panels, axes, width - _LABELS_IN, counts=True, columns=columns)
    figure.suptitle(f"{_heading(confusion)}\npercent of the true class (clips)")
    return figure


@styled()
def draw_agreement(values: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Draw predicted against true values of each target, with its concordance.

    Args:
        values: Columns `target`, `true`, `predicted`, with those that name the model and the corpus.
        scores: Rows over all clips: `target`, `measure`, `value`, of one run or the mean over runs.

    Raises:
        AnalysisError: If there is nothing to draw.
    """
    need(values, ["target", "true", "predicted"], "predictions")
    targets = list(dict.fromkeys(values["target"]))[:_MOST_TARGETS]
    figure, axes = new_panels(PAGE_WIDTH_IN, PAGE_WIDTH_IN / max(2, len(targets)) + 1.0, len(targets))
    for ax, target in zip(axes, targets, strict=True):
        plot_agreement(values[values["target"] == target], ax)
        ax.set_title(f"{short(target)}\n{_values(scores[scores['target'] == target], ('ccc', 'rmse'))}")
    figure.suptitle(_heading(values))
    return figure


def draw_chosen(
    confusion: pd.DataFrame,
    *,
    reliability: pd.DataFrame | None = None,
    classes: pd.DataFrame | None = None,
    scores: pd.DataFrame | None = None,
) -> Figure:
    """Draw the page of the chosen checkpoint on one set of clips of a study; without the other tables its matrices.

    Args:
        confusion: Rows of `evaluation_confusion` of one set of clips and one corpus, of several checkpoints.
        reliability: The study's table of reliability, of all sets.
        classes: The study's table of scores per class, of all sets.
        scores: The study's table of scores, of all sets.
    """
    confusion = _chosen(confusion)
    if reliability is None or classes is None or scores is None:
        return draw_confusions(confusion)
    reliability, classes, scores = (_of_same_clips(table, confusion) for table in (reliability, classes, scores))
    return draw_evaluation(confusion, reliability, classes, scores[scores["group_by"] == "overall"])


def draw_chosen_agreement(values: pd.DataFrame, *, scores: pd.DataFrame | None = None) -> Figure:
    """Draw predicted against true values of the chosen checkpoint on one set of clips of a study.

    Args:
        values: Rows of `evaluation_agreement` of one set of clips and one corpus, of several checkpoints.
        scores: The study's table of scores, of all sets.
    """
    values = _chosen(values)
    if scores is None:
        return draw_agreement(values, pd.DataFrame(columns=["target", "measure", "value"]))
    scores = _of_same_clips(scores, values)
    return draw_agreement(values, scores[scores["group_by"] == "overall"])


@styled()
def draw_score_rows(scores: pd.DataFrame) -> Figure:
    """Draw what checkpoints reach on each set of clips, a panel a measure.

    Args:
        scores: The study's table of scores.

    Raises:
        AnalysisError: If it lacks a column.
    """
    need(scores, ["evaluated_on", "corpus", "step", "measure", "value", "ci_low", "ci_high", "n"], "evaluation")
    overall = scores[scores["group_by"] == "overall"]
    present = set(overall["measure"])
    measures = [name for name in ("uar", "accuracy", "macro_f1", "ccc") if name in present]
    measures = measures or [name for name in ("kl_divergence",) if name in present]
    overall = overall.assign(row=_row_names(overall))
    height_in = 1.5 + 0.2 * overall["row"].nunique() * overall["step"].nunique()
    figure, axes = new_panels(PAGE_WIDTH_IN, height_in, max(1, len(measures)), sharey=True)
    for ax, measure in zip(axes, measures, strict=True):
        plot_score_rows(pick(overall, "evaluation", measure=measure), ax)
        ax.set_xlabel(short_measure_name(measure))
    legend_below(figure, axes[0], MOST_PANELS)
    figure.suptitle(" · ".join([short(name) for name in overall["model"].unique()]))
    return figure


def _row_names(scores: pd.DataFrame) -> list[str]:
    """Return the name of each row: the set of clips, the corpus if there are several, and the numeric target."""
    several = scores.groupby("evaluated_on")["corpus"].transform("nunique") > 1
    names = []
    for record, has_several in zip(scores.to_dict("records"), several, strict=True):
        parts = [record["evaluated_on"], f"({record['corpus']})" if has_several else None, record.get("target")]
        names.append(f"{' '.join(short(part, 20) for part in parts if part)}\nn = {record['n']}")
    return names


def _chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the chosen checkpoint."""
    need(table, ["step", "best"], "evaluation")
    return table[table["step"] == chosen_step(table)]


def _of_same_clips(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the checkpoint, set of clips and corpus that another table is of."""
    for name in ("model", "evaluated_on", "corpus", "step"):
        table = table[table[name] == other[name].iloc[0]]
    return table


def _panels(confusion: pd.DataFrame, by: str | None) -> dict[str, pd.DataFrame]:
    """Return the matrices to draw, by title: of all clips, and of each group of a column."""
    panels = {"all clips": pick(confusion, "confusion", group_by="overall")}
    if by is not None:
        rows = confusion[confusion["group_by"] == by]
        panels |= {f"{by}: {short(group, 20)}": part for group, part in rows.groupby("group", sort=False)}
    for title, part in panels.items():
        if part.duplicated(["true", "predicted"]).any():
            raise AnalysisError(
                "A confusion matrix is drawn of one run or of the mean over runs",
                found=f"several rows of a pair of classes ({title})",
            )
    return panels


def _draw_matrices(
    panels: dict[str, pd.DataFrame],
    axes: list[Axes],
    width_in: float,
    *,
    counts: bool = False,
    columns: int | None = None,
) -> None:
    for i, (ax, (title, part)) in enumerate(zip(axes, panels.items(), strict=True)):
        plot_confusion(part, ax, width_in=width_in, counts=counts)
        clips = f"\nn = {part['count'].sum():.0f}" if "count" in part else ""
        ax.set_title(title + clips)
        if i % (columns or len(panels)):
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)


def _heading(table: pd.DataFrame) -> str:
    """Return a title of the model and the corpus, and of which run or how many."""
    named = ("model", "evaluated_on", "corpus")
    parts = [short(name) for column in named if column in table for name in table[column].unique()]
    if "n_runs" in table and int(table["n_runs"].max()) > 1:
        parts.append(f"mean of {int(table['n_runs'].max())} runs")
    elif "checkpoint" in table:
        parts += [short(name) for name in table["checkpoint"].unique()]
        parts += [f"seed {seed}" for seed in table["run_seed"].dropna().unique()]
    return " · ".join(parts)


def _values(scores: pd.DataFrame, measures: tuple[str, ...] = ("accuracy", "uar", "macro_f1", "ece")) -> str:
    """Return measures with their values as text."""
    values = dict(zip(scores["measure"], scores["value"], strict=True))
    return ", ".join(f"{short_measure_name(name)} {values[name]:.3f}" for name in measures if name in values)


_SCORES = """
What the checkpoints reach on each set of clips, with 95 % intervals over its speakers (none with fewer than three).
Step 0 is an untrained head, what chance gives. The validation speakers chose the best step, so their score looks better
than that of new speakers. Overlapping intervals do not show that two checkpoints are alike: both are scored on the same
speakers, and a speaker who is hard for one checkpoint is hard for the other.
"""

_PAGE = """
The chosen checkpoint: of each true class how many percent were taken for which, for all clips and for groups of
speakers; accuracy against confidence (on the diagonal: calibrated); recall per class with 95 % intervals over speakers.
A row is about one class however rare it is: see the counts in the tables. A difference between groups may be one
between these few speakers.
"""

_AGREEMENT = """
The chosen checkpoint: predicted against true values, a point per clip; exact predictions lie on the diagonal. A cloud
that is flatter than the diagonal means predictions close to the mean, which lowers the concordance (CCC) but not the
correlation. Clips of one speaker are not independent points.
"""

_of_each_set = partial(FigureSpec, apart=("model", "evaluated_on", "corpus"), named=("evaluated_on",))

CLASSIFIER_FIGURES: dict[str, FigureSpec] = {
    "evaluation_scores": FigureSpec(
        "Scores of the fine-tuned classifier", "evaluation", draw_score_rows, _SCORES, apart=("model",)
    ),
    "evaluation": _of_each_set("Predictions of the fine-tuned classifier", "evaluation_confusion", draw_chosen, _PAGE),
    "evaluation_agreement": _of_each_set(
        "Predicted and true values", "evaluation_agreement", draw_chosen_agreement, _AGREEMENT
    ),
}
"""What a study shows of the classifier that it fine-tuned."""
