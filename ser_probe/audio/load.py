"""Decode a clip: soundfile -> mono -> resampled -> levelled. The only door to soundfile.

The result depends on the file and the `AudioSpec` alone, not on the process, its threads, or other clips.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from ser_probe.audio.loudness import BLOCK_S, MAX_GAIN_DB, level_to
from ser_probe.errors import AudioError, ConfigError, collect
from ser_probe.files import content_id, is_lfs_pointer

# Raise it when the same file and spec would give other samples: caches made before are then not used.
PIPELINE_VERSION = 3

# 400 samples at 16 kHz: the receptive field of the convolutional front ends. A shorter clip yields no frame.
MIN_DURATION_S = 0.025

# soxr's best: linear phase, 28 bits of precision. It steps through any ratio of rates with a filter of bounded size.
RESAMPLER: dict[str, Any] = {"library": "soxr", "quality": "VHQ", "phase": "linear"}
# libsoxr shares tables between calls and does not lock them, while Python lets other threads run during a call.
_ONE_AT_A_TIME = threading.Lock()

_SAMPLE_RATES_HZ = (4_000, 192_000)
# From a band of 500 Hz, too narrow for a vowel, to the fastest recorders.
_STORED_RATES_HZ = (1_000, 768_000)
_LFS_FIX = "run `git lfs install` and `git lfs pull` in the corpus's clone"


@dataclass(frozen=True)
class AudioSpec:
    """How clips are prepared.

    Attributes:
        sample_rate_hz: Sampling rate after resampling, in Hz.
        loudness_lufs: Integrated loudness (BS.1770-4) that each clip is brought to, in LUFS; None leaves its level.
        peak_dbfs: Highest sample allowed, in dB of full scale: a louder clip is scaled down. None allows any.
        max_duration_s: Longest clip that is decoded, in seconds. It changes no sample, so it is no ingredient.

    Raises:
        ConfigError: If a value is out of its range; all faults at once.
    """

    sample_rate_hz: int = 16_000
    loudness_lufs: float | None = None
    peak_dbfs: float | None = None
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
        }


@dataclass(frozen=True)
class ClipFacts:
    """What a file's header and bytes tell.

    Attributes:
        clip_id: Hash of the file's bytes: equal content has an equal id under any name.
        duration_s: Duration in seconds.
        sample_rate_hz: Sampling rate in Hz, as stored.
        channels: Number of channels, as stored.
    """

    clip_id: str
    duration_s: float
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True, eq=False)
class Clip:
    """A decoded clip.

    Attributes:
        samples: float32 `[n]`, mono, full scale at 1.
        sample_rate_hz: Sampling rate in Hz.
        notes: What was done to this clip that is not done to every clip.
    """

    samples: np.ndarray
    sample_rate_hz: int
    notes: tuple[str, ...]


def inspect_clip(path: Path) -> ClipFacts:
    """Return what a file's header and bytes tell, without decoding it.

    Raises:
        AudioError: If the file is missing, a folder, empty, a Git LFS pointer, no audio, or holds no samples.
    """
    with _open(path) as stream:
        facts = ClipFacts(
            clip_id=content_id(path),
            duration_s=stream.frames / stream.samplerate,
            sample_rate_hz=stream.samplerate,
            channels=stream.channels,
        )
    return facts


def load_clip(path: Path, spec: AudioSpec) -> Clip:
    """Decode a clip and prepare it.

    Raises:
        AudioError: If the file cannot be decoded (see `inspect_clip`), is shorter than 25 ms or longer than
            `spec.max_duration_s`, is silent, holds a NaN or infinite sample, or has a sampling rate of no
            recorder.
    """
    with _open(path) as stream:
        stored_rate_hz = stream.samplerate
        _check_duration(path, stream.frames / stored_rate_hz, spec)
        _check_rate(path, stored_rate_hz)
        try:
            channels = stream.read(dtype="float64", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError("The clip breaks off while it is decoded", where=path, found=error) from error
    _check_samples(path, channels)
    # Float64 up to the one rounding at the end: sums of another order, as other threads make them, do not show.
    samples = resample(channels.mean(axis=1), stored_rate_hz, spec.sample_rate_hz)
    _check_duration(path, len(samples) / spec.sample_rate_hz, spec)
    gain_db = 0.0
    notes: tuple[str, ...] = ()
    if spec.loudness_lufs is not None:
        levelling = level_to(samples, spec.sample_rate_hz, spec.loudness_lufs)
        gain_db, notes = levelling.gain_db, levelling.notes
    if spec.peak_dbfs is not None:
        excess_db = _peak_dbfs(samples) + gain_db - spec.peak_dbfs
        if excess_db > 0:
            gain_db -= excess_db
            notes = (*notes, f"scaled down by {excess_db:.1f} dB, so that no sample exceeds {spec.peak_dbfs:g} dBFS")
    return Clip((samples * 10 ** (gain_db / 20)).astype(np.float32), spec.sample_rate_hz, notes)


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


def _open(path: Path) -> soundfile.SoundFile:
    """Open a file for decoding, or say why it cannot be."""
    if not path.exists():
        raise AudioError("The clip does not exist", where=path, fix="check the manifest's paths and the audio root")
    if not path.is_file():
        raise AudioError("The clip is a folder or no ordinary file", where=path, expected="an audio file")
    try:
        if path.stat().st_size == 0:
            raise AudioError("The clip is an empty file", where=path, found="0 bytes", fix="copy it again")
        if is_lfs_pointer(path):
            raise AudioError("The clip is a Git LFS pointer: its audio was not fetched", where=path, fix=_LFS_FIX)
        stream = soundfile.SoundFile(str(path))
    except (OSError, soundfile.SoundFileError, TypeError) as error:  # TypeError: a raw format needs more arguments
        raise AudioError(
            "The clip cannot be opened as audio",
            where=path,
            expected="a format that libsndfile reads, such as WAV, FLAC, OGG or MP3",
            found=error,
        ) from error
    if stream.frames == 0:
        stream.close()
        raise AudioError("The clip holds no samples", where=path, found="a header and nothing after it")
    return stream


def _check_duration(path: Path, duration_s: float, spec: AudioSpec) -> None:
    if duration_s < MIN_DURATION_S:
        raise AudioError(
            "The clip is too short: the models yield no frame",
            where=path,
            expected=f"at least {1000 * MIN_DURATION_S:.0f} ms",
            found=f"{1000 * duration_s:.2f} ms",
        )
    # The resampler rounds the number of samples up: that never makes a clip too long.
    if duration_s > spec.max_duration_s + 1 / spec.sample_rate_hz:
        raise AudioError(
            "The clip is too long",
            where=path,
            expected=f"at most {spec.max_duration_s:g} s",
            found=f"{duration_s:.1f} s",
            fix="cut it into utterances, or raise audio.max_duration_s",
        )


def _check_rate(path: Path, rate_hz: int) -> None:
    low, high = _STORED_RATES_HZ
    if not low <= rate_hz <= high:
        raise AudioError(
            "The clip's sampling rate is none at which speech is recorded",
            where=path,
            expected=f"a rate from {low} to {high} Hz",
            found=f"{rate_hz} Hz in the header",
            fix="correct the header if it is wrong, or convert the clip to 16000 Hz with an audio tool",
        )


def _check_samples(path: Path, channels: np.ndarray) -> None:
    """Refuse samples that no model should see. `channels` is `[n, channels]`."""
    if len(channels) == 0:
        raise AudioError("The clip holds no samples", where=path, found="a header that promises some")
    bad = ~np.isfinite(channels).all(axis=1)
    if bad.any():
        raise AudioError(
            "The clip holds samples that are NaN or infinite",
            where=path,
            found=f"{int(bad.sum())} of {len(bad)}, the first at sample {int(bad.argmax())}",
            fix="export it again, as 16-bit or 24-bit PCM",
        )
    if np.ptp(channels.mean(axis=1)) == 0:
        cancel = np.ptp(channels, axis=0).any()
        raise AudioError(
            "The clip is silent",
            where=path,
            found="channels that cancel each other" if cancel else f"{len(channels)} equal samples",
            fix="leave it out, or keep one channel" if cancel else "leave it out, or record it again",
        )


def _peak_dbfs(samples: np.ndarray) -> float:
    return 20 * math.log10(np.abs(samples).max())
