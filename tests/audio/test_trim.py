"""Silence before and after a clip is removed, within 0.1 s of where it was put, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.audio.trim import MARGIN_S, find_sounding_part
from ser_probe.errors import ConfigError

RATE = 16_000


def voice_like(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Syllables of a buzz with pauses between them, which begin and end with sound."""
    time = np.arange(round(seconds * RATE)) / RATE
    syllables = 0.15 + 0.85 * np.abs(np.sin(2 * np.pi * 2.2 * time + 1.0))
    return 0.2 * syllables * np.sign(np.sin(2 * np.pi * 130 * time)) + 1e-4 * rng.standard_normal(len(time))


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (0.3, 0.0), (0.0, 1.2), (0.75, 0.4)])
@pytest.mark.parametrize("noise", [0.0, 3e-4])
def test_known_padding_is_found(rng: np.random.Generator, before: float, after: float, noise: float) -> None:
    sound = voice_like(1.5, rng)
    padded = np.concatenate([np.zeros(round(before * RATE)), sound, np.zeros(round(after * RATE))])
    padded += noise * rng.standard_normal(len(padded))
    part = find_sounding_part(padded + 0.01, RATE, "energy")
    assert abs(part.start / RATE - max(0, before - MARGIN_S)) < 0.05
    assert abs((len(padded) - part.end) / RATE - max(0, after - MARGIN_S)) < 0.05
    assert part.notes == ()


def test_pauses_within_stay(rng: np.random.Generator) -> None:
    sound, pause = voice_like(0.6, rng), np.zeros(RATE)
    part = find_sounding_part(np.concatenate([sound, pause, sound]), RATE, "energy")
    assert (part.start, part.end) == (0, 2 * len(sound) + len(pause))


def test_what_cannot_be_told_stays(rng: np.random.Generator) -> None:
    steady = 0.01 * rng.standard_normal(RATE)
    assert find_sounding_part(steady, RATE, "energy").end == RATE
    part = find_sounding_part(np.zeros(RATE), RATE, "energy")
    assert (part.start, part.end) == (0, RATE)
    assert "nothing is removed" in part.notes[0]


def test_voice_activity(rng: np.random.Generator) -> None:
    pytest.importorskip("silero_vad")
    part = find_sounding_part(0.01 * rng.standard_normal(RATE), RATE, "voice")
    assert (part.start, part.end) == (0, RATE)
    assert "no speech was found" in part.notes[0]


def test_clips_are_cut_before_they_are_levelled(tmp_path: Path, rng: np.random.Generator) -> None:
    sound = voice_like(1.0, rng)
    path, bare = tmp_path / "padded.wav", tmp_path / "bare.wav"
    soundfile.write(path, np.concatenate([np.zeros(RATE), sound, np.zeros(RATE)]), RATE, subtype="FLOAT")
    soundfile.write(bare, sound, RATE, subtype="FLOAT")
    spec = AudioSpec(loudness_lufs=-23.0, trim="energy")
    clip = load_clip(path, spec)
    assert abs(len(clip.samples) - len(sound) - 2 * MARGIN_S * RATE) <= 0.02 * RATE
    assert len(load_clip(path, AudioSpec()).samples) == 3 * RATE
    level = np.abs(clip.samples).max() / np.abs(load_clip(bare, spec).samples).max()
    assert abs(20 * np.log10(level)) < 0.7, "silence does not count in the loudness"


def test_the_key_tells_the_trim_and_old_keys_stay() -> None:
    assert "trim" not in AudioSpec().ingredients()
    told = AudioSpec(trim="energy").ingredients()["trim"]
    assert (told["by"], told["margin_s"]) == ("energy", MARGIN_S)
    with pytest.raises(ConfigError, match=r"trim must be one of energy, voice\. Got 'vad'"):
        AudioSpec(trim="vad")
    with pytest.raises(ConfigError, match="'voice' needs a sample_rate_hz of 16000"):
        AudioSpec(trim="voice", sample_rate_hz=8000)


def test_a_click_alone_is_short_once_it_is_cut(tmp_path: Path) -> None:
    samples = np.zeros(RATE)
    samples[8000:8008] = 0.9
    soundfile.write(tmp_path / "click.wav", samples, RATE)
    assert len(load_clip(tmp_path / "click.wav", AudioSpec(trim="energy")).samples) < 0.2 * RATE
