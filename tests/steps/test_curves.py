"""curves: runs side by side, from their tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.errors import AnalysisError
from ser_probe.report.training.figures import draw_runs
from ser_probe.steps.curves import compare_runs
from ser_probe.steps.tables import write_table


def write_run(folder: Path, seed: int, *, score: str = "uar") -> Path:
    steps = np.arange(0, 50, 10)
    rows = [
        *((seed, step, step / 10, "train", "loss", 2.0 - step / 50) for step in steps[1:]),
        *((seed, step, step / 10, "train", "learning_rate", 1e-4) for step in steps[1:]),
        *((seed, step, step / 10, "validation", "loss", 2.0 - step / 60) for step in steps),
        *((seed, step, step / 10, "validation", score, step / 60) for step in steps),
    ]
    table = pd.DataFrame(rows, columns=["run_seed", "step", "epoch", "split", "measure", "value"])
    write_table(table.assign(model="tiny"), folder / "tables", "training")
    return folder


def test_runs_are_drawn_beside_each_other(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name / "run", seed) for seed, name in enumerate(("a", "b"))]
    outcome = compare_runs([*runs, write_run(tmp_path / "c", 0, score="ccc")], tmp_path / "out")
    assert {path.suffix for path in outcome.files} == {".csv", ".parquet", ".png", ".svg"}
    table = pd.read_csv(tmp_path / "out" / "training_runs.csv")
    assert list(table["run"].unique()) == ["a/run", "b/run", f"{tmp_path.name}/c"]
    assert len(table) == 3 * 18


def test_no_run_is_cut_off_by_the_scale_of_another(tmp_path: Path) -> None:
    tables = []
    for name, factor in (("slow", 1.0), ("fast", 30.0)):
        table = pd.read_parquet(write_run(tmp_path / name, 0) / "tables" / "training.parquet").assign(run=name)
        table.loc[table["measure"] == "learning_rate", "value"] *= factor
        tables.append(table)
    figure = draw_runs(pd.concat(tables))
    for ax in figure.axes:
        for line in ax.get_lines():
            low, high = ax.get_ylim()
            assert low <= np.min(line.get_ydata())
            assert np.max(line.get_ydata()) <= high


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="holds no run of fine-tuning"):
        compare_runs([write_run(tmp_path / "a", 0), tmp_path], tmp_path / "out")


def test_too_many_runs_are_refused(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"run-{number}", 0) for number in range(9)]
    with pytest.raises(AnalysisError, match=r"cannot be drawn(.|\n)*Too many runs"):
        compare_runs(runs, tmp_path / "out")
