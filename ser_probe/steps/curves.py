"""The verb `curves`: the training curves of one or many runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ser_probe.errors import AnalysisError
from ser_probe.models.model_folder import refuse_non_folder
from ser_probe.report.figures import write_figures
from ser_probe.report.training.figures import TRAINING_FIGURES
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import read_table, write_table


def compare_runs(runs: Sequence[Path], output: Path) -> Outcome:
    """Draw the curves of runs, each of one or several seeds.

    Args:
        runs: Folders of runs or studies, with `tables/training.parquet`; they are named after their folders.
        output: Folder for `training_runs.csv`, `.parquet`, `.png` and `.svg`.

    Raises:
        AnalysisError: If a folder has no training table, or the runs cannot be drawn.
    """
    tables = []
    for run, name in zip(runs, _names(runs), strict=True):
        refuse_non_folder(run.expanduser(), AnalysisError)
        if not (run / "tables" / "training.parquet").is_file():
            raise AnalysisError(
                "The folder holds no run of fine-tuning",
                where=run,
                expected="tables/training.parquet",
                fix="give a folder that ser-probe finetune or ser-probe run has written",
            )
        tables.append(read_table(run / "tables", "training").assign(run=name))
    table = pd.concat(tables, ignore_index=True)
    files = write_table(table, output, "training_runs")
    figures, undrawn = write_figures({"training_runs": table}, output, specs=TRAINING_FIGURES)
    if undrawn:
        raise AnalysisError("The curves cannot be drawn", found="; ".join(undrawn))
    return Outcome((*files, *(path for figure in figures for path in (figure.svg, figure.png))), {"runs": len(runs)})


def _names(runs: Sequence[Path]) -> list[str]:
    """Return what to call the runs: their folders' names, with as much of the path before as tells them apart."""
    parts = [run.resolve().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path[-depth:]) for path in parts]
        if len(set(names)) == len(set(parts)):
            return names
    return [str(run) for run in runs]
