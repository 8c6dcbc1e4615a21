"""What analyses show: the figures and headline tables of all of them, and those of one run by its own command."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from ser_probe.config.analyses import ANALYSES
from ser_probe.report.corpora.warnings import pooling_warnings
from ser_probe.report.evaluation.figures import CLASSIFIER_FIGURES
from ser_probe.report.evaluation.headline import EVALUATION_HEADLINE
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.figures import write_figures
from ser_probe.report.headline import Headline
from ser_probe.report.headlines import headlines
from ser_probe.report.html import view_table
from ser_probe.report.training.figures import TRAINING_FIGURES
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.analyses.entries import load_named
from ser_probe.steps.outcome import Answer, Outcome
from ser_probe.steps.tables import read_tables


def report_figures() -> dict[str, FigureSpec]:
    """Return all figures of a report, in its order: of the classifier, of its training, and of every analysis."""
    figures = {**CLASSIFIER_FIGURES, **TRAINING_FIGURES}
    for analysis in ANALYSES.values():
        for place in analysis.figures:
            figures |= load_named(place)
    return figures


def report_headlines() -> tuple[Headline, ...]:
    """Return all headline tables of a report, in its order."""
    places = (place for analysis in ANALYSES.values() for place in analysis.headlines)
    return (EVALUATION_HEADLINE, *map(load_named, places))


def draw_analysis(outcome: Outcome, output: Path, *, progress: Progress = SILENT) -> Outcome:
    """Draw every figure that an analysis's tables allow into `output/figures`, and take the answers from them.

    Args:
        outcome: What the analysis wrote.
        output: The folder of its tables.
        progress: Told of what could not be drawn, and why.

    Returns:
        The outcome with the figures' files, the answers and the warnings added.
    """
    tables = read_tables(outcome.files)
    progress.start("figures", 1, "set")
    figures, undrawn = write_figures(tables, output / "figures", specs=report_figures())
    progress.advance()
    progress.finish()
    for line in undrawn:
        progress.say(f"not drawn: {line}")
    files = [path for figure in figures for path in (figure.png, figure.svg)]
    return dataclasses.replace(
        outcome,
        files=(*outcome.files, *files),
        answers=(*outcome.answers, *_answers(tables)),
        warnings=(*outcome.warnings, *pooling_warnings(tables)),
    )


def _answers(tables: Mapping[str, pd.DataFrame]) -> Iterator[Answer]:
    """Yield the rows at the head of a report on these tables."""
    for title, _, _, table in headlines(tables, report_headlines()):
        view = view_table(table, decimals=3)
        yield Answer(title, tuple(view.columns), tuple(map(tuple, view.rows)))
