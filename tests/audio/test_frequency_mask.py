"""The frequency mask: inside the band nothing, outside it nothing changed, and bands are drawn as SpecAugment's."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.audio.frequency_mask import FrequencyMask
from ser_probe.errors import ConfigError

RATE_HZ = 16_000
# float32 samples of size 1 are off by 6e-8 each; a transform of 16000 of them sums their errors as a random walk.
ROUNDING = 1e-4


def spectrum(samples: np.ndarray) -> np.ndarray:
    return np.fft.rfft(samples.astype(np.float64))


def masked(mask: FrequencyMask, samples: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the masked samples, and which components lie in the bands that this seed draws."""
    bands = mask.draw_bands(RATE_HZ, np.random.default_rng(seed))
    frequencies_hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    inside = np.zeros(len(frequencies_hz), dtype=bool)
    for low_hz, high_hz in bands:
        inside |= (frequencies_hz >= low_hz) & (frequencies_hz < high_hz)
    return mask.apply(samples, RATE_HZ, np.random.default_rng(seed)), inside


@pytest.mark.parametrize("n_samples", [16_000, 16_001, 8_191, 400])
@pytest.mark.parametrize("n_masks", [1, 3])
def test_the_band_is_gone_and_the_rest_is_as_it_was(n_samples: int, n_masks: int, rng: np.random.Generator) -> None:
    samples = rng.standard_normal(n_samples).astype(np.float32)
    mask = FrequencyMask(min_width_hz=500, max_width_hz=2000, n_masks=n_masks)
    found, inside = masked(mask, samples, seed=4)
    assert found.dtype == np.float32
    assert found.shape == samples.shape
    assert 0 < inside.sum() < len(inside)
    before, after = spectrum(samples), spectrum(found)
    np.testing.assert_allclose(after[~inside], before[~inside], atol=ROUNDING * np.abs(before).max())
    assert np.abs(after[inside]).max() < ROUNDING * np.abs(before).max()
    assert np.abs(before[inside]).mean() > 0.1 * np.abs(before).mean(), "there was something to take out"


def test_a_tone_in_the_band_is_silenced_and_one_outside_is_not() -> None:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    low, high = (np.sin(2 * np.pi * hz * time_s).astype(np.float32) for hz in (500, 3000))
    mask = FrequencyMask(min_width_hz=1000, max_width_hz=1000, low_hz=2500, high_hz=3500)
    found, _ = masked(mask, low + high, seed=0)
    np.testing.assert_allclose(found, low, atol=ROUNDING)


def test_attenuation_is_in_decibels() -> None:
    tone = np.sin(2 * np.pi * 3000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    mask = FrequencyMask(1000, 1000, low_hz=2500, high_hz=3500, attenuation_db=20.0)
    np.testing.assert_allclose(masked(mask, tone, seed=0)[0], tone / 10, atol=ROUNDING)


def test_it_is_linear_and_moves_with_the_clip(rng: np.random.Generator) -> None:
    one, other = rng.standard_normal((2, 4000)).astype(np.float32)
    mask = FrequencyMask(min_width_hz=300)
    both, _ = masked(mask, one + other, seed=1)
    np.testing.assert_allclose(both, masked(mask, one, 1)[0] + masked(mask, other, 1)[0], atol=ROUNDING)
    shifted, _ = masked(mask, np.roll(one, 700), seed=1)
    np.testing.assert_allclose(shifted, np.roll(masked(mask, one, 1)[0], 700), atol=ROUNDING)


def test_bands_are_uniform_in_width_and_stay_in_the_range() -> None:
    mask = FrequencyMask(min_width_hz=200, max_width_hz=1200, low_hz=100, high_hz=4000)
    rng = np.random.default_rng(0)
    low_hz, high_hz = np.array([mask.draw_bands(RATE_HZ, rng)[0] for _ in range(4000)]).T
    assert low_hz.min() >= 100
    assert high_hz.max() <= 4000
    widths_hz = high_hz - low_hz
    # Mean and deviation of a uniform draw, within four standard errors of 4000 of them.
    assert abs(widths_hz.mean() - 700) < 4 * 1000 / np.sqrt(12 * 4000)
    assert abs(widths_hz.std() - 1000 / np.sqrt(12)) < 10
    place = (low_hz - 100) / (4000 - 100 - widths_hz)
    assert abs(place.mean() - 0.5) < 4 / np.sqrt(12 * 4000)


def test_above_half_the_sampling_rate_there_is_nothing_to_mask() -> None:
    mask = FrequencyMask(min_width_hz=3000, max_width_hz=3000, low_hz=1000, high_hz=20_000)
    rng = np.random.default_rng(0)
    assert max(mask.draw_bands(8_000, rng)[0][1] for _ in range(50)) <= 4_000
    with pytest.raises(ConfigError, match=r"max_width_hz \(3000\) does not fit between 1000 and 3500 Hz"):
        mask.draw_bands(7_000, rng)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_width_hz": -1}, "min_width_hz must be a number of 0 or more, not -1"),
        ({"max_width_hz": "wide"}, "max_width_hz must be a number of 0 or more, not 'wide'"),
        ({"low_hz": float("nan")}, "low_hz must be a number of 0 or more, not nan"),
        ({"high_hz": True}, "high_hz must be a number of 0 or more, not True"),
        ({"attenuation_db": -3}, "attenuation_db must be a number of 0 or more, not -3"),
        ({"n_masks": 0}, "n_masks must be a whole number of 1 or more, not 0"),
        ({"n_masks": 1.5}, "n_masks must be a whole number of 1 or more, not 1.5"),
        ({"min_width_hz": 2000}, r"max_width_hz \(1000\) must not be below min_width_hz \(2000\)"),
        ({"low_hz": -1, "n_masks": 0}, "low_hz must be .*; n_masks must be"),
    ],
)
def test_values_out_of_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FrequencyMask(**values)  # type: ignore[arg-type]
