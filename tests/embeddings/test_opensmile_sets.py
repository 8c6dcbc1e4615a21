"""Acoustic features: the same numbers as opensmile's own reader gives, and messages for what it cannot do."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_probe.embeddings import opensmile_sets
from ser_probe.embeddings.opensmile_sets import (
    DESCRIPTOR_HOP_S,
    DESCRIPTORS,
    EGEMAPS,
    FEATURE_SETS,
    FUNCTIONALS,
    descriptors,
    feature_names,
    find_level,
    find_set,
    functionals,
    ingredients,
)
from ser_probe.errors import AudioError, ConfigError, MissingExtraError

opensmile = pytest.importorskip("opensmile")

RATE_HZ = 16_000


@pytest.fixture
def fresh_extractor() -> Iterator[None]:
    opensmile_sets._extractor.cache_clear()
    yield
    opensmile_sets._extractor.cache_clear()


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


@pytest.fixture
def clip_path(write_clip: Callable[..., Path]) -> Path:
    return write_clip("a.wav", 0.7)


@pytest.fixture
def clip(clip_path: Path) -> np.ndarray:
    return read(clip_path)


def process_file(path: Path, feature_set: str, level: str) -> object:
    """Return what opensmile makes of a file by itself."""
    smile_level = {FUNCTIONALS: "Functionals", DESCRIPTORS: "LowLevelDescriptors"}[level]
    return opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel[smile_level]).process_file(path)


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_equal_to_what_opensmile_makes_of_the_file(feature_set: str, clip_path: Path) -> None:
    table = process_file(clip_path, feature_set, FUNCTIONALS)
    values = functionals([read(clip_path)], RATE_HZ, feature_set)
    np.testing.assert_array_equal(values, table.to_numpy())
    assert (values.shape, values.dtype) == ((1, FEATURE_SETS[feature_set][FUNCTIONALS]), np.float32)
    assert feature_names(feature_set) == list(table.columns)

    table = process_file(clip_path, feature_set, DESCRIPTORS)
    values = descriptors(read(clip_path), RATE_HZ, feature_set)
    np.testing.assert_array_equal(values, table.to_numpy())
    assert (values.shape[1], values.dtype) == (FEATURE_SETS[feature_set][DESCRIPTORS], np.float32)
    assert feature_names(feature_set, DESCRIPTORS) == list(table.columns)
    starts_s = table.index.get_level_values("start").total_seconds()
    expected_s = np.arange(len(values)) * DESCRIPTOR_HOP_S
    if feature_set == "ComParE_2016":
        expected_s[-1] = expected_s[-2]  # of the frame that the smoothing leaves behind; its values are its own
    np.testing.assert_allclose(starts_s, expected_s)
    assert (values[-1] != values[-2]).any()
    assert len(values) == 66, "the last 40 ms of 0.7 s hold no whole window of pitch analysis"


def test_equal_to_what_opensmile_makes_of_a_real_file(emovo_root: Path) -> None:
    path = sorted(emovo_root.rglob("*.wav"))[0]
    np.testing.assert_array_equal(functionals([read(path)], RATE_HZ), process_file(path, EGEMAPS, FUNCTIONALS))
    np.testing.assert_array_equal(descriptors(read(path), RATE_HZ), process_file(path, EGEMAPS, DESCRIPTORS))


def test_a_functional_is_made_of_its_descriptor(clip: np.ndarray) -> None:
    loudness = descriptors(clip, RATE_HZ)[:, feature_names(level=DESCRIPTORS).index("Loudness_sma3")]
    amean = functionals([clip], RATE_HZ)[0, feature_names().index("loudness_sma3_amean")]
    assert amean == pytest.approx(loudness.mean(), rel=0.02)


def test_each_clip_stands_for_itself(write_clip: Callable[..., Path]) -> None:
    clips = [read(write_clip(f"{hz}.wav", duration, hz)) for hz, duration in ((110, 0.5), (220, 0.9), (160, 0.7))]
    together = functionals(clips, RATE_HZ)
    assert together.shape == (3, 88)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(together[::-1], functionals(clips[::-1], RATE_HZ))
    assert functionals([], RATE_HZ).shape == (0, 88)
    before = descriptors(clips[1], RATE_HZ)
    descriptors(clips[0], RATE_HZ)
    np.testing.assert_array_equal(descriptors(clips[1], RATE_HZ), before)


def test_an_octave_is_twelve_semitones_and_a_gain_changes_loudness_only(write_clip: Callable[..., Path]) -> None:
    names = feature_names()
    pitch, loudness = names.index("F0semitoneFrom27.5Hz_sma3nz_percentile50.0"), names.index("loudness_sma3_amean")
    low, high = (read(write_clip(f"{hz}.wav", 1.0, hz)) for hz in (110, 220))
    values = functionals([low, high, 0.25 * low], RATE_HZ)
    assert values[1, pitch] - values[0, pitch] == pytest.approx(12, abs=0.3)
    assert values[2, pitch] == pytest.approx(values[0, pitch], abs=0.1)
    assert values[2, loudness] < 0.8 * values[0, loudness]


def test_worker_processes_give_the_same(clip: np.ndarray) -> None:
    assert pickle.loads(pickle.dumps(functionals)) is functionals
    with ProcessPoolExecutor(max_workers=1) as pool:
        for feature_set in FEATURE_SETS:
            elsewhere = pool.submit(functionals, [clip], RATE_HZ, feature_set).result()
            np.testing.assert_array_equal(elsewhere, functionals([clip], RATE_HZ, feature_set))
            elsewhere = pool.submit(descriptors, clip, RATE_HZ, feature_set).result()
            np.testing.assert_array_equal(elsewhere, descriptors(clip, RATE_HZ, feature_set))


def test_ingredients_name_the_set_and_the_version() -> None:
    version = opensmile.__version__
    assert ingredients() == {
        "feature_set": "eGeMAPSv02", "feature_level": "functionals", "n_features": 88, "opensmile": version,
    }  # fmt: skip
    assert ingredients("ComParE_2016", DESCRIPTORS) == {
        "feature_set": "ComParE_2016", "feature_level": "lld", "n_features": 65, "opensmile": version,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("eGeMAPSv02", "eGeMAPSv02"),
        ("egemapsv02", "eGeMAPSv02"),
        ("EGEMAPS", "eGeMAPSv02"),
        ("gemapsv01B", "GeMAPSv01b"),
        ("compare_2016", "ComParE_2016"),
        ("microsoft/wavlm-base", None),
        ("runs/compare_2016/checkpoints/checkpoint-50", None),
        ("compare-runs", None),
        ("egemaps.h5", None),
    ],
)
def test_a_set_is_known_by_its_name_in_any_case(name: str, found: str | None) -> None:
    assert find_set(name) == found


@pytest.mark.parametrize(
    ("name", "meant"), [("eGeMAPSv01b", "'GeMAPSv01b' or 'eGeMAPSv02'"), ("ComParE_2013", "'ComParE_2016'")]
)
def test_a_set_that_is_not_offered_is_no_other_set(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"no such set(.|\n)*found: {name}(.|\n)*did you mean .*{meant}"):
        find_set(name)


def test_poolings_that_mean_a_level() -> None:
    assert (find_level(("mean",)), find_level(["frames"])) == (FUNCTIONALS, DESCRIPTORS)
    for poolings in (("max",), ("mean", "frames")):
        with pytest.raises(ConfigError, match=rf"no such pooling(.|\n)*functionals(.|\n)*found: {', '.join(poolings)}"):
            find_level(poolings)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_a_clip_too_short_for_the_features_is_an_error_that_names_them(
    feature_set: str, rng: np.random.Generator
) -> None:
    clips = [0.1 * rng.standard_normal(n) for n in (RATE_HZ, 700)]
    names, n_features = feature_names(feature_set), FEATURE_SETS[feature_set][FUNCTIONALS]
    message = rf"{feature_set} gives no finite number for {n_features} of {n_features} features(.|\n)*clip of 44 ms"
    with pytest.raises(AudioError, match=rf"{message}(.|\n)*{names[0][:6]}.* and {n_features - 3} more"):
        functionals(clips, RATE_HZ, feature_set)
    n_features = FEATURE_SETS[feature_set][DESCRIPTORS]
    with pytest.raises(AudioError, match=f"no finite number for {n_features} of {n_features} features"):
        descriptors(clips[1], RATE_HZ, feature_set)


@pytest.mark.usefixtures("fresh_extractor")
@pytest.mark.parametrize(
    "call",
    [
        feature_names,
        ingredients,
        lambda: functionals([np.zeros(RATE_HZ)], RATE_HZ),
        lambda: descriptors(np.zeros(RATE_HZ), RATE_HZ),
    ],
)
def test_without_opensmile_the_extra_is_named(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(MissingExtraError, match=r"extracting eGeMAPSv02(.|\n)*ser-probe\[egemaps\]"):
        call()
