"""Every property on made signals whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ser_probe.audio.sound_properties import measure_sound, sounding

RATE_HZ = 16_000
FRAME_TOLERANCE_S = 0.011  # silence is told in frames of 10 ms


def speech_like(rng: np.random.Generator, duration_s: float = 1.2, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Return syllables of a harmonic tone over a little noise up to half of the rate, mono `[n, 1]`."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * time_s)
    voice = sum(np.sin(2 * np.pi * 150 * k * time_s) / k for k in range(1, 12))
    return (0.1 * syllables * voice + 0.001 * rng.standard_normal(len(time_s)))[:, None].astype(np.float32)


def low_passed(samples: np.ndarray, rate_hz: int, cut_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(samples[:, 0])
    spectrum[np.fft.rfftfreq(len(samples), 1 / rate_hz) > cut_hz] = 0
    return np.fft.irfft(spectrum, len(samples))[:, None].astype(np.float32)


def as_pcm16(samples: np.ndarray) -> np.ndarray:
    return (np.round(samples * 32767) / 32768).astype(np.float32)


def test_padding_is_silence_and_zeros(rng: np.random.Generator) -> None:
    zeros = np.zeros((round(0.3 * RATE_HZ), 1), dtype=np.float32)
    found = measure_sound(np.concatenate([zeros, speech_like(rng), zeros[: len(zeros) // 2]]), RATE_HZ)
    assert found["duration_s"] == pytest.approx(1.65)
    assert found["leading_silence_s"] == pytest.approx(0.3, abs=FRAME_TOLERANCE_S)
    assert found["trailing_silence_s"] == pytest.approx(0.15, abs=FRAME_TOLERANCE_S)
    assert found["longest_zeros_s"] == pytest.approx(0.3, abs=1e-3)
    assert found["zeros_s"] == pytest.approx(0.45, abs=2e-3)


def test_room_noise_is_silence_and_no_zeros(rng: np.random.Generator) -> None:
    noise = (0.0005 * rng.standard_normal((round(0.25 * RATE_HZ), 1))).astype(np.float32)
    found = measure_sound(np.concatenate([noise, speech_like(rng), noise]), RATE_HZ)
    assert found["leading_silence_s"] == pytest.approx(0.25, abs=2 * FRAME_TOLERANCE_S)
    assert found["zeros_s"] == 0
    assert found["noise_floor_dbfs"] == pytest.approx(20 * math.log10(0.0005), abs=1.0)


def test_a_click_is_no_beginning_of_speech(rng: np.random.Generator) -> None:
    pause = np.zeros((round(0.5 * RATE_HZ), 1), dtype=np.float32)
    pause[1_600] = 0.5
    found = measure_sound(np.concatenate([pause, speech_like(rng)]), RATE_HZ)
    assert found["leading_silence_s"] == pytest.approx(0.5, abs=FRAME_TOLERANCE_S)


def test_where_speech_and_noise_are_equal_no_silence_is_counted(rng: np.random.Generator) -> None:
    found = measure_sound(rng.uniform(-0.3, 0.3, (RATE_HZ, 1)).astype(np.float32), RATE_HZ)
    assert found["leading_silence_s"] == found["trailing_silence_s"] == 0


def test_silence_does_not_depend_on_the_level(rng: np.random.Generator) -> None:
    pad = np.zeros((3_200, 1), dtype=np.float32)
    samples = np.concatenate([pad, speech_like(rng), pad])
    loud, quiet = measure_sound(samples, RATE_HZ), measure_sound(samples * 0.1, RATE_HZ)
    assert quiet["leading_silence_s"] == loud["leading_silence_s"]
    assert quiet["rms_dbfs"] == pytest.approx(loud["rms_dbfs"] - 20, abs=1e-3)
    assert quiet["peak_dbfs"] == pytest.approx(loud["peak_dbfs"] - 20, abs=1e-3)


@pytest.mark.parametrize("offset", [0.02, -0.02])
def test_an_offset_keeps_its_sign_and_is_no_level(rng: np.random.Generator, offset: float) -> None:
    samples = speech_like(rng)
    found, without = measure_sound(samples + np.float32(offset), RATE_HZ), measure_sound(samples, RATE_HZ)
    assert found["dc_offset"] == pytest.approx(offset, abs=1e-3)
    assert found["rms_dbfs"] == pytest.approx(without["rms_dbfs"], abs=1e-3)
    assert found["leading_silence_s"] == without["leading_silence_s"]


def test_clipped_samples_are_those_in_runs(rng: np.random.Generator) -> None:
    samples = speech_like(rng)
    samples[100] = 1.0  # a normalised peak
    assert measure_sound(samples, RATE_HZ)["clipped_share"] == 0
    samples[2_000:2_005] = -1.0
    assert measure_sound(samples, RATE_HZ)["clipped_share"] == pytest.approx(5 / len(samples))


@pytest.mark.parametrize(("rate_hz", "material_hz"), [(44_100, 16_000), (16_000, 8_000), (48_000, 22_050)])
def test_the_bandwidth_is_that_of_the_material(rng: np.random.Generator, rate_hz: int, material_hz: int) -> None:
    samples = speech_like(rng, rate_hz=rate_hz)
    whole = measure_sound(as_pcm16(samples), rate_hz)["bandwidth_hz"]
    narrow = measure_sound(as_pcm16(low_passed(samples, rate_hz, material_hz / 2)), rate_hz)["bandwidth_hz"]
    assert whole > 0.97 * rate_hz / 2
    assert narrow == pytest.approx(material_hz / 2, abs=250)


def test_noise_that_was_added_later_does_not_hide_the_bandwidth(rng: np.random.Generator) -> None:
    samples = low_passed(speech_like(rng) * 3, RATE_HZ, 4_000)
    noisy = samples + 0.0001 * rng.standard_normal(samples.shape).astype(np.float32)
    assert measure_sound(as_pcm16(noisy), RATE_HZ)["bandwidth_hz"] == pytest.approx(4_000, abs=250)


def test_channels_are_compared(rng: np.random.Generator) -> None:
    one = speech_like(rng)
    assert math.isnan(measure_sound(one, RATE_HZ)["channel_difference_db"])
    equal = measure_sound(np.repeat(one, 2, axis=1), RATE_HZ)
    assert (equal["channels"], equal["silent_channel"]) == (2, 0)
    assert math.isnan(equal["channel_difference_db"])
    # L - R is half of R, and the mean three quarters of it.
    half = measure_sound(np.concatenate([one / 2, one], axis=1), RATE_HZ)
    assert half["channel_difference_db"] == pytest.approx(20 * math.log10(0.5 / 0.75), abs=0.01)
    assert measure_sound(np.concatenate([one, one * 0], axis=1), RATE_HZ)["silent_channel"] == 1


def test_a_clip_of_zeros_has_no_level() -> None:
    found = measure_sound(np.zeros((RATE_HZ, 1), dtype=np.float32), RATE_HZ)
    assert all(math.isnan(found[name]) for name in ("rms_dbfs", "peak_dbfs", "noise_floor_dbfs", "bandwidth_hz"))
    assert found["longest_zeros_s"] == found["leading_silence_s"] == 1


def test_a_clip_of_few_frames_is_measured() -> None:
    assert sounding(np.array([-20.0])).all()
    assert measure_sound(np.full((20, 1), 0.1, dtype=np.float32), RATE_HZ)["duration_s"] == 20 / RATE_HZ
