"""Analyses by their entries: by its own command and inside `run` each gives the same tables, and one can be added."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.projection import UmapPanels
from ser_probe.cli.main import app
from ser_probe.config import study_yaml
from ser_probe.config.analyses import ANALYSES
from ser_probe.steps.study.run import run_study

from ..conftest import HAS_EGEMAPS, small_study

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path("runs/small")
MAPS = "analyze.umap={layers: [final], stability_seeds: 1}"
"""The study of the fixture has no maps."""


class Files:
    """The files of a finished study that commands are given."""

    def __init__(self) -> None:
        listed = json.loads((FOLDER / "caches.json").read_text(encoding="utf-8"))
        by_name = {entry["checkpoint"]: entry["path"] for entry in listed}
        self.random = by_name.pop("random-weights")
        self.caches = list(by_name.values())
        self.clips = ["--clips", FOLDER / "manifest.csv"]
        stamp = json.loads((FOLDER / ".stages" / "repeat.json").read_text(encoding="utf-8"))
        self.repeats = [word for path in stamp["outputs"] for word in ("--floor", path)]
        self.features = [word for path in Path("cache").glob("eGeMAPS*.h5") for word in ("--features", path)]


WORDS: dict[str, Callable[[Files], list[object]]] = {
    "probe": lambda files: [
        *files.caches, *files.clips, *files.features, "--random", files.random, "--division", "study",
        "--max-epochs", 20, "--initialisations", 2,
    ],
    "similarity": lambda files: [*files.caches, *files.clips, *files.features],
    "drift": lambda files: [
        *files.caches, *files.clips, *files.repeats, "--reference", files.caches[0],
        "--weights", FOLDER / "checkpoints",
    ],
    "geometry": lambda files: [*files.caches, *files.clips],
    "acoustics": lambda files: [
        *files.caches, *files.clips, "--features", files.features[-1], "--random", files.random,
    ],
    "umap": lambda files: [
        *files.caches, *files.clips, "--layers", "final", "--stability-seeds", 1,
    ],
    "stats": lambda _: [
        FOLDER / "tables" / "probe.parquet", "--response", "value", "--factors", "step,layer", "--pairs", "first",
        "--where", "measure=uar,split=test,control=none,feature=embedding", "--contrasts", "step:layer",
        "--apart", "corpus,model,target,family,pooling,feature", "--unit", "probe_seed",
    ],
}  # fmt: skip
"""What the command of each analysis is given, to do what the study does."""


@pytest.mark.parametrize("name", ANALYSES)
def test_a_command_and_a_study_give_the_same_tables(
    name: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "features" in ANALYSES[name].requires and not HAS_EGEMAPS:
        pytest.skip("needs opensmile")
    # Drawing has tests of its own.
    monkeypatch.setattr("ser_probe.steps.analyses.figures.write_figures", lambda *_, **__: ([], []))
    if name == "umap":
        monkeypatch.setattr("ser_probe.steps.analyses.umap.umap_panels", lay_out)
        run_study(small_study(MAPS))
    with pytest.raises(SystemExit) as ended:
        app(["analyze", name, *map(str, WORDS[name](Files())), "-o", str(tmp_path / "out")])
    assert ended.value.code in (0, None)
    written, of_study = tables_of(name, tmp_path / "out"), tables_of(name, FOLDER / "tables")
    assert list(written) == list(of_study) != []
    for table, rows in written.items():
        pd.testing.assert_frame_equal(rows, of_study[table][rows.columns], obj=table)


def lay_out(first: np.ndarray, later: Sequence[np.ndarray], **_: object) -> UmapPanels:
    """Return the first two features of every clip in place of a map, which takes long and has tests of its own."""
    states = [first, *later]
    return UmapPanels([state[:, :2] for state in states], [1.0] * len(states), "joint")


def tables_of(name: str, folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of an analysis that lie in a folder, without the columns that a study adds or knows better."""
    paths = {table: folder / f"{table}.parquet" for table in ANALYSES[name].tables}
    known = ["corpus", "run_seed", "analysis", "division_reason"]
    return {
        table: pd.read_parquet(path).drop(columns=known, errors="ignore")
        for table, path in paths.items()
        if path.is_file()
    }


PLUGIN = """
import sys
from ser_probe.config.analyses import register
from tests.toy_analysis import ANALYSIS
register(ANALYSIS)
from ser_probe.cli.main import app
app(sys.argv[1:])
"""
"""A script that adds the analysis and goes on as the command line does."""


def run_with_the_toy(*words: str) -> str:
    """Run a command in a process of its own, since the sections of a study are settled once; return what it printed."""
    done = subprocess.run([sys.executable, "-c", PLUGIN, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_analysis_of_one_file_and_one_line_is_in_a_study_and_in_its_report(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    off = [f"analyze.{name}=null" for name in ANALYSES]
    Path("study.yaml").write_text(study_yaml(small_study(*off, "evaluate=null", "output.figures=true")))
    run_with_the_toy("run", "study.yaml")
    toy = pd.read_parquet(FOLDER / "tables" / "toy.parquet")
    assert set(toy["step"]) == {0, 2, 4}
    assert set(toy["run_seed"]) == {0}
    config = (FOLDER / "config.yaml").read_text(encoding="utf-8")
    assert "  toy:\n    column: label\n" in config
    report = (FOLDER / "report.html").read_text(encoding="utf-8")
    assert (FOLDER / "figures" / "toy.png").is_file()
    for shown in ("Where vectors are longest", "Length of vectors", "<summary>toy"):
        assert shown in report
    assert "  toy " in run_with_the_toy("analyze", "--help")
    page = run_with_the_toy("analyze", "toy", "--help")
    assert "How long the vectors of each layer are." in page
    assert re.search(r"--column <str> +Column of the clips by whose values lengths are given", page)
    run_with_the_toy("analyze", "toy", *map(str, Files().caches), "--column", "speaker", "-o", "out")
    assert set(pd.read_parquet("out/toy.parquet")["layer"]) == set(toy["layer"])
