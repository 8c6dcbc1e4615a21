"""What an analysis shows that was run by its own command: figures and answers, from the tables it has just written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from ser_probe.report.corpora.warnings import pooling_warnings
from ser_probe.report.figures import write_figures
from ser_probe.report.headlines import headlines
from ser_probe.report.html import view_table
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.outcome import Answer, Outcome


def draw_analysis(outcome: Outcome, output: Path, *, progress: Progress = SILENT) -> Outcome:
    """Draw every figure that an analysis's tables allow into `output/figures`, and take the answers from them.

    Args:
        outcome: What the analysis wrote.
        output: The folder of its tables.
        progress: Told of what could not be drawn, and why.

    Returns:
        The outcome with the figures' files, the answers and the warnings added.
    """
    tables = {path.stem: pd.read_parquet(path) for path in outcome.files if path.suffix == ".parquet"}
    progress.start("figures", 1, "set")
    figures, undrawn = write_figures(tables, output / "figures")
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
    for title, _, _, table in headlines(tables):
        view = view_table(table, decimals=3)
        yield Answer(title, tuple(view.columns), tuple(map(tuple, view.rows)))
