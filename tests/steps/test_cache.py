"""Looking into embedding files, and finding the one that was damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.cli.main import app
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_file import Layout
from ser_probe.errors import CacheError
from ser_probe.steps.cache import describe_caches, verify_caches

KEY = CacheKey(
    kind="embeddings", weights="0" * 64, architecture={"hidden_size": 4}, model_input={"sample_rate_hz": 16000},
    audio={"loudness_lufs": -23.0}, pooling="mean", precision="fp32", layer_contract=1,
)  # fmt: skip


@pytest.fixture
def cache_file(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A finished file: 3 clips, layers 0 and 1, width 4."""
    path = tmp_path / "cache" / "a.h5"
    ids = [f"{row:032x}" for row in range(3)]
    values = rng.standard_normal((2, 3, 4)).astype(np.float32)
    with ShardWriter(path, KEY, Layout(("0", "1"), 4, {"final": "1"})) as writer:
        writer.add(Rows(ids, values, np.array([5, 6, 7]), np.array([0.1, 0.2, 0.3])))
    clips = pd.DataFrame({"clip_id": ids, "path": ["a.wav", "b.wav", "c.wav"]})
    seal(path, KEY, clips, {"model": "tiny\x1b[31m"})
    return path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["cache", *words])
    return int(ended.value.code or 0)


def test_describe(cache_file: Path) -> None:
    (facts,) = describe_caches([cache_file.parent])
    assert (facts["file"], facts["clips"], facts["width"]) == (str(cache_file), 3, 4)
    assert (facts["layers"], facts["aliases"]) == ("0 1", "final=1")
    assert (facts["key"], facts["key ingredients"]) == (KEY.digest, KEY.ingredients)


def test_info_prints_facts_and_no_control_characters(cache_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", str(cache_file), str(cache_file)) == 0
    shown = capsys.readouterr().out
    assert shown.count(f"key: {KEY.digest}") == 2
    assert "model: tiny\\x1b[31m" in shown
    assert run("info", str(cache_file), "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["clips"] == 3


def test_verify_finds_a_changed_value(cache_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (check,) = verify_caches([cache_file])
    assert (check["state"], check["detail"]) == ("ok", "3 clips, 2 layers")
    assert run("verify", str(cache_file)) == 0

    content = bytearray(cache_file.read_bytes())
    with EmbeddingCache.open(cache_file) as cache:
        place = content.find(cache.layer("1").tobytes())
    content[place] ^= 1
    damaged = cache_file.with_name("b.h5")
    damaged.write_bytes(content)
    broken = cache_file.with_name("c.h5")
    broken.write_bytes(b"not an embedding file")
    states = [check["state"] for check in verify_caches([cache_file.parent])]
    assert states == ["ok", "damaged", "damaged"]
    capsys.readouterr()
    assert run("verify", str(cache_file.parent)) == 1
    assert "layer 1 is not what was written" in capsys.readouterr().out


def test_nothing_to_look_into(tmp_path: Path) -> None:
    for look in (describe_caches, verify_caches):
        with pytest.raises(CacheError, match="The folder holds no embedding file"):
            look([tmp_path])
    with pytest.raises(CacheError, match="There is no embedding cache here"):
        describe_caches([tmp_path / "x.h5"])
