"""A small corpus of synthetic voices: pitch and level tell speakers and labels apart, as in acted emotions."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

RATE_HZ = 16_000
LABELS = ("anger", "joy", "sadness")


def voice(seed: int, pitch_hz: float, duration_s: float, gain: float = 0.3) -> np.ndarray:
    """Return a glottal-like pulse train with vibrato and a little noise, float32 [n]."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * pitch_hz * (time_s + 0.002 * np.sin(2 * np.pi * 5 * time_s))
    pulses = sum(np.sin(k * phase) / k for k in range(1, 12)) / 2
    return (gain * pulses + 0.01 * rng.standard_normal(len(time_s))).astype(np.float32)


@functools.cache
def recording(seed: int, pitch_hz: float, duration_s: float, gain: float) -> bytes:
    """Return a voice as a WAV file; many tests write the same ones."""
    stream = io.BytesIO()
    soundfile.write(stream, voice(seed, pitch_hz, duration_s, gain), RATE_HZ, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def write_corpus(folder: Path, *, n_speakers: int = 6, n_takes: int = 4) -> Path:
    """Write clips of 0.5 to 0.9 s and `manifest.csv`; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for speaker in range(n_speakers):
        for index, label in enumerate(LABELS):
            for take in range(n_takes):
                number = (speaker * len(LABELS) + index) * n_takes + take
                pitch_hz = (110 + 90 * (speaker % 2) + 8 * speaker) * (1 + 0.25 * index)
                name = f"s{speaker}-{label}-{take}.wav"
                duration_s, gain = 0.5 + 0.4 * (number * 0.618 % 1), 0.3 * (1 - 0.2 * index)
                (folder / name).write_bytes(recording(number, pitch_hz, duration_s, gain))
                rows.append((name, label, f"s{speaker}", ("female", "male")[speaker % 2]))
    table = pd.DataFrame(rows, columns=["path", "label", "speaker", "gender"])
    table.to_csv(folder / "manifest.csv", index=False)
    return folder
