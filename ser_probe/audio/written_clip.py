"""Writes prepared clips: the samples that a model would be fed, as files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ser_probe.audio.load import AudioSpec, Preparation, load_clip
from ser_probe.audio.loudness import measure_loudness
from ser_probe.files import atomic_path
from ser_probe.names.sample_formats import SAMPLE_FORMATS

_BITS = {"pcm24": 24, "pcm16": 16}


@dataclass(frozen=True)
class WrittenClip:
    """A clip that was prepared and written.

    Attributes:
        preparation: What was done to it.
        duration_s: Its duration now, in s.
        loudness_lufs: Its integrated loudness now; minus infinity below the gate of the measure.
        peak_dbfs: Its highest sample now, in dB of full scale.
        notes: Remarks on its preparation.
    """

    preparation: Preparation
    duration_s: float
    loudness_lufs: float
    peak_dbfs: float
    notes: tuple[str, ...]


def write_clip(source: Path, target: Path, spec: AudioSpec, sample_format: str = "float32") -> WrittenClip:
    """Prepare a clip as extraction does, and write it as a WAV file.

    Integers hold no sample beyond full scale: a louder clip is scaled down as a whole, with a note.

    Args:
        source: The clip's file.
        target: The file to write; replaced in one step.
        spec: How it is prepared.
        sample_format: A key of `SAMPLE_FORMATS`.

    Raises:
        AudioError: As `load_clip`.
    """
    clip = load_clip(source, spec)
    samples, notes = clip.samples, clip.notes
    stored: np.ndarray = samples
    if (bits := _BITS.get(sample_format)) is not None:
        highest, peak = 1 - 2.0 ** (1 - bits), float(np.abs(samples).max())
        if peak > highest:
            samples = samples * (highest / peak)
            lowered_db = 20 * math.log10(peak / highest)
            notes = (*notes, f"scaled down by {lowered_db:.1f} dB: {sample_format} holds no sample beyond full scale")
        stored, samples = _round(samples, bits)
    with atomic_path(target) as temporary:
        soundfile.write(temporary, stored, clip.sample_rate_hz, subtype=SAMPLE_FORMATS[sample_format], format="WAV")
    peak = float(np.abs(samples).max())
    return WrittenClip(
        preparation=clip.preparation,
        duration_s=len(samples) / clip.sample_rate_hz,
        loudness_lufs=measure_loudness(samples, clip.sample_rate_hz),
        peak_dbfs=20 * math.log10(peak) if peak > 0 else -math.inf,
        notes=notes,
    )


def _round(samples: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return samples as integers of so many bits, in the upper bits of int16 or int32, and their values.

    libsndfile 1.2.2 rounds floats down, which shifts every clip by half a step (`findings/libsndfile_rounds_down.sh`).
    """
    steps = np.rint(samples.astype(np.float64) * 2 ** (bits - 1)).astype(np.int32)
    stored = steps.astype(np.int16) if bits == 16 else steps << (32 - bits)
    return stored, steps / 2.0 ** (bits - 1)
