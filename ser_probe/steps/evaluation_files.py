"""The files of an evaluation: predictions, tables, the table for a paper, and the record of how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.config.evaluation import EvaluateConfig
from ser_probe.models.targets import Targets
from ser_probe.runtime import pick_device, run_record
from ser_probe.steps.evaluated_clips import EvaluatedClips
from ser_probe.steps.evaluation_latex import latex_scores
from ser_probe.steps.tables import replace_tables, replace_text, write_table
from ser_probe.steps.trained_runs import TrainedRun

TABLES = (
    *("scores", "summary", "classes", "class_summary"),
    *("confusion", "confusion_mean", "reliability", "left_out"),
)
"""The tables in `tables/`; those that an evaluation does not make are removed, so that none is outdated."""
LATEX = "scores.tex"


def write_tables(predictions: pd.DataFrame, tables: Mapping[str, pd.DataFrame], output: Path) -> list[Path]:
    """Write predictions and tables, and the table for a paper; remove those of an earlier evaluation."""
    files = write_table(predictions, output, "predictions")
    files += replace_tables(tables, output / "tables", TABLES)
    printed = latex_scores(tables["scores"], tables["summary"]) if "scores" in tables else None
    return files + replace_text(output / "tables" / LATEX, printed)


def evaluation_record(
    runs: Iterable[TrainedRun], targets: Targets, clips: EvaluatedClips, config: EvaluateConfig
) -> dict[str, Any]:
    """Return all that is needed to repeat the evaluation."""
    return {
        "runs": [
            {
                "model": run.model,
                "model_path": str(run.model_path),
                "run_seed": run.run_seed,
                "step": run.step,
                "checkpoint": str(run.checkpoint),
            }
            for run in runs
        ],
        "targets": targets.as_json(),
        "by": list(clips.by),
        "options": config.model_dump(mode="json"),
        **run_record(str(pick_device(config.device))),
    }
