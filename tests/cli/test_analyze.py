"""The analyses as commands: from embedding files to tables, and back with a message where that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.cli.main import app
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store_header import Layout

N_CLIPS, N_SPEAKERS, WIDTH = 72, 6, 8
Write = Callable[..., Path]


@pytest.fixture
def write_cache(tmp_path: Path, rng: np.random.Generator) -> Write:
    """Write a finished file: 72 clips of six speakers, two labels that layer 1 tells apart and layer 0 does not."""
    ids = [f"{row:032x}" for row in range(N_CLIPS)]
    speaker = np.arange(N_CLIPS) % N_SPEAKERS
    label = np.arange(N_CLIPS) // N_SPEAKERS % 2
    clips = pd.DataFrame({
        "clip_id": ids,
        "path": [f"{row}.wav" for row in range(N_CLIPS)],
        "label": np.array(["anger", "joy"])[label],
        "speaker": [f"s{each}" for each in speaker],
        "gender": np.array(["female", "male"])[speaker % 2],
        "split": np.array(["train", "train", "train", "train", "validation", "test"])[speaker],
    })  # fmt: skip

    def write(step: int) -> Path:
        path = tmp_path / f"step-{step}.h5"
        key = CacheKey("embeddings", f"{step:064x}", {}, {}, {}, "mean", "fp32", 1)
        values = rng.standard_normal((2, N_CLIPS, WIDTH)).astype(np.float32)
        values[1, :, 0] += 6 * label
        with ShardWriter(path, key, Layout(("0", "1"), WIDTH, {"final": "1"})) as writer:
            writer.add(Rows(ids, values, np.full(N_CLIPS, 50), np.ones(N_CLIPS)))
        seal(path, key, clips, {"model": "tiny", "checkpoint": f"step-{step}", "step": step})
        return path

    return write


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["analyze", *map(str, words)])
    return int(ended.value.code or 0)


def test_probe(write_cache: Write, tmp_path: Path) -> None:
    output = tmp_path / "tables"
    options = ["--division", "study", "--initialisations", 2, "--max-epochs", 60, "--controls", "majority_class"]
    assert run("probe", write_cache(0), "-o", output, *options) == 0
    table = pd.read_parquet(output / "probe.parquet")
    table = table[(table["measure"] == "uar") & (table["split"] == "test") & (table["control"] == "none")]
    scores = table.groupby("layer")["value"].mean()
    assert table["probe_seed"].nunique() == 2
    assert scores["1"] > 0.9
    assert scores["0"] < 0.8


def test_similarity(write_cache: Write, tmp_path: Path) -> None:
    output = tmp_path / "tables"
    assert run("similarity", write_cache(0), write_cache(50), "-o", output, "--measures", "cka_debiased") == 0
    table = pd.read_csv(output / "similarity.csv")
    assert set(table["measure"]) == {"cka_debiased"}
    assert {"model_a", "checkpoint_a", "layer_a", "model_b", "checkpoint_b", "layer_b", "value"} <= set(table.columns)
    assert (output / "figures" / "cka_layers.png").is_file()


def test_drift(write_cache: Write, tmp_path: Path) -> None:
    first, later = write_cache(0), write_cache(50)
    output = tmp_path / "tables"
    assert run("drift", first, later, "--reference", first, "-o", output, "--measures", "mean_cosine") == 0
    table = pd.read_parquet(output / "drift.parquet")
    assert set(table["measure"]) == {"mean_cosine"}
    assert set(table.loc[table["step"] == 50, "layer"]) == {"0", "1"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["probe", "--families", "liner"], "--families: expected 'linear', 'logistic', 'ridge'"),
        (["similarity", "--measures", "cca"], "--measures: expected 'cka_debiased'"),
        (["umap", "--layers", "0,last"], "--layers: expected a whole number or 'final'"),
        (["drift", "--reference", "x.h5", "--splits", "tset"], "--splits: expected 'train'"),
    ],
)
def test_options_are_checked_before_anything_is_read(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(words[0], tmp_path / "none.h5", "-o", tmp_path / "tables", *words[1:]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
