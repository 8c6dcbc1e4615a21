"""No sample leaves opensmile's 16 bits: the features are continuous across full scale, at the clip's own level."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.embeddings.opensmile_level import reduction_db, restore_level
from ser_probe.embeddings.opensmile_sets import DESCRIPTORS, EGEMAPS, FEATURE_SETS, descriptors, feature_names
from ser_probe.embeddings.opensmile_sets import functionals as functionals_of
from ser_probe.errors import AudioError
from tests.voices import voice

pytest.importorskip("opensmile")

RATE_HZ = 16_000
NAMES = feature_names()
LEVEL_NAMES = [
    name
    for name in NAMES
    if (name.startswith(("loudness_", "spectralFlux")) and "stddevNorm" not in name) or name.startswith("equivalent")
]
SLOPE_NAMES = [name for name in NAMES if name.startswith("slope")]
FORMANTS = ("F1", "F2", "F3", "logRelF0-H1-A3")
# Cut to 16 bits at another level a clip is not quite the same. The roots of the linear prediction, from which the
# formants come, are the most easily moved.
CLOSE, FORMANTS_CLOSE = 0.01, 0.1


def functionals(*clips: np.ndarray) -> np.ndarray:
    return functionals_of(clips, RATE_HZ)


def differing(found: np.ndarray, expected: np.ndarray) -> list[str]:
    """Return the features, but those that follow the level, that are not the same in both."""
    relative = np.abs(found - expected) / np.maximum(np.abs(expected), 1e-6)
    return [
        name
        for name, difference in zip(NAMES, relative, strict=True)
        if name not in LEVEL_NAMES + SLOPE_NAMES
        and difference > (FORMANTS_CLOSE if name.startswith(FORMANTS) else CLOSE)
    ]


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """A voice whose highest sample is 1 exactly, and is its largest."""
    samples = voice(1, 110, 0.8)
    samples = samples * np.sign(samples[np.abs(samples).argmax()])
    return (samples / samples.max()).astype(np.float32)


@pytest.mark.parametrize("gain", [1.0, 1.0001, 1.3, 4.0])
def test_what_does_not_follow_the_level_is_the_same_across_full_scale(clip: np.ndarray, gain: float) -> None:
    assert clip.max() == 1
    loud, below, half = functionals(*(np.float32(each) * clip for each in (gain, 0.999, 0.5)))
    assert differing(loud, half) == []
    assert differing(loud, below) == []


def test_one_sample_of_the_wrong_sign_moves_a_third_of_the_features(clip: np.ndarray) -> None:
    """The counter-case: what opensmile's conversion makes of +1."""
    wrapped = np.where(clip >= 1, -clip, clip)
    assert (wrapped != clip).sum() == 1
    assert len(differing(*functionals(wrapped, np.float32(0.999) * clip))) > 20


@pytest.mark.parametrize("gain", [0.9, 1.3, 4.0])
def test_what_follows_the_level_follows_it_across_full_scale(clip: np.ndarray, gain: float) -> None:
    """Below full scale opensmile follows the law by itself, above it the level is restored."""
    values, half = functionals(np.float32(gain) * clip, np.float32(0.5) * clip)
    ratio = gain / 0.5
    for name in LEVEL_NAMES:
        number = NAMES.index(name)
        if name == "equivalentSoundLevel_dBp":
            assert values[number] - half[number] == pytest.approx(20 * np.log10(ratio), abs=0.01)
        else:
            exponent = 0.66 if name.startswith("loudness") else 1.0
            assert values[number] == pytest.approx(half[number] * ratio**exponent, rel=0.01), name


def test_slopes_shift_with_the_level_by_a_constant_a_decibel(clip: np.ndarray) -> None:
    """What the documentation says of the six features that are not restored."""
    names = feature_names(level=DESCRIPTORS)
    loud, quiet = (descriptors(np.float32(gain) * clip, RATE_HZ) for gain in (0.9, 0.225))
    for name, shift in (("slope0-500_sma3", -8.0e-4), ("slope500-1500_sma3", -5.455e-4)):
        number = names.index(name)
        found = np.median(loud[:, number] - quiet[:, number]) / (20 * np.log10(4))
        assert found == pytest.approx(shift, rel=0.03)


def test_descriptors_are_of_the_clips_own_level_too(clip: np.ndarray) -> None:
    names = feature_names(level=DESCRIPTORS)
    loud, half = descriptors(2 * clip, RATE_HZ), descriptors(np.float32(0.5) * clip, RATE_HZ)
    for name, exponent in (("Loudness_sma3", 0.66), ("spectralFlux_sma3", 1.0)):
        number = names.index(name)
        np.testing.assert_allclose(loud[2:, number], half[2:, number] * 4**exponent, rtol=0.05)


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_no_set_hears_a_wrapped_sample(feature_set: str, clip: np.ndarray) -> None:
    at, half, wrapped = functionals_of(
        [clip, np.float32(0.5) * clip, np.where(clip >= 1, -clip, clip)], RATE_HZ, feature_set
    )
    telling = ("mfcc1_sma3_amean", "mfcc_sma[1]_amean", "hammarbergIndexV_sma3nz_stddevNorm")
    number = next(number for number, name in enumerate(feature_names(feature_set)) if name in telling)
    assert at[number] == pytest.approx(half[number], rel=CLOSE)
    assert wrapped[number] != pytest.approx(half[number], rel=CLOSE)


def test_a_clip_below_full_scale_is_left_as_it_is(clip: np.ndarray) -> None:
    for samples in (np.float32(0.99999) * clip, -clip, np.zeros(0, np.float32)):
        assert reduction_db(samples) == 0
    own = _opensmile_alone(-clip)
    np.testing.assert_array_equal(functionals(-clip)[0], own)


def _opensmile_alone(samples: np.ndarray) -> np.ndarray:
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet[EGEMAPS], opensmile.FeatureLevel.Functionals)
    return smile.process_signal(samples, RATE_HZ).to_numpy()[0]


@pytest.mark.parametrize(("value", "expected_db"), [(1.0, 2.65e-4), (2.0, 6.0209), (-2.0, 6.0209), (-1.0001, 0.00113)])
def test_reduction_is_what_brings_the_largest_sample_into_the_range(value: float, expected_db: float) -> None:
    samples = np.array([0.1, value, -0.1], np.float32)
    reduced_db = reduction_db(samples)
    assert reduced_db == pytest.approx(expected_db, rel=0.02)
    cut = (samples * np.float32(10 ** (-reduced_db / 20)) * 32768).astype(np.int64)
    assert (cut >= -32768).all()
    assert (cut <= 32767).all()


def test_levels_of_compares_features_are_not_restored() -> None:
    names = feature_names("ComParE_2016")
    values = np.linspace(-1, 1, len(names), dtype=np.float32)[None]
    np.testing.assert_array_equal(restore_level(values, names, 6.0), values)
    moved = restore_level(np.ones((1, 88), np.float32), NAMES, 6.0)[0] != 1
    assert [name for name, is_moved in zip(NAMES, moved, strict=True) if is_moved] == LEVEL_NAMES


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_refused(clip: np.ndarray, bad: float) -> None:
    spoilt = clip.copy()
    spoilt[100] = bad
    with pytest.raises(AudioError, match="NaN or infinite"):
        functionals(spoilt)
