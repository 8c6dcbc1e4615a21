from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from ser_probe.audio.load import load_clip
from ser_probe.embeddings.features import extract_features, feature_key
from ser_probe.embeddings.opensmile_sets import (
    DESCRIPTORS,
    EGEMAPS,
    FEATURE_SETS,
    FUNCTIONALS,
    descriptors,
    feature_names,
    functionals,
    ingredients,
)
from ser_probe.embeddings.passes import ClipList, Extraction
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AudioError, CacheError
from tests.embeddings.speech import SETTINGS, datasets, list_clips, with_workers
from tests.voices import voice

pytest.importorskip("opensmile")


def run(
    path: Path, clips: ClipList, *, feature_set: str = EGEMAPS, level: str = FUNCTIONALS, **options: object
) -> Extraction:
    return extract_features(path, clips, replace(SETTINGS, **options), feature_set=feature_set, level=level)


@pytest.fixture
def clips(write_clip: Callable[..., Path], tmp_path: Path) -> ClipList:
    return list_clips([write_clip(f"f1/{row}.wav", 0.4 + 0.1 * row, 110 + 25 * row) for row in range(5)], tmp_path)


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_file_holds_each_clips_functionals_in_the_manifests_order(
    feature_set: str, clips: ClipList, tmp_path: Path
) -> None:
    result = run(tmp_path / "x.h5", clips, feature_set=feature_set)
    assert (result.n_clips, result.n_computed, len(result.rejects), result.verify_error) == (5, 5, 0, None)
    with EmbeddingCache.open(tmp_path / "x.h5", result.key) as cache:
        assert cache.layer_names == (FUNCTIONALS,)
        assert cache.width == FEATURE_SETS[feature_set][FUNCTIONALS]
        assert cache.attributes["feature_names"] == feature_names(feature_set)
        assert cache.attributes["model"] == feature_set
        assert cache.clip_ids == clips.table["clip_id"].tolist()
        samples = [load_clip(path, SETTINGS.audio).samples for path in clips.paths]
        np.testing.assert_array_equal(cache.layer(FUNCTIONALS), functionals(samples, 16_000, feature_set))


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_descriptors_are_stored_frame_by_frame(feature_set: str, clips: ClipList, tmp_path: Path) -> None:
    run(tmp_path / "x.h5", ClipList(clips.table[:2], clips.paths[:2]), feature_set=feature_set, level=DESCRIPTORS)
    result = run(tmp_path / "x.h5", clips, feature_set=feature_set, level=DESCRIPTORS)
    assert (result.n_clips, result.n_computed, result.key.pooling) == (5, 3, "frames")
    with EmbeddingCache.open(tmp_path / "x.h5", result.key) as cache:
        assert (cache.ragged, cache.layer_names) == (True, ("descriptors",))
        assert cache.attributes["feature_names"] == feature_names(feature_set, DESCRIPTORS)
        assert cache.attributes["hop_s"] == 0.01
        assert cache.clip_ids == clips.table["clip_id"].tolist()
        for path, clip_id in zip(clips.paths, cache.clip_ids, strict=True):
            expected = descriptors(load_clip(path, SETTINGS.audio).samples, 16_000, feature_set)
            np.testing.assert_array_equal(cache.frames("descriptors", clip_id), expected)
            assert int(cache.clips["n_frames"][cache.clip_ids.index(clip_id)]) == len(expected)


@pytest.mark.parametrize("level", [FUNCTIONALS, DESCRIPTORS])
def test_workers_change_no_bit_and_a_second_run_computes_nothing(level: str, clips: ClipList, tmp_path: Path) -> None:
    run(tmp_path / "here.h5", clips, level=level, workers=0)
    run(tmp_path / "workers.h5", clips, level=level, workers=with_workers(1).workers)
    assert datasets(tmp_path / "here.h5") == datasets(tmp_path / "workers.h5")
    assert run(tmp_path / "here.h5", clips, level=level).n_computed == 0


