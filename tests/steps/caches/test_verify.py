"""Verifying files: their bytes, and some clips computed again by the model they were made with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.audio.load import AudioSpec
from ser_probe.embeddings.extract import CacheRequest, extract
from ser_probe.embeddings.passes import ExtractionSettings
from ser_probe.embeddings.seal import seal, update_attributes
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import CacheError
from ser_probe.models.loading import load_backbone, save_backbone
from ser_probe.steps.caches.verify import verify_caches
from ser_probe.steps.extract import ModelSource, extract_sources

from ...embeddings.speech import list_clips
from ..conftest import FEATURES, small_study, tuned
from ..test_extract import few_clips

Write = Callable[..., Path]


def test_damage_is_named(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    path = write_cache("a", clips, tuned(0))
    content = bytearray(path.read_bytes())
    with EmbeddingCache.open(path) as cache:
        place = content.find(cache.layer("1").tobytes())
    content[place] ^= 1
    (tmp_path / "b.h5").write_bytes(content)
    for row in range(8):
        content[place + row * 32] ^= 2
    (tmp_path / "c.h5").write_bytes(content)
    (tmp_path / "d.h5").write_bytes(b"not an embedding file")
    rows = verify_caches([tmp_path])
    assert [row["state"] for row in rows] == ["ok", "damaged", "damaged", "damaged"]
    assert rows[0]["detail"] == "72 clips, 2 layers"
    assert rows[1]["detail"] == (f"layer 1 is not what was written; clip {clips['clip_id'][0]} is not what was written")
    assert rows[2]["detail"].endswith("4 more")
    assert len(rows[2]["faults"]) == 9
    assert "no embedding cache at all" in rows[3]["detail"]
    (tmp_path / "none").mkdir()
    with pytest.raises(CacheError, match="The folder holds no embedding file"):
        verify_caches([tmp_path / "none"])


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three clips and a cache of them by a tiny model."""
    import soundfile

    folder = tmp_path_factory.mktemp("extracted")
    rng = np.random.default_rng(3)
    paths = [folder / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        soundfile.write(path, 0.1 * rng.standard_normal(6000 + 1500 * number), 16_000)
    settings = ExtractionSettings(AudioSpec(loudness_lufs=-30.0), workers=0)
    target = CacheRequest(load_backbone("tiny-wavlm-base"), folder / "x.h5", "mean", {"audio_root": str(folder)})
    extract([target], list_clips(paths, folder), settings)
    return folder


@pytest.fixture
def cache_file(extracted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(extracted / "x.h5", tmp_path / "x.h5"))


def test_clips_are_computed_again_by_the_model_that_the_file_names(cache_file: Path) -> None:
    (row,) = verify_caches([cache_file], rerun=2)
    assert row["state"] == "ok"
    assert row["rerun"].startswith("2 clips differ by at most ")
    assert float(row["rerun"].split()[6].rstrip(",")) < 1e-5
    assert verify_caches([cache_file])[0]["rerun"] == ""


def test_values_that_the_model_does_not_give_are_found(cache_file: Path, extracted: Path) -> None:
    """As if they had been computed wrongly: the checksums are right."""
    with EmbeddingCache.open(cache_file) as cache:
        layout = Layout(cache.layer_names, cache.width, cache.aliases)
        values, clips, key, record = cache.array[:] * 1.01, cache.clips, cache.key, cache.attributes
    cache_file.unlink()
    with ShardWriter(cache_file, key, layout) as writer:
        writer.add(Rows(clips["clip_id"].tolist(), values, clips["n_frames"], clips["duration_s"]))
    seal(cache_file, key, clips, record)
    (row,) = verify_caches([cache_file], rerun=1)
    assert row["state"] == "differs"
    assert "differ by at most 1.0e-02, 1.0e-05 allowed" in row["rerun"]


def test_what_is_not_at_hand_is_a_fault_only_if_it_was_named(
    cache_file: Path, extracted: Path, tmp_path: Path, write_cache: Write, clips: pd.DataFrame
) -> None:
    other = tmp_path / "other"
    save_backbone(load_backbone("tiny-wavlm-base", random_weights=7), other)

    def rerun(**options: object) -> tuple[str, str]:
        (row,) = verify_caches([cache_file], rerun=1, **options)
        return row["state"], row["rerun"]

    state, said = rerun(model=str(other))
    assert state == "failed"
    assert "is not the one of the file: the model's weights" in said
    (tmp_path / "empty").mkdir()
    state, said = rerun(model=str(tmp_path / "empty"))
    assert state == "failed"
    assert "the model cannot be loaded" in said
    assert rerun(model="tiny-wavlm-base")[0] == "ok"
    state, said = rerun(audio_root=other)
    assert state == "failed"
    assert "no clip's audio is under" in said
    assert rerun(audio_root=extracted)[0] == "ok"

    update_attributes(cache_file, {"audio_root": str(other)})
    assert rerun()[0] == "ok"
    assert "no clip's audio is under" in rerun()[1]
    update_attributes(cache_file, {"model": "somebody/something"})
    state, said = rerun()
    assert state == "ok"
    assert said == "not run: the model 'somebody/something' is not on this machine; name it with --model"
    update_attributes(cache_file, {"source": str(other)})
    assert "is not the one of the file" in rerun()[1]
    features = write_cache("f", clips, FEATURES, layers=("functionals",))
    (row,) = verify_caches([features], rerun=1)
    assert row["rerun"] == "not run: the file holds features and no model's embeddings"


def test_random_weights_are_drawn_again(extracted: Path, tmp_path: Path) -> None:
    backbone = load_backbone("tiny-hubert-base", random_weights=5)
    clips = list_clips(sorted(extracted.glob("*.wav")), extracted)
    target = CacheRequest(backbone, tmp_path / "r.h5", "frames", {"audio_root": str(extracted)})
    extract([target], clips, ExtractionSettings(AudioSpec(), workers=0))
    (row,) = verify_caches([tmp_path / "r.h5"], rerun=3)
    assert row["state"] == "ok"
    assert row["rerun"].startswith("3 clips differ by at most ")


def test_model_and_audio_are_found_where_the_verb_found_them(corpus: Path) -> None:
    save_backbone(load_backbone("tiny-wavlm-base", random_weights=7), Path("mine/checkpoint-50"))
    manifest = few_clips()
    source = ModelSource("mine/checkpoint-50", "step-50", 50, model="tiny")
    ((result,),) = extract_sources([source], manifest, small_study(), Path("cache"))
    (row,) = verify_caches([result.path], rerun=2)
    assert row["state"] == "ok"
    assert row["rerun"].startswith("2 clips differ by at most ")
