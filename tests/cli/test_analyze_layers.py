"""`analyze geometry` and `analyze acoustics` as commands: tables, what figures are drawn from, and messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.cli.main import app
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store_header import Layout
from ser_probe.steps.outcome import Outcome

N_CLIPS, N_SPEAKERS, WIDTH = 48, 4, 6
FEATURES = {"model": "eGeMAPSv02", "feature_names": ["F0semitone_amean", "loudness_amean"]}
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, rng: np.random.Generator) -> Write:
    """Write a finished file of 48 clips of four speakers; the first dimensions of all layers are the same."""
    row = np.arange(N_CLIPS)
    speaker = row % N_SPEAKERS
    clips = pd.DataFrame({
        "clip_id": [f"{number:032x}" for number in row],
        "path": [f"{number}.wav" for number in row],
        "label": np.array(["anger", "joy"])[row // N_SPEAKERS % 2],
        "speaker": [f"s{each}" for each in speaker],
        "gender": np.array(["female", "male"])[speaker % 2],
        "split": "test",
    })  # fmt: skip
    kept = rng.standard_normal((N_CLIPS, 2))

    def write_file(
        name: str, attributes: dict[str, Any], layers: Sequence[str] = ("0", "1"), width: int = WIDTH
    ) -> Path:
        path = tmp_path / f"{name}.h5"
        key = CacheKey("embeddings", name.encode().hex().zfill(64), {}, {}, {}, "mean", "fp32", 1)
        values = rng.standard_normal((len(layers), N_CLIPS, width)).astype(np.float32)
        values[..., :2] = kept
        with ShardWriter(path, key, Layout(tuple(layers), width, {})) as writer:
            writer.add(Rows(clips["clip_id"].tolist(), values, np.full(N_CLIPS, 50), np.ones(N_CLIPS)))
        seal(path, key, clips, attributes)
        return path

    return write_file


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The tables that figures were to be drawn from; drawing itself has tests of its own, and takes seconds."""
    tables: list[Path] = []

    def record(outcome: Outcome, output: Path, **_: object) -> Outcome:
        tables.extend(path for path in outcome.files if path.suffix == ".parquet")
        return outcome

    monkeypatch.setattr("ser_probe.steps.analyses.figures.draw_analysis", record)
    return tables


def tuned(write: Write, step: int) -> Path:
    return write(f"step-{step}", {"model": "tiny", "checkpoint": f"step-{step}", "step": step})


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["analyze", *map(str, words)])
    return int(ended.value.code or 0)


def test_geometry(write: Write, drawn: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "tables"
    options = [
        "--by",
        "label",
        "--factors",
        "label,speaker",
        "--permutations",
        2,
        "--components",
        3,
        "--rank-intervals",
    ]
    assert run("geometry", tuned(write, 0), tuned(write, 50), "-o", output, *options) == 0
    table = pd.read_csv(output / "geometry.csv")
    assert set(table.loc[table["measure"] == "silhouette", "factor"]) == {"label"}
    assert table.loc[table["measure"] == "rankme", "ci_low"].notna().all()
    assert pd.read_csv(output / "geometry_spectrum.csv")["component"].max() == 3
    assert [path.stem for path in drawn] == ["geometry_spectrum", "geometry"]
    assert "clips: 48" in capsys.readouterr().out


def test_acoustics(write: Write, drawn: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "tables"
    features = write("features", FEATURES, layers=("functionals",), width=2)
    random = write("random", {"model": "tiny", "checkpoint": "random"})
    options = ["--folds", 2, "--inner-folds", 2, "--transform", "rank", "--controls", "gender_only", "--random", random]
    caches = [tuned(write, 0), tuned(write, 50)]
    assert run("acoustics", *caches, "--features", features, "-o", output, *options) == 0
    table = pd.read_csv(output / "acoustics.csv")
    kept = table[(table["measure"] == "r2") & (table["control"] == "none")]
    assert kept["value"].min() > 0.8
    assert set(table["control"]) == {"none", "gender_only", "random_weights"}
    assert {path.stem for path in drawn} >= {"acoustics", "acoustics_changes", "acoustics_groups"}


def test_wrong_options_are_named(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = write("features", FEATURES, layers=("functionals",), width=2)
    assert run("acoustics", tuned(write, 0), "--features", features, "-o", tmp_path / "t", "--folds", 1) == 1
    assert "--folds: expected 2 or more" in capsys.readouterr().err
    assert run("geometry", tuned(write, 0), "-o", tmp_path / "t", "--permutations", -1) == 1
    assert "--permutations: expected 0 or more" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()