def test_too_short_clip_is_rejected_under_its_files_name(
    clips: ClipList, write_clip: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = list_clips([*clips.paths, write_clip("f1/short.wav", 0.03)], tmp_path)
    result = run(tmp_path / "x.h5", both)
    assert result.rejects["path"].tolist() == ["f1/short.wav"]
    assert result.rejects["reason"][0].startswith("eGeMAPSv02 gives no finite number")
    assert str(tmp_path / "f1" / "short.wav") in caplog.text
    assert run(tmp_path / "x.h5", both).rejects["path"].tolist() == ["f1/short.wav"]
    with pytest.raises(AudioError, match=r"no finite number(.|\n)*f1/short\.wav"):
        run(tmp_path / "strict.h5", both, strict=True)


def test_a_clip_that_had_to_be_scaled_is_counted_and_said(
    clips: ClipList, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "f1" / "loud.wav"
    samples = voice(1, 110, 0.8)
    soundfile.write(path, samples / np.abs(samples).max() * 2, 16_000, subtype="FLOAT")
    result = run(tmp_path / "x.h5", list_clips([*clips.paths, path], tmp_path))
    assert (result.n_computed, result.n_scaled) == (6, 1)
    said = r"scaled down for opensmile by 6 dB, .* end at full scale \(1 clips, the first: f1/loud\.wav\)"
    assert re.search(said, caplog.text)
    assert run(tmp_path / "x.h5", list_clips([*clips.paths, path], tmp_path)).n_scaled == 0, "none was computed now"
    assert run(tmp_path / "y.h5", clips, level=DESCRIPTORS).n_scaled == 0


def test_the_same_sound_at_another_rate_has_the_same_features(tmp_path: Path) -> None:
    """opensmile hears 48 kHz as 1.8 times as loud as 16 kHz: samples come to it at the rate of the settings."""
    samples = voice(1, 110, 0.8)
    resampled = scipy.signal.resample_poly(samples, 3, 1)
    for rate_hz, content in ((16_000, samples), (48_000, resampled)):
        soundfile.write(tmp_path / f"{rate_hz}.wav", content, rate_hz, subtype="FLOAT")
    loudness = feature_names().index("loudness_sma3_amean")
    clips = list_clips([tmp_path / "16000.wav", tmp_path / "48000.wav"], tmp_path)
    result = run(tmp_path / "x.h5", clips)
    with EmbeddingCache.open(tmp_path / "x.h5", result.key) as cache:
        values = cache.layer(FUNCTIONALS)
    assert values[0, loudness] == pytest.approx(values[1, loudness], rel=0.01)
    as_it_is = functionals([resampled.astype(np.float32)], 48_000)[0]
    assert as_it_is[loudness] > 1.5 * values[0, loudness], "the counter-case"


def test_key_follows_the_features_and_the_audio(
    clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = feature_key(SETTINGS)
    assert key == feature_key(replace(SETTINGS, batch_seconds=9.0))
    louder = replace(SETTINGS, audio=replace(SETTINGS.audio, loudness_lufs=-23.0))
    keys = [key, feature_key(louder), *(feature_key(SETTINGS, name) for name in FEATURE_SETS if name != EGEMAPS)]
    keys += [feature_key(SETTINGS, name, DESCRIPTORS) for name in FEATURE_SETS]
    assert len({each.digest for each in keys}) == 7
    run(tmp_path / "x.h5", clips)
    with pytest.raises(CacheError, match="made from something else"):
        run(tmp_path / "x.h5", clips, audio=louder.audio)
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", lambda _package: "0")
        assert key != feature_key(SETTINGS)


def test_key_of_egemaps_is_that_of_the_files_there_are() -> None:
    key = feature_key(SETTINGS)
    assert (key.kind, key.weights, key.pooling, key.precision, key.layer_contract) == (
        "features", "eGeMAPSv02", "functionals", "fp32", 2,
    )  # fmt: skip
    assert key.architecture == ingredients()
    assert key.model_input == {"sample_rate_hz": 16_000}
