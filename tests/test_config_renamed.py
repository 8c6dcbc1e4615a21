"""Keys that are called otherwise now: studies that have a former name load as before, with a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.config import load_study
from ser_probe.config.renamed import RENAMED, former_names, renamed_key, with_new_names
from ser_probe.errors import ConfigError

from .keys import walk_keys

LEAST = "name: x\ndata: {manifest: m.csv}\nbackbone: {name: tiny-wavlm-base}\n"
FORMER = """
analyze:
  probe:
    seeds: 3
    splits: study
  umap: {n_neighbors: 7}
evaluate:
  test_sets:
  - {name: away, manifest: other.csv, split: test}
  - {name: near, manifest: other.csv, split: all}
"""
NOW = """
analyze:
  probe:
    initialisations: 3
    division: study
  umap: {neighbours: 7}
evaluate:
  test_sets:
  - {name: away, manifest: other.csv, splits: test}
  - {name: near, manifest: other.csv, splits: all}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.yaml"


def test_a_former_study_is_the_study_of_now(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text(LEAST + NOW)
    study = load_study(path)
    assert not caplog.messages
    path.write_text(LEAST + FORMER)
    assert load_study(path) == study
    assert caplog.messages == [
        f"{former} is called {now} now; the former name goes with the next release"
        for former, now in (
            ("analyze.probe.seeds (line 7)", "analyze.probe.initialisations"),
            ("analyze.probe.splits (line 8)", "analyze.probe.division"),
            ("analyze.umap.n_neighbors (line 9)", "analyze.umap.neighbours"),
            ("evaluate.test_sets[0].split (line 12)", "evaluate.test_sets[0].splits"),
            ("evaluate.test_sets[1].split (line 13)", "evaluate.test_sets[1].splits"),
        )
    ]


def test_overrides_by_former_names(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text(LEAST)
    study = load_study(path, ["analyze.probe.seeds=3", "analyze.umap={n_neighbors: 4}"])
    assert study.analyze.probe.initialisations == 3  # type: ignore[attr-defined]
    assert study.analyze.umap.neighbours == 4  # type: ignore[attr-defined]
    assert "--set analyze.probe.seeds is called analyze.probe.initialisations now" in caplog.text
    assert "--set analyze.umap.n_neighbors is called analyze.umap.neighbours now" in caplog.text


def test_a_fault_is_said_of_the_line_that_was_written(path: Path) -> None:
    path.write_text(LEAST + "analyze:\n  probe:\n    seeds: none\n")
    with pytest.raises(ConfigError, match=r"analyze\.probe\.initialisations \(line 6\): expected a whole number"):
        load_study(path)


def test_both_names_are_one_too_many(path: Path) -> None:
    path.write_text(LEAST + "analyze: {probe: {seeds: 3, initialisations: 4}}\n")
    with pytest.raises(
        ConfigError, match=r"analyze\.probe\.seeds \(line 4\): is called analyze\.probe\.initialisations"
    ):
        load_study(path)


def test_the_table() -> None:
    keys = {*walk_keys(), "evaluate.test_sets.splits"}
    assert {renamed_key(former) for former in RENAMED} <= keys
    assert not {*RENAMED} & keys
    assert renamed_key("analyze.splits") == "analyze.splits"
    assert former_names("analyze.umap") == {"n_neighbors": "neighbours"}


def test_what_a_stage_was_made_from_is_read_by_the_names_of_now() -> None:
    before = {"analyze.probe": {"seeds": 3, "splits": "study"}, "analyze.splits": ["test"], "step": 1,
              "evaluate": {"test_sets": [{"name": "a", "split": "all"}], "splits": ["test"]}}  # fmt: skip
    assert with_new_names(before) == {
        "analyze.probe": {"initialisations": 3, "division": "study"}, "analyze.splits": ["test"], "step": 1,
        "evaluate": {"test_sets": [{"name": "a", "splits": "all"}], "splits": ["test"]},
    }  # fmt: skip
