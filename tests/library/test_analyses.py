"""Each analysis in memory: the tables of its step on the same files, nothing on disk, faults by argument."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ser_probe
from ser_probe import AnalysisResult
from ser_probe.config import DriftConfig, Section, SimilarityConfig
from ser_probe.errors import AnalysisError, ConfigError
from ser_probe.library.arrays import InMemory
from ser_probe.steps.analyses.entries import run_analysis
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.tables import read_table

from .conftest import Tiny

RUNS: dict[str, Callable[[Tiny], AnalysisResult]] = {
    "probe": lambda tiny: ser_probe.probe([tiny.before, tiny.after], tiny.labels, tiny.speakers, initialisations=1),
    "similarity": lambda tiny: ser_probe.similarity(tiny.before, tiny.after, speakers=tiny.speakers),
    "drift": lambda tiny: ser_probe.drift([tiny.before, tiny.after], speakers=tiny.speakers),
    "geometry": lambda tiny: ser_probe.geometry(tiny.before, tiny.labels, tiny.speakers, permutations=2),
    "acoustics": lambda tiny: ser_probe.acoustics(tiny.before, tiny.features, tiny.speakers),
    "umap": lambda tiny: ser_probe.umap(tiny.before, tiny.labels, tiny.speakers, layers=(1,), stability_seeds=1),
}


@pytest.mark.parametrize("name", RUNS)
def test_each_runs_on_arrays_and_writes_nothing(
    name: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUNS[name](tiny)
    assert result.name == name
    assert result.table is result.tables[name]
    assert len(result.table)
    assert f"<{name}: clips 72" in repr(result)
    assert list(tmp_path.iterdir()) == []


def test_the_signal_is_found_where_it_was_put(tiny: Tiny) -> None:
    result = ser_probe.probe(tiny.before, tiny.labels, tiny.speakers, families=("logistic",))
    assert result.best_layers["layer"].tolist() == ["1"]
    assert any("each of the 8 speakers is left out in turn" in note for note in result.notes)


@pytest.mark.parametrize("config", [DriftConfig(), SimilarityConfig(permutations=9, permuted="all")])
def test_arrays_give_the_tables_of_their_files(config: Section, tiny: Tiny, tmp_path: Path) -> None:
    ids = [f"{i:032x}" for i in range(72)]
    files = [InMemory(x, step=k).write(tmp_path / f"{k}.h5", ids) for k, x in enumerate((tiny.before, tiny.after))]
    clips = pd.DataFrame({"clip_id": ids, "speaker": tiny.speakers})
    name = "drift" if isinstance(config, DriftConfig) else "similarity"
    run_analysis(name, Inputs(tmp_path, caches=files, reference=files[0], clips=clips), config)
    both = [tiny.before, tiny.after]
    if name == "drift":
        result = ser_probe.drift(both, speakers=tiny.speakers)
    else:
        result = ser_probe.similarity(both, speakers=tiny.speakers, permutations=9, permuted="all")
        result = AnalysisResult(name, {name: result.table.replace("x", "array")})
    pd.testing.assert_frame_equal(result.table, read_table(tmp_path, name))


def test_files_are_taken_as_paths_and_as_caches(tiny: Tiny, tmp_path: Path) -> None:
    ids = [f"{i:032x}" for i in range(72)]
    path = InMemory(tiny.before, model="m").write(tmp_path / "x.h5", ids)
    with ser_probe.EmbeddingCache.open(path) as cache:
        tables = [ser_probe.similarity(each, permutations=0).table for each in (path, str(path), cache)]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], table)
    assert set(tables[0]["model_a"]) == {"m"}
    beside = ser_probe.similarity(path, tiny.after, measures=("cka",), permutations=0).table
    assert {*beside["model_a"], *beside["model_b"]} == {"m", "y"}


def test_the_tables_are_written_where_output_says(tiny: Tiny, tmp_path: Path) -> None:
    result = ser_probe.geometry(tiny.before, tiny.labels, permutations=0, output=tmp_path / "out")
    pd.testing.assert_frame_equal(read_table(tmp_path / "out", "geometry"), result.table)


def test_the_reference_of_drift(tiny: Tiny) -> None:
    def values(result: AnalysisResult) -> np.ndarray:
        rows = result.table[(result.table["against"] == "first") & (result.table["step"] == 1)]
        return rows["value"].to_numpy()

    together = values(ser_probe.drift([tiny.before, tiny.after]))
    np.testing.assert_array_equal(values(ser_probe.drift(tiny.after, tiny.before)), together)


@pytest.mark.parametrize(
    ("act", "kind", "said"),
    [
        (lambda t: ser_probe.probe(t.before, t.labels), AnalysisError, "no column 'speaker': give speakers"),
        (lambda t: ser_probe.probe(t.before, t.labels, t.speakers[1:]), AnalysisError, "where: speakers"),
        (
            lambda t: ser_probe.probe(t.before, t.labels, np.repeat(["a", "b"], 36)),
            AnalysisError,
            "set division to study_e_published",
        ),
        (lambda t: ser_probe.probe(t.before, t.labels, t.speakers, folds=1), ConfigError, "folds: expected 3 or more"),
        (lambda t: ser_probe.umap(t.before, layers=(7,)), AnalysisError, "There is no layer '7'"),
        (lambda t: ser_probe.umap(t.before, neighbours=60), AnalysisError, "to do: set neighbours lower"),
        (lambda t: ser_probe.geometry(t.before, by=("age",)), AnalysisError, "no column 'age'(.|\n)*where: by"),
        (lambda t: ser_probe.similarity(t.before, measures=("ckaa",)), ConfigError, "did you mean 'cka'"),
        (lambda t: ser_probe.drift(t.before, permutations=3), ConfigError, "no argument 'permutations'"),
        (lambda t: ser_probe.drift([t.before, t.after[:1]]), AnalysisError, "needs the same layers(.|\n)*caches-1"),
        (lambda t: ser_probe.acoustics(t.before, t.features, ["a", "b"] * 36), AnalysisError, "speakers"),
    ],
)
def test_faults_name_arguments(act: Callable[[Tiny], object], kind: type[Exception], said: str, tiny: Tiny) -> None:
    with pytest.raises(kind, match=said) as caught:
        act(tiny)
    assert "analyze." not in str(caught.value)
    assert "--" not in str(caught.value)
