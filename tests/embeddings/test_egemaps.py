"""eGeMAPS: the same numbers as opensmile's own reader gives, and messages for what it cannot do."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_probe.embeddings import egemaps
from ser_probe.errors import AudioError, MissingExtraError

opensmile = pytest.importorskip("opensmile")

RATE_HZ = 16_000


@pytest.fixture
def fresh_extractor() -> Iterator[None]:
    egemaps._extractor.cache_clear()
    yield
    egemaps._extractor.cache_clear()


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def test_equal_to_what_opensmile_makes_of_the_file(emovo_root: Path) -> None:
    path = sorted(emovo_root.rglob("*.wav"))[0]
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    expected = smile.process_file(path)
    values = egemaps.functionals([read(path)], RATE_HZ)
    np.testing.assert_array_equal(values, expected.to_numpy())
    assert egemaps.feature_names() == list(expected.columns)


def test_each_clip_stands_for_itself(write_clip: Callable[..., Path]) -> None:
    clips = [read(write_clip(f"{hz}.wav", duration, hz)) for hz, duration in ((110, 0.5), (220, 0.9), (160, 0.7))]
    together = egemaps.functionals(clips, RATE_HZ)
    assert together.shape == (3, 88)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(together[::-1], egemaps.functionals(clips[::-1], RATE_HZ))
    assert egemaps.functionals([], RATE_HZ).shape == (0, 88)


def test_an_octave_is_twelve_semitones_and_a_gain_changes_loudness_only(write_clip: Callable[..., Path]) -> None:
    names = egemaps.feature_names()
    pitch, loudness = names.index("F0semitoneFrom27.5Hz_sma3nz_percentile50.0"), names.index("loudness_sma3_amean")
    low, high = (read(write_clip(f"{hz}.wav", 1.0, hz)) for hz in (110, 220))
    values = egemaps.functionals([low, high, 0.25 * low], RATE_HZ)
    assert values[1, pitch] - values[0, pitch] == pytest.approx(12, abs=0.3)
    assert values[2, pitch] == pytest.approx(values[0, pitch], abs=0.1)
    assert values[2, loudness] < 0.8 * values[0, loudness]


def test_worker_processes_give_the_same(write_clip: Callable[..., Path]) -> None:
    clip = read(write_clip("a.wav"))
    assert pickle.loads(pickle.dumps(egemaps.functionals)) is egemaps.functionals
    with ProcessPoolExecutor(max_workers=1) as pool:
        elsewhere = pool.submit(egemaps.functionals, [clip], RATE_HZ).result()
    np.testing.assert_array_equal(elsewhere, egemaps.functionals([clip], RATE_HZ))


def test_ingredients_name_the_set_and_the_version() -> None:
    assert egemaps.ingredients() == {
        "feature_set": "eGeMAPSv02",
        "feature_level": "functionals",
        "n_features": len(egemaps.feature_names()),
        "opensmile": opensmile.__version__,
    }


@pytest.mark.filterwarnings("error")
def test_a_clip_too_short_for_the_features_is_an_error_that_names_them(rng: np.random.Generator) -> None:
    clips = [0.1 * rng.standard_normal(n) for n in (RATE_HZ, 700)]
    message = "no finite number for 88 of 88 features(.|\n)*clip 1 of the batch, 44 ms(.|\n)*F0semitone.* and 85 more"
    with pytest.raises(AudioError, match=message):
        egemaps.functionals(clips, RATE_HZ)


@pytest.mark.usefixtures("fresh_extractor")
@pytest.mark.parametrize(
    "call", [egemaps.feature_names, egemaps.ingredients, lambda: egemaps.functionals([np.zeros(RATE_HZ)], RATE_HZ)]
)
def test_without_opensmile_the_extra_is_named(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(MissingExtraError, match=r"ser-probe\[egemaps\]"):
        call()
