"""A clip from one decoding: file, header and name beside the sound; copies in other forms have one fingerprint."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_probe.analysis.audit.near_copies import MOST_WRONG, find_near_copies
from ser_probe.audio.load import hear_clip, resample
from ser_probe.audio.measured_clip import MeasuredClip, measure_clip
from ser_probe.errors import AudioError
from tests.conftest import SHARED_DATA


def measure(path: Path) -> MeasuredClip:
    return measure_clip(path, max_duration_s=60)


def babble(rng: np.random.Generator, duration_s: float = 2.0, rate_hz: int = 16_000) -> np.ndarray:
    """Return noise whose bands rise and fall by themselves, as those of speech do, with a pause before and after."""
    n = round(duration_s * rate_hz)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / rate_hz)
    sound = np.zeros(n)
    for low in np.geomspace(200, 6_000, 24):
        band = np.fft.irfft(np.where((frequency >= low) & (frequency < 1.16 * low), spectrum, 0), n)
        gates = np.interp(np.arange(n), np.linspace(0, n, round(9 * duration_s)), rng.random(round(9 * duration_s)))
        sound += band * gates**2 * 200 / low
    pause = 0.0003 * rng.standard_normal(round(0.3 * rate_hz))
    return np.concatenate([pause, 0.5 * sound / np.abs(sound).max(), pause])


def test_the_file_is_measured_too(write_clip: Callable[..., Path]) -> None:
    path = write_clip("a.wav")
    found = measure(path)
    assert found.properties["file_format"] == "WAV PCM_16"
    assert found.properties["file_rate_hz"] == 16_000
    assert found.properties["header_bytes"] == 44
    assert (found.notes, found.fault) == ((), None)
    facts = hear_clip(path, max_duration_s=60)
    assert (found.clip_id, found.audio_id) == (facts.clip_id, facts.audio_id)
    assert found.properties["duration_s"] == facts.duration_s


def test_what_name_and_header_get_wrong(write_clip: Callable[..., Path], tmp_path: Path) -> None:
    path = write_clip("a.wav")
    samples, rate_hz = soundfile.read(path)
    soundfile.write(tmp_path / "b.aiff", samples, rate_hz)
    (tmp_path / "b.aiff").rename(tmp_path / "b.wav")
    other = measure(tmp_path / "b.wav")
    assert other.notes == ("AIFF named .wav",)
    assert other.audio_id == measure(path).audio_id
    content = bytearray(path.read_bytes())
    content[4:8] = (len(content) - 8 + 8).to_bytes(4, "little")
    path.write_bytes(content)
    assert measure(path).notes == ("the RIFF size is 8 bytes too large",)


def test_a_lossy_file_has_no_header_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    soundfile.write(tmp_path / "a.ogg", babble(rng), 16_000)
    assert math.isnan(float(measure(tmp_path / "a.ogg").properties["header_bytes"]))


def test_silence_is_measured_and_called_so(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    found = measure(tmp_path / "a.wav")
    assert found.fault == "The clip is silent"
    assert found.properties["zeros_s"] == 1
    assert not len(found.fingerprint)


def test_what_cannot_be_decoded_is_refused(tmp_path: Path, write_clip: Callable[..., Path]) -> None:
    (tmp_path / "a.wav").write_bytes(write_clip("b.wav").read_bytes()[:8_000])
    with pytest.raises(AudioError, match="cut short"):
        measure(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="too long"):
        measure_clip(write_clip("c.wav"), max_duration_s=0.1)
    soundfile.write(tmp_path / "d.wav", np.full(1_600, np.nan), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN"):
        measure(tmp_path / "d.wav")


def test_copies_in_other_forms_are_found_and_others_are_not(tmp_path: Path, rng: np.random.Generator) -> None:
    sound, other = babble(rng), babble(rng)
    copies = {
        "quiet.wav": (0.1 * sound, 16_000),
        "cut.wav": (sound[round(0.2 * 16_000) :], 16_000),
        "padded.wav": (np.concatenate([np.zeros(5_555), sound]), 16_000),
        "cd.flac": (resample(sound, 16_000, 44_100), 44_100),
        "phone.wav": (resample(sound, 16_000, 8_000), 8_000),
        "lossy.mp3": (sound, 16_000),
        "lossy.ogg": (sound, 16_000),
    }
    forms = {"plain.wav": (sound, 16_000), **copies, "other.wav": (other, 16_000)}
    for name, (samples, rate_hz) in forms.items():
        soundfile.write(tmp_path / name, samples, rate_hz)
    pairs = find_near_copies([measure(tmp_path / name).fingerprint for name in forms])
    linked = {0}
    for pair in sorted(pairs):
        assert pair.wrong_bits < MOST_WRONG / 2
        linked |= {pair.first, pair.second} if {pair.first, pair.second} & linked else set()
    assert linked == set(range(len(forms) - 1))


@pytest.mark.skipif(not (SHARED_DATA / "TESS").is_dir(), reason="TESS is not at hand")
def test_the_defects_of_tess() -> None:
    found = {path.name: measure(path) for path in sorted((SHARED_DATA / "TESS").rglob("*.wav"))}
    assert {name for name, clip in found.items() if clip.notes == ("AIFF named .wav",)} == {
        "YAF_germ_angry.wav", "YAF_neat_fear.wav",
    }  # fmt: skip
    assert found["OAF_food_fear.wav"].properties["file_rate_hz"] == 96_000
    clipped = {name for name, clip in found.items() if float(clip.properties["clipped_share"]) > 0}
    assert clipped == {"OAF_pad_ps.wav"}
    # A chunk of text names the speaker: it is in all files of one, but for the one at another rate.
    usual = {name: clip.properties["header_bytes"] for name, clip in found.items() if name != "OAF_food_fear.wav"}
    assert {size for name, size in usual.items() if name.startswith("OA")} == {56}
    assert {size for name, size in usual.items() if name.startswith("YAF")} == {44, 66}  # WAV, AIFF
