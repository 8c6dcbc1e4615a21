"""Small copies of clips for listening in a page: mono, at telephone rate. Models never get them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

from ser_probe.audio.load import AudioSpec, load_clip

PREVIEW_RATE_HZ = 8_000
PREVIEW_TYPE = "audio/flac"


def encode_preview(path: Path, *, sample_rate_hz: int = PREVIEW_RATE_HZ) -> bytes:
    """Return a clip as the bytes of a small FLAC file: mono, 16 bit; about 8 kB a second at 8 kHz.

    Args:
        path: The clip.
        sample_rate_hz: Sampling rate of the preview, in Hz. 8 kHz keeps the voice's pitch and vowels.

    Raises:
        AudioError: If the clip cannot be decoded.
    """
    clip = load_clip(path, AudioSpec(sample_rate_hz=sample_rate_hz))
    # 16 bits end at 1: a louder clip is turned down, because clipping would sound like another recording.
    samples = clip.samples / max(1.0, float(np.abs(clip.samples).max()))
    stream = io.BytesIO()
    soundfile.write(stream, samples, clip.sample_rate_hz, format="FLAC", subtype="PCM_16")
    return stream.getvalue()
