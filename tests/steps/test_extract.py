"""extract: one file a checkpoint, named by its key; the verb with its rejects."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import soundfile

from ser_probe.config import AudioConfig, SplitConfig, StudyConfig, check_options
from ser_probe.data.manifest import Manifest, write_manifest
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError, ConfigError
from ser_probe.steps import extract as module
from ser_probe.steps.extract import Source, audio_spec, extract_features, extract_manifest, extract_sources
from ser_probe.steps.prepare import prepare_clips, read_clips

from .conftest import HAS_EGEMAPS, OPTIONS, Said, small_study


def study(*overrides: str) -> StudyConfig:
    return check_options(StudyConfig, {**OPTIONS, "split.scheme": "manifest"}, ["analyze.umap=null", *overrides])


def test_several_sources_in_one_folder(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = prepare_clips(read_clips(small_study().data), AudioConfig(), SplitConfig()).manifest
    names = ("tiny-wavlm-base", "tiny-wavlm-large")
    sources = [Source(name, f"step-{step}", step) for step, name in enumerate(names)]
    results = extract_sources(sources, clips, small_study(), Path("cache"))
    for result, source in zip(results, sources, strict=True):
        assert result.path == Path(f"cache/tiny-wavlm-base-{result.key.short}.h5")
        assert (result.n_clips, result.n_computed) == (72, 72)
        with EmbeddingCache.open(result.path, expect_key=result.key) as cache:
            assert cache.attributes["checkpoint"] == source.checkpoint
            assert cache.attributes["model"] == "tiny-wavlm-base", "checkpoints of a study share its model's name"
    # Where memory holds one model at a time, the files are the same ones and nothing is computed again.
    monkeypatch.setattr(module, "_MODEL_BYTES_AT_ONCE", 0)
    again = extract_sources(sources, clips, small_study(), Path("cache"))
    assert [result.path for result in again] == [result.path for result in results]
    assert [result.n_computed for result in again] == [0, 0]
    # Another preparation of the audio is another file.
    louder = extract_sources(sources[:1], clips, small_study("audio.loudness_lufs=-20.0"), Path("cache"))
    assert louder[0].path not in {result.path for result in results}


def test_sources_of_equal_weights_share_a_file(corpus: Path) -> None:
    """The first step of a warm-up has a learning rate of 0: its checkpoint is step 0 again."""
    clips = prepare_clips(read_clips(small_study().data), AudioConfig(), SplitConfig()).manifest
    names = ("tiny-wavlm-base", "tiny-wavlm-base", "tiny-wavlm-large", "tiny-wavlm-base")
    sources = [Source(name, f"step-{step}", step) for step, name in enumerate(names)]
    results = extract_sources(sources, clips, small_study(), Path("cache"))
    assert [results.index(result) for result in results] == [0, 0, 2, 0]
    assert [result.n_computed for result in results] == [72] * 4
    with EmbeddingCache.open(results[0].path) as cache:
        assert cache.attributes["checkpoint"] == "step-0"


def test_the_audio_settings_arrive() -> None:
    config = check_options(AudioConfig, {"loudness_lufs": -20.0, "peak_dbfs": -1.0, "max_duration_s": 12.0})
    spec = audio_spec(config)
    found = (spec.sample_rate_hz, spec.loudness_lufs, spec.peak_dbfs, spec.max_duration_s)
    assert found == (16_000, -20.0, -1.0, 12.0)


def test_the_whole_verb(corpus: Path) -> None:
    soundfile.write(corpus / "s0-joy-0.wav", [0.0] * 9000, 16_000)
    said = Said()
    outcome = extract_manifest(study(), Path("out/x.h5"), progress=said)
    assert outcome.n_rejected == 1
    assert outcome.rejects == Path("out/x.rejects.csv")
    assert pd.read_csv("out/x.rejects.csv")["path"].to_list() == ["s0-joy-0.wav"]
    assert outcome.summary["clips"] == "71, 71 computed now"
    assert any("71 clips" in line and "1 clips left out" in line for line in said.lines)
    with EmbeddingCache.open(Path("out/x.h5")) as cache:
        assert cache.attributes["step"] == 0
        assert set(cache.clips["label"]) == {"anger", "joy", "sadness"}
    assert extract_manifest(study(), Path("out/x.h5")).summary["clips"] == "71, 0 computed now"
    samples, rate_hz = soundfile.read(corpus / "s0-joy-1.wav")
    soundfile.write(corpus / "s0-joy-0.wav", samples / 2, rate_hz)
    mended = extract_manifest(study(), Path("out/x.h5"))
    assert (mended.n_rejected, mended.rejects) == (0, None)
    assert not Path("out/x.rejects.csv").exists(), "a list of rejects that are none any more misleads"


def test_a_part_of_the_clips(corpus: Path) -> None:
    part = study("extract.splits=[test]", "analyze.splits=[test]", "analyze.probe=null")
    with pytest.raises(AnalysisError, match="The manifest has no column 'split'"):
        extract_manifest(part, Path("x.h5"))
    clips = prepare_clips(read_clips(small_study().data), AudioConfig(), SplitConfig()).manifest
    write_manifest(clips, corpus / "manifest.csv")
    extract_manifest(part, Path("x.h5"))
    with EmbeddingCache.open(Path("x.h5")) as cache:
        assert set(cache.clips["split"]) == {"test"}


@pytest.mark.skipif(not HAS_EGEMAPS, reason="opensmile is not installed")
def test_a_feature_set_by_its_name_in_any_case(corpus: Path) -> None:
    part = ("backbone.name=gemapsV01B", "extract.splits=[test]", "analyze.splits=[test]", "analyze.probe=null")
    clips = prepare_clips(read_clips(small_study().data), AudioConfig(), SplitConfig()).manifest
    write_manifest(clips, corpus / "manifest.csv")
    extract_manifest(study(*part), Path("x.h5"))
    with EmbeddingCache.open(Path("x.h5")) as cache:
        assert (cache.attributes["model"], cache.layer_names, cache.width) == ("GeMAPSv01b", ("functionals",), 62)
    extract_manifest(study(*part, "extract.pooling=frames"), Path("frames.h5"))
    with EmbeddingCache.open(Path("frames.h5")) as cache:
        assert (cache.ragged, cache.layer_names, cache.width) == (True, ("descriptors",), 18)
    with pytest.raises(ConfigError, match="Acoustic features know no such pooling"):
        extract_manifest(study(*part, "extract.pooling=max"), Path("max.h5"))


@pytest.mark.skipif(not HAS_EGEMAPS, reason="opensmile is not installed")
def test_files_of_features_are_named_by_set_level_and_key(corpus: Path) -> None:
    clips = prepare_clips(read_clips(small_study().data), AudioConfig(), SplitConfig()).manifest
    two = Manifest(clips.table[:2], clips.audio_root, clips.source)
    first = extract_features(two, small_study(), Path("cache"))
    assert first.path == Path(f"cache/eGeMAPSv02-{first.key.short}.h5")
    second = extract_features(two, small_study(), Path("cache"), level="lld")
    assert second.path == Path(f"cache/eGeMAPSv02-lld-{second.key.short}.h5")


def test_revision_and_seed_reach_the_backbone(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str | None, int | None]] = []

    def load(name: str, *, revision: str | None, random_weights: int | None, device: object) -> None:
        asked.append((revision, random_weights))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "load_backbone", load)
    config = study("backbone.name=owner/model", "backbone.revision=abc", "backbone.random_weights=3")
    with pytest.raises(KeyboardInterrupt):
        extract_manifest(config, Path("x.h5"))
    assert asked == [("abc", 3)]


def test_tables_say_that_weights_are_random() -> None:
    drawn = study("backbone.name=owner/model", "backbone.random_weights=3")
    name = "owner/model (random weights, seed 3)"
    assert module._model_name(Source("owner/model", "step-0", 0, None, 3), drawn) == name
    assert module._model_name(Source("runs/x/checkpoint-50", "step-50", 50), drawn) == name
    assert module._model_name(Source("owner/model", "step-0", 0), study("backbone.name=owner/model")) == "owner/model"


@pytest.mark.parametrize(
    ("name", "step"), [("runs/x/checkpoints/checkpoint-50", 50), ("checkpoint-0", 0), ("a/b", 0), ("50", 0)]
)
def test_a_checkpoint_folder_tells_its_step(name: str, step: int) -> None:
    assert module._step(name) == step
