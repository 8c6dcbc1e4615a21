"""The figures of one analysis that was run by its own command, drawn from the tables it has just written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from ser_probe.report.figures import write_figures
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.outcome import Outcome


def draw_analysis(outcome: Outcome, output: Path, *, progress: Progress = SILENT) -> Outcome:
    """Draw every figure that an analysis's tables allow into `output/figures`.

    Args:
        outcome: What the analysis wrote.
        output: The folder of its tables.
        progress: Told of what could not be drawn, and why.

    Returns:
        The outcome with the figures' files added.
    """
    tables = {path.stem: pd.read_parquet(path) for path in outcome.files if path.suffix == ".parquet"}
    progress.start("figures", 1, "set")
    figures, undrawn = write_figures(tables, output / "figures")
    progress.advance()
    progress.finish()
    for line in undrawn:
        progress.say(f"not drawn: {line}")
    files = [path for figure in figures for path in (figure.png, figure.svg)]
    return dataclasses.replace(outcome, files=(*outcome.files, *files))
