"""Which parts of a clip are speech, by silero-vad. The only door to silero_vad.

The package's own network and rule are used as they are: 32 ms windows, one after another, then stretches. (The
`.safetensors` file in release 6.2.3 holds other weights than the TorchScript file that the package loads, and its
stretches differ in half of the clips of a corpus of acted speech.)

A clip's result depends on nothing but the clip. The functions run in worker processes, one model each.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ser_probe.errors import AudioError
from ser_probe.packages import require

SAMPLE_RATE_HZ = 16_000

# The package's defaults, repeated here so that another release cannot change them unnoticed.
THRESHOLD = 0.5
MIN_SPEECH_MS = 250
MIN_SILENCE_MS = 100
SPEECH_PAD_MS = 30

RULE_VERSION = 1
"""Raise it when the same stretches would give other frames, so that no older cache is used."""


def speech_frames(
    samples: np.ndarray,
    n_frames: int,
    hop_samples: int = 320,
    receptive: int = 400,
    *,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> np.ndarray:
    """Return which frames of a clip are speech: those whose centre lies in a stretch of speech.

    Args:
        samples: The clip, float32 `[n]`, full scale at 1.
        n_frames: Number of frames, T.
        hop_samples: Samples from one frame to the next; frame t begins at sample `t * hop_samples`.
        receptive: Samples that a frame covers.
        sample_rate_hz: Sampling rate in Hz; the detector knows 16 kHz.

    Returns:
        bool `[T]`; all False where no speech is found, as always in clips under a quarter of a second.

    Raises:
        AudioError: If the sampling rate is another.
        MissingExtraError: If silero-vad is not installed.
    """
    stretches = find_speech(samples, sample_rate_hz=sample_rate_hz)
    return frames_within(stretches, n_frames, hop_samples, receptive)


def frames_within(
    stretches: Sequence[tuple[int, int]], n_frames: int, hop_samples: int = 320, receptive: int = 400
) -> np.ndarray:
    """Return which frames have their centre in one of the stretches, bool `[T]`; see `speech_frames`."""
    centres = np.arange(n_frames) * hop_samples + receptive / 2
    is_speech = np.zeros(n_frames, dtype=bool)
    for start, end in stretches:
        is_speech |= (start <= centres) & (centres < end)
    return is_speech


def find_speech(samples: np.ndarray, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> list[tuple[int, int]]:
    """Return the stretches of speech in a clip as pairs of first sample and sample after the last, in order.

    Args and Raises: as `speech_frames`.
    """
    if sample_rate_hz != SAMPLE_RATE_HZ:
        raise AudioError(
            "Speech is found at one sampling rate only",
            expected=f"{SAMPLE_RATE_HZ} Hz",
            found=f"{sample_rate_hz} Hz",
            fix="resample the clip",
        )
    import torch

    with _one_thread(), torch.inference_mode(), torch.jit.optimized_execution(False):
        # With optimisation, the first runs on new shapes would round differently from later ones.
        stretches = _package().get_speech_timestamps(
            torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)),
            _detector(),
            sampling_rate=SAMPLE_RATE_HZ,
            threshold=THRESHOLD,
            min_speech_duration_ms=MIN_SPEECH_MS,
            min_silence_duration_ms=MIN_SILENCE_MS,
            speech_pad_ms=SPEECH_PAD_MS,
        )
    return [(int(stretch["start"]), int(stretch["end"])) for stretch in stretches]


def ingredients() -> dict[str, Any]:
    """Return what decides which frames are speech; a part of the cache key.

    Raises:
        MissingExtraError: If silero-vad is not installed.
    """
    _package()
    return {
        "detector": "silero-vad",
        "silero_vad": importlib.metadata.version("silero-vad"),
        "model": "silero_vad.jit",
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "threshold": THRESHOLD,
        "min_speech_ms": MIN_SPEECH_MS,
        "min_silence_ms": MIN_SILENCE_MS,
        "speech_pad_ms": SPEECH_PAD_MS,
        "rule": RULE_VERSION,
    }


@functools.lru_cache(maxsize=1)
def _detector() -> Any:
    """Return this process's network; made once, because loading it costs more than a clip."""
    package = _package()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.load")  # its category depends on the release
        return package.load_silero_vad()


def _package() -> Any:
    """Return silero_vad; importing it changes the number of threads for good, which is undone here."""
    with _one_thread():
        return require("silero_vad", extra="vad", purpose="finding speech")


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run with one thread, so that a clip's result is the same in every process, and put the number back."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
