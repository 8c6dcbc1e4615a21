"""Loudness against the standard's own reference, and what a gain does to it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from ser_probe.audio.loudness import MAX_GAIN_DB, level_to, measure_loudness

RATE_HZ = 16_000
# What EBU Tech 3341 allows a meter. At 16 kHz the meter's filters, which BS.1770 gives for 48 kHz, are 0.07 LU off.
REFERENCE_TOLERANCE_LU = 0.1
SAME_LU = 1e-6  # float64 sums of one clip at two levels


def sine(frequency_hz: float, duration_s: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    return np.sin(2 * np.pi * frequency_hz * np.arange(int(duration_s * rate_hz)) / rate_hz)


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_full_scale_997_hz_sine_measures_minus_3_01_lufs(rate_hz: int) -> None:
    # ITU-R BS.1770-4, Annex 1: a 0 dBFS, 997 Hz sine in one front channel reads -3.01 LKFS.
    assert measure_loudness(sine(997, 5, rate_hz), rate_hz) == pytest.approx(-3.01, abs=REFERENCE_TOLERANCE_LU)


def test_a_gain_moves_the_loudness_by_as_much(rng: np.random.Generator) -> None:
    clip = 0.1 * rng.standard_normal(RATE_HZ)
    quieter = measure_loudness(clip * 10 ** (-12 / 20), RATE_HZ)
    assert measure_loudness(clip, RATE_HZ) - quieter == pytest.approx(12, abs=SAME_LU)


def test_the_gate_leaves_pauses_out_and_a_plain_mean_would_not(rng: np.random.Generator) -> None:
    speech = 0.1 * rng.standard_normal(4 * RATE_HZ)
    with_pause = np.concatenate([speech, np.zeros(8 * RATE_HZ)])
    power_db = 10 * np.log10(np.mean(speech**2) / np.mean(with_pause**2))
    assert power_db > 4
    # The blocks that straddle the edge of the pause count in part.
    assert measure_loudness(with_pause, RATE_HZ) == pytest.approx(measure_loudness(speech, RATE_HZ), abs=0.3)


@pytest.mark.parametrize("duration_s", [0.025, 0.1, 0.399, 0.3999375, 0.4])
def test_a_clip_shorter_than_a_block_is_one_block(duration_s: float) -> None:
    tone = sine(997, duration_s)
    # The weighting filters need some milliseconds to settle, which a very short clip shows.
    assert measure_loudness(tone, RATE_HZ) == pytest.approx(-3.01, abs=0.5)
    notes = level_to(tone, RATE_HZ, -23).notes
    assert any("shorter than the 400 ms block" in note for note in notes) == (duration_s < 0.4)


def test_silence_and_what_is_under_the_gate_measure_minus_infinity(rng: np.random.Generator) -> None:
    assert measure_loudness(np.zeros(RATE_HZ), RATE_HZ) == -np.inf
    assert measure_loudness(1e-5 * rng.standard_normal(RATE_HZ), RATE_HZ) == -np.inf


@pytest.mark.parametrize("amplitude", [1e-3, 1e-6])
def test_the_gain_is_capped_and_said_for_a_very_quiet_clip(amplitude: float, rng: np.random.Generator) -> None:
    levelling = level_to(amplitude * rng.standard_normal(RATE_HZ), RATE_HZ, -10)
    assert levelling.gain_db == MAX_GAIN_DB
    assert "gain held at 40 dB" in levelling.notes[0]
    assert level_to(0.1 * rng.standard_normal(RATE_HZ), RATE_HZ, -10).notes == ()


def weigh_and_gate(samples: np.ndarray) -> float:
    """Return the integrated loudness of a mono clip at 48 kHz, from the text of ITU-R BS.1770-4, Annex 1.

    Its filters (tables 1 and 2), blocks of 400 ms every 100 ms as long as they are complete, both gates.
    """
    shelf = [1.53512485958697, -2.69169619938640, 1.19839281085285], [1, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0], [1, -1.99004745483398, 0.99007225036621]
    weighted = lfilter(*high_pass, lfilter(*shelf, samples))
    blocks = [weighted[at : at + 19_200] for at in range(0, len(weighted) - 19_200 + 1, 4_800)]
    powers = np.array([np.mean(block**2) for block in blocks])
    powers = powers[-0.691 + 10 * np.log10(powers) > -70]
    relative_gate = -0.691 + 10 * np.log10(powers.mean()) - 10
    return -0.691 + 10 * np.log10(powers[-0.691 + 10 * np.log10(powers) > relative_gate].mean())


def test_only_complete_blocks_count(rng: np.random.Generator) -> None:
    """pyloudnorm's filters are a constant 0.04 LU off the tables at 48 kHz; blocks and gates must add nothing."""
    import pyloudnorm

    ours, others = [], []
    for n_samples in (19_200, 21_599, 21_600, 22_300, 23_999, 24_000, 31_000, 38_600, 47_999, 52_801, 100_000):
        swell = 1.2 + np.sin(2 * np.pi * 3 * np.arange(n_samples) / 48_000)
        samples = 0.1 * swell * rng.standard_normal(n_samples)
        expected = weigh_and_gate(samples)
        ours.append(measure_loudness(samples, 48_000) - expected)
        others.append(pyloudnorm.Meter(48_000).integrated_loudness(samples) - expected)
    assert np.abs(ours).max() < REFERENCE_TOLERANCE_LU
    assert np.ptp(ours) < 0.005
    assert np.ptp(others) > 0.1, "the package alone: blocks that are not complete, some not counted at all"


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100])
def test_what_follows_the_last_complete_block_does_not_count(rate_hz: int, rng: np.random.Generator) -> None:
    samples = 0.1 * rng.standard_normal(rate_hz)
    for end_ms in (499, 450, 401):
        clip = samples[: end_ms * rate_hz // 1_000]
        louder = clip.copy()
        louder[-(-4 * rate_hz // 10) :] *= 30
        assert measure_loudness(clip, rate_hz) == measure_loudness(louder, rate_hz)
    assert measure_loudness(samples[: rate_hz // 2], rate_hz) != measure_loudness(samples[: rate_hz * 2 // 5], rate_hz)
