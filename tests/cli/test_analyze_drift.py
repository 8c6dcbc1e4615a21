"""`analyze drift` as a command: its options reach the step, and faults end in one message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from ser_probe.cli.main import app
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store_header import Layout

N = 48
Write = Callable[..., Path]


@pytest.fixture
def write_cache(tmp_path: Path, rng: np.random.Generator) -> Write:
    """Write a finished file of 48 clips of four speakers; equal `weights` make a repeat, up to a little noise."""
    base = rng.standard_normal((2, N, 6)) + 1
    clips = pd.DataFrame({
        "clip_id": [f"{row:032x}" for row in range(N)],
        "path": [f"{row}.wav" for row in range(N)],
        "label": np.array(["anger", "joy"])[np.arange(N) % 2],
        "speaker": [f"s{row % 4}" for row in range(N)],
    })  # fmt: skip

    def write(name: str, step: int, *, weights: str, noise: float) -> Path:
        path = tmp_path / f"{name}.h5"
        key = CacheKey("embeddings", weights * 64, {}, {}, {}, "mean", "fp32", 1, extra={"of": name})
        values = (base + noise * rng.standard_normal(base.shape)).astype(np.float32)
        with ShardWriter(path, key, Layout(("0", "1"), 6, {"final": "1"}, ragged=False)) as writer:
            writer.add(Rows(clips["clip_id"].tolist(), values, np.full(N, 50), np.ones(N)))
        seal(path, key, clips, {"model": "tiny", "checkpoint": f"step-{step}", "step": step, "pooling": "mean"})
        return path

    return write


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["analyze", "drift", *map(str, words)])
    return int(ended.value.code or 0)


def test_floor_seeds_weights_and_groups(
    write_cache: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(
        "ser_probe.steps.analyses.figures.write_figures",
        lambda tables, _folder, **_: ([], drawn.extend(tables) or []),
    )
    first = write_cache("first", 0, weights="a", noise=0)
    later = write_cache("later", 50, weights="b", noise=0.5)
    again = write_cache("again", 0, weights="a", noise=0.01)
    other = write_cache("other", 50, weights="c", noise=0.02)
    for step in (0, 50):
        folder = tmp_path / f"checkpoints/checkpoint-{step}"
        folder.mkdir(parents=True)
        save_file({"encoder.layers.0.q.weight": torch.full((2, 2), 1.0 + step)}, folder / "model.safetensors")
    words = ["--floor", again, "--seed-caches", other, "--weights", tmp_path / "checkpoints", "--by", "label",
             "--measures", "mean_cosine_centred,knn_overlap", "--neighbours", "3"]  # fmt: skip
    assert run(first, later, "--reference", first, "-o", tmp_path / "t", *words) == 0
    assert "layers above the floor at the last step: mean_cosine_centred: 0 of 2" in capsys.readouterr().out
    drift, groups, floor, weights = (
        pd.read_parquet(tmp_path / "t" / f"{name}.parquet")
        for name in ("drift", "drift_groups", "drift_floor", "weight_drift")
    )
    assert set(drift["measure"]) == {"mean_cosine_centred", "knn_overlap"}
    assert set(drift.loc[drift["measure"] == "knn_overlap", "baseline"]) == {3 / 47}
    assert set(groups["group_by"]) == {"label"}
    assert set(floor["kind"]) == {"repeat", "seed"}
    assert weights.query("step == 50 and against == 'first'")["value"].item() == 50
    assert drawn == ["drift", "drift_groups", "drift_floor", "weight_drift"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--measures", "procrustus"], "--measures: expected 'cka_debiased'"),
        (["--against", "last"], "--against: expected 'first' or 'previous', found 'last'"),
        (["--neighbours", "0"], "--neighbours: "),
        (["--weights", "nowhere"], "There is no such folder"),
    ],
)
def test_faults_come_before_anything_is_read(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "none.h5", "--reference", "none.h5", "-o", tmp_path / "t", *words) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
