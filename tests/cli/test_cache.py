"""The cache commands as a user types them: what they print, ask, and end with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.cli.main import app
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.notes import note_clips
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Layout
from ser_probe.steps.caches import export as cache_export
from ser_probe.steps.caches.ls import COLUMNS

Captured = pytest.CaptureFixture[str]
KEY = CacheKey(
    kind="embeddings", weights="0" * 64, architecture={"hidden_size": 4}, model_input={"sample_rate_hz": 16000},
    audio={"loudness_lufs": -23.0}, pooling="mean", precision="fp32", layer_contract=1,
)  # fmt: skip
IDS = [f"{row:032x}" for row in range(3)]
CLIPS = pd.DataFrame({"clip_id": IDS, "path": ["a.wav", "b.wav", "c.wav"]})


def commit(path: Path, key: CacheKey = KEY, n_clips: int = 3) -> None:
    values = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)
    with ShardWriter(path, key, Layout(("0", "1"), 4, {"final": "1"})) as writer:
        writer.add(Rows(IDS[:n_clips], values[:, :n_clips], [5, 6, 7][:n_clips], [0.1, 0.2, 0.3][:n_clips]))


@pytest.fixture
def cache_file(tmp_path: Path) -> Path:
    """A finished file: 3 clips, layers 0 and 1, width 4."""
    path = tmp_path / "cache" / "a.h5"
    commit(path)
    seal(path, KEY, CLIPS, {"model": "tiny\x1b[31m", "checkpoint": "step-0"})
    return path


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["cache", *map(str, words)])
    return int(ended.value.code or 0)


def test_info_prints_facts_and_no_control_characters(cache_file: Path, capsys: Captured) -> None:
    assert run("info", cache_file, cache_file) == 0
    shown = capsys.readouterr().out
    assert shown.count(KEY.digest) == 2
    assert "model         tiny\\x1b[31m, step-0\n" in shown
    assert "audio         loudness_lufs -23\n" in shown
    assert run("info", cache_file, "--json") == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert (facts["clips"], facts["key_ingredients"]["audio"]) == (3, {"loudness_lufs": -23.0})


def test_ls(cache_file: Path, capsys: Captured) -> None:
    begun, torn = cache_file.with_name("b.h5"), cache_file.with_name("c.h5")
    note_clips(begun, CLIPS)
    commit(begun, n_clips=2)
    torn.write_bytes(b"torn")
    assert run("ls", cache_file.parent) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == list(COLUMNS)
    assert f"{KEY.digest[:12]}" in lines[1]
    assert "finished" in lines[1]
    assert "2 of 3" in lines[2]
    assert "unfinished" in lines[2]
    assert "damaged: The embedding cache cannot be read" in lines[3]
    assert run("ls", cache_file.parent, "--json") == 0
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["finished", "unfinished", "damaged"]


def test_ls_of_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cache").mkdir()
    assert run("ls") == 0
    assert capsys.readouterr().err == "There is no embedding file here\n"


def test_verify_ends_with_1_where_something_is_damaged(cache_file: Path, capsys: Captured) -> None:
    assert run("verify", cache_file) == 0
    assert run("verify", cache_file, "--rerun", "2") == 0
    assert "is not on this machine; name it with --model" in capsys.readouterr().out
    content = bytearray(cache_file.read_bytes())
    with EmbeddingCache.open(cache_file) as cache:
        content[content.find(cache.layer("1").tobytes())] ^= 1
    cache_file.write_bytes(content)
    assert run("verify", cache_file, "--json") == 1
    (check,) = json.loads(capsys.readouterr().out)
    assert check["faults"] == ["layer 1 is not what was written", f"clip {IDS[0]} is not what was written"]


def test_merge(cache_file: Path, capsys: Captured) -> None:
    path = cache_file.with_name("b.h5")
    note_clips(path, CLIPS)
    commit(path, n_clips=2)
    assert run("merge", path) == 1
    shown = capsys.readouterr().out
    assert f"1 of 3 clips are not computed yet, so the cache cannot be finished: missing {IDS[2]}" in shown
    assert run("merge", path, "--allow-missing", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["state"], row["clips"]) == ("merged", 2)
    assert run("merge", cache_file) == 0
    assert "finished already" in capsys.readouterr().out


def test_export(cache_file: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    assert run("export", cache_file, "-o", out, "--layers", "1") == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    assert np.load(out / "layer-1.npy").shape == (3, 4)
    assert run("export", cache_file, "-o", out, "--format", "parquet") == 1
    assert run("export", cache_file, "-o", out, "--format", "parquet", "--layers", "all", "--force") == 0
    assert len(list(out.glob("*.parquet"))) == 2


def test_a_large_csv_is_asked_about(
    cache_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(cache_export, "ASK_ABOVE_BYTES", 10)
    out = tmp_path / "out"
    assert run("export", cache_file, "-o", out, "--format", "csv") == 1, "nobody answers"
    assert "The CSV files will take about" in capsys.readouterr().err
    assert not out.exists()
    assert run("export", cache_file, "-o", out, "--format", "csv", "--yes") == 0
    assert out.is_dir()


def test_prune_shows_and_asks(cache_file: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cache_file.parent
    commit(folder / "b.h5")
    assert run("prune", folder) == 0
    assert "There is nothing to remove" in capsys.readouterr().err, "this very process wrote it"
    monkeypatch.setattr("ser_probe.steps.caches.prune.is_alive", lambda _: False)
    assert run("prune", folder, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "unfinished extraction" in shown
    assert "1 would go" in shown
    assert run("prune", folder) == 1, "nobody answers"
    assert shards_folder(folder / "b.h5").exists()
    assert run("prune", folder, "--yes") == 0
    assert "removed 1, " in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["a.h5"]
    assert run("prune", folder, "--checkpoint", "step-0", "--yes") == 0
    assert list(folder.iterdir()) == []


def test_why(cache_file: Path, capsys: Captured) -> None:
    other = cache_file.with_name("b.h5")
    key = dataclasses.replace(KEY, audio={"loudness_lufs": None}, pooling="max")
    commit(other, key, n_clips=2)
    seal(other, key, CLIPS.head(2), {"model": "tiny", "checkpoint": "step-0"})
    assert run("why", cache_file, other) == 0
    shown = capsys.readouterr().out
    assert "The keys differ (first against second):\n" in shown
    assert "  - the audio preprocessing (loudness_lufs): -23.0 against none\n" in shown
    assert "  - the pooling: mean against max\n" in shown
    assert "  - 1 clips only in the first: c.wav\n" in shown
    assert run("why", cache_file, cache_file) == 0
    shown = capsys.readouterr().out
    assert shown == (
        "The keys are equal: both hold the same values for the same clip.\nClips:\n  - both hold the same 3 clips\n"
    )
    assert run("why", cache_file, other, "--json") == 0
    assert json.loads(capsys.readouterr().out)["same_key"] is False
