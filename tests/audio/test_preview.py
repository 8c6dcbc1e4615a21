"""Previews are small FLAC files that sound like the clip."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_probe.audio.preview import PREVIEW_RATE_HZ, encode_preview
from ser_probe.errors import AudioError

from ..voices import RATE_HZ, voice


def test_a_preview_is_short_mono_and_the_same_voice(tmp_path: Path) -> None:
    samples = voice(1, 120, 1.0)
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.stack([samples, samples], axis=1), RATE_HZ, subtype="PCM_16")
    encoded = encode_preview(path)
    decoded, rate_hz = soundfile.read(io.BytesIO(encoded))
    assert encoded.startswith(b"fLaC")
    assert rate_hz == PREVIEW_RATE_HZ
    assert decoded.shape == (PREVIEW_RATE_HZ,)
    assert len(encoded) < path.stat().st_size / 4
    # Below 4 kHz it is the clip: the pulses' first harmonics have their levels.
    before, after = (np.abs(np.fft.rfft(each))[[120, 240, 360]] / len(each) for each in (samples, decoded))
    np.testing.assert_allclose(after, before, rtol=0.05)
    assert encode_preview(path) == encoded


@pytest.mark.parametrize("peak", [1.0, 3.0, 32_768.0])
def test_a_clip_at_or_over_full_scale_is_turned_down_and_does_not_wrap(tmp_path: Path, peak: float) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    path = tmp_path / "clip.wav"
    soundfile.write(path, peak * tone, RATE_HZ, subtype="FLOAT")
    decoded, _ = soundfile.read(io.BytesIO(encode_preview(path)))
    expected = np.sin(2 * np.pi * 440 * np.arange(PREVIEW_RATE_HZ) / PREVIEW_RATE_HZ)
    scale = decoded @ expected / (expected @ expected)
    assert 0.8 < scale < 1.001  # the resampler overshoots where the tone begins
    np.testing.assert_allclose(decoded[200:-200], scale * expected[200:-200], rtol=0, atol=2e-3)


def test_a_file_that_is_no_audio(tmp_path: Path) -> None:
    (tmp_path / "clip.wav").write_text("no audio")
    with pytest.raises(AudioError, match="cannot be opened as audio"):
        encode_preview(tmp_path / "clip.wav")
