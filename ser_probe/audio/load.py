"""Decode a clip: file -> mono -> resampled -> levelled. With `load_file` the door to soundfile, and that to soxr.

The result depends on the file and the `AudioSpec` alone, not on the process, its threads, or other clips.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ser_probe.audio.load_file import check_not_too_short, decode_file, open_file
from ser_probe.audio.loudness import BLOCK_S, MAX_GAIN_DB, level_to
from ser_probe.audio.speech import SAMPLE_RATE_HZ as SPEECH_RATE_HZ
from ser_probe.audio.trim import find_sounding_part
from ser_probe.audio.trim import ingredients as trim_ingredients
from ser_probe.clip_length import MIN_DURATION_S
from ser_probe.errors import AudioError, ConfigError, MissingExtraError, collect
from ser_probe.files import content_id
from ser_probe.names.trims import TRIMS

try:
    import soxr
except (ImportError, OSError) as error:
    raise MissingExtraError(
        "Audio cannot be resampled: the package soxr cannot be loaded",
        found=error,
        fix="pip install --force-reinstall soxr; `ser-probe doctor` tries it",
    ) from error

# Raise it when the same file and spec would give other samples: older caches are then not used.
PIPELINE_VERSION = 3

# soxr's best: linear phase, 28 bits of precision. It steps through any ratio of rates with a filter of bounded size.
RESAMPLER: dict[str, Any] = {"library": "soxr", "quality": "VHQ", "phase": "linear"}
# libsoxr shares tables between calls and does not lock them, while Python lets other threads run during a call.
_ONE_AT_A_TIME = threading.Lock()

_SAMPLE_RATES_HZ = (4_000, 192_000)


@dataclass(frozen=True)
class AudioSpec:
    """How clips are prepared.

    Attributes:
        sample_rate_hz: Sampling rate after resampling, in Hz.
        loudness_lufs: Integrated loudness (BS.1770-4) that each clip is brought to, in LUFS; None leaves its level.
        peak_dbfs: Highest sample allowed, in dB of full scale: a louder clip is scaled down. None allows any.
        trim: A key of `TRIMS`: how the silence before and after a clip is found and removed. None keeps it.
        max_duration_s: Longest clip that is decoded, in seconds. It changes no sample, so it is no ingredient.

    Raises:
        ConfigError: If a value is out of its range; all faults at once.
    """

    sample_rate_hz: int = 16_000
    loudness_lufs: float | None = None
    peak_dbfs: float | None = None
    trim: str | None = None
    max_duration_s: float = 120.0

    def __post_init__(self) -> None:
        low, high = _SAMPLE_RATES_HZ
        faults = []
        if not low <= self.sample_rate_hz <= high or self.sample_rate_hz != int(self.sample_rate_hz):
            faults.append(f"sample_rate_hz must be a whole number from {low} to {high}. Got {self.sample_rate_hz!r}.")
        if self.loudness_lufs is not None and not -70 < self.loudness_lufs <= 0:
            faults.append(
                f"loudness_lufs must be over -70, the measure's gate, and at most 0. Got {self.loudness_lufs!r}."
            )
        if self.peak_dbfs is not None and not -60 <= self.peak_dbfs <= 0:
            faults.append(f"peak_dbfs must be from -60 to 0. Got {self.peak_dbfs!r}.")
        if self.trim is not None and self.trim not in TRIMS:
            faults.append(f"trim must be one of {', '.join(TRIMS)}. Got {self.trim!r}.")
        if self.trim == "voice" and self.sample_rate_hz != SPEECH_RATE_HZ:
            faults.append(f"trim 'voice' needs a sample_rate_hz of {SPEECH_RATE_HZ}. Got {self.sample_rate_hz!r}.")
        if not MIN_DURATION_S <= self.max_duration_s < math.inf:
            faults.append(f"max_duration_s must be at least {MIN_DURATION_S} and finite. Got {self.max_duration_s!r}.")
        if faults:
            raise collect(ConfigError, "The audio settings are out of range", faults)

    def ingredients(self) -> dict[str, Any]:
        """Return everything about the preparation that can change a sample; a part of each cache key."""
        return {
            "pipeline_version": PIPELINE_VERSION,
            "sample_rate_hz": int(self.sample_rate_hz),
            "channels": "mean",
            "resampler": dict(RESAMPLER),
            "loudness": None
            if self.loudness_lufs is None
            else {
                "measure": "ITU-R BS.1770-4",
                "target_lufs": float(self.loudness_lufs),
                "block_s": BLOCK_S,
                "max_gain_db": MAX_GAIN_DB,
            },
            "peak_dbfs": None if self.peak_dbfs is None else float(self.peak_dbfs),
            # Not there where nothing is removed, so that the keys of files made before this was an option stay valid.
            **({} if self.trim is None else {"trim": trim_ingredients(self.trim)}),
        }


@dataclass(frozen=True)
class ClipFacts:
    """Facts about a clip's file.

    Attributes:
        clip_id: Hash of the file's bytes: equal content has an equal id under any name.
        audio_id: Hash of the decoded samples, equal in any container; the clip id where the file was not decoded.
        duration_s: Duration in seconds.
        sample_rate_hz: Sampling rate in Hz, as stored.
        channels: Number of channels, as stored.
        notes: Remarks on how the file is read.
    """

    clip_id: str
    audio_id: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Preparation:
    """What was done to a clip.

    Attributes:
        stored_rate_hz: Sampling rate of the file, in Hz.
        stored_channels: Number of channels of the file.
        stored_duration_s: Duration of the file, in s.
        removed_before_s: Silence removed before the first sound, in s.
        removed_after_s: Silence removed after the last sound, in s.
        gain_db: Change of level, in dB.
    """

    stored_rate_hz: int
    stored_channels: int
    stored_duration_s: float
    removed_before_s: float
    removed_after_s: float
    gain_db: float


@dataclass(frozen=True, eq=False)
class Clip:
    """A decoded clip.

    Attributes:
        samples: float32 `[n]`, mono, full scale at 1.
        sample_rate_hz: Sampling rate in Hz.
        notes: Steps that were taken for this clip and not for every clip.
        preparation: What was done to it.
    """

    samples: np.ndarray
    sample_rate_hz: int
    notes: tuple[str, ...]
    preparation: Preparation


def inspect_clip(path: Path) -> ClipFacts:
    """Return the facts of a file by its header and bytes, without decoding it.

    Raises:
        AudioError: If the file is missing, a folder, empty, a Git LFS pointer, no audio, cut short or without samples.
    """
    with open_file(path) as opened:
        clip_id = content_id(path)
        return ClipFacts(
            clip_id=clip_id,
            audio_id=clip_id,
            duration_s=opened.duration_s,
            sample_rate_hz=opened.stream.samplerate,
            channels=opened.stream.channels,
            notes=tuple(opened.notes),
        )


def hear_clip(path: Path, *, max_duration_s: float) -> ClipFacts:
    """Return the facts of a file, decoded whole at its own rate, so that damage is found.

    Raises:
        AudioError: As `load_clip`.
    """
    decoded = decode_file(path, max_duration_s=max_duration_s)
    return ClipFacts(
        clip_id=content_id(path),
        audio_id=decoded.audio_id(),
        duration_s=len(decoded.samples) / decoded.sample_rate_hz,
        sample_rate_hz=decoded.sample_rate_hz,
        channels=decoded.channels,
        notes=decoded.notes,
    )


def load_clip(path: Path, spec: AudioSpec) -> Clip:
    """Decode a clip and prepare it.

    Raises:
        AudioError: If the file cannot be decoded (see `inspect_clip`) or breaks off, is shorter than 25 ms or longer
            than `spec.max_duration_s`, is silent, its channels cancel, has a sampling rate of no recorder, or holds a
            sample that is not finite or beyond any full scale.
    """
    decoded = decode_file(path, max_duration_s=spec.max_duration_s)
    notes = decoded.notes
    # Float64 up to one rounding at the end, so that the order of sums, which depends on threads, does not matter.
    samples = resample(decoded.samples, decoded.sample_rate_hz, spec.sample_rate_hz)
    before_s = after_s = 0.0
    if spec.trim is not None:
        kept = find_sounding_part(samples, spec.sample_rate_hz, spec.trim)
        before_s, after_s = kept.start / spec.sample_rate_hz, (len(samples) - kept.end) / spec.sample_rate_hz
        samples, notes = samples[kept.start : kept.end], (*notes, *kept.notes)
    check_not_too_short(path, len(samples) / spec.sample_rate_hz)
    gain_db = 0.0
    if spec.loudness_lufs is not None:
        levelling = level_to(samples, spec.sample_rate_hz, spec.loudness_lufs)
        gain_db, notes = levelling.gain_db, (*notes, *levelling.notes)
    if spec.peak_dbfs is not None:
        excess_db = _peak_dbfs(samples) + gain_db - spec.peak_dbfs
        if excess_db > 0:
            gain_db -= excess_db
            notes = (*notes, f"scaled down by {excess_db:.1f} dB, so that no sample exceeds {spec.peak_dbfs:g} dBFS")
    prepared = (samples * 10 ** (gain_db / 20)).astype(np.float32)
    if not np.isfinite(prepared).all():
        raise AudioError(
            "The clip's preparation makes samples that are not finite", where=path, fix="export it as 16-bit PCM"
        )
    done = Preparation(
        stored_rate_hz=decoded.sample_rate_hz,
        stored_channels=decoded.channels,
        stored_duration_s=len(decoded.samples) / decoded.sample_rate_hz,
        removed_before_s=before_s,
        removed_after_s=after_s,
        gain_db=gain_db,
    )
    return Clip(prepared, spec.sample_rate_hz, notes, done)


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Return samples at another rate; float64 `[n] -> [ceil(n * to_hz / from_hz)]`.

    A band-limited interpolation with the phase kept: the first sample stays the first instant, and beyond both ends lie
    zeros. Equal rates return the samples as they are.
    """
    if from_hz == to_hz:
        return samples
    n_samples = -(-len(samples) * to_hz // from_hz)
    # soxr rounds the length to the nearest; a step of zeros more makes it give the last sample too.
    padded = np.pad(np.asarray(samples, dtype=np.float64), (0, 1 + from_hz // to_hz))
    with _ONE_AT_A_TIME:
        return soxr.resample(padded, from_hz, to_hz, quality=RESAMPLER["quality"])[:n_samples]


def _peak_dbfs(samples: np.ndarray) -> float:
    return 20 * math.log10(np.abs(samples).max())
