"""Loudness as ITU-R BS.1770-4 measures it, and the gain that brings a clip to a wanted loudness.

The measure weights the spectrum as the ear does, then averages the power of 400 ms blocks that overlap by 75 %,
without the blocks below -70 LUFS and those 10 LU under the rest: pauses do not make a speaker quieter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK_S = 0.4
_STEPS_PER_S = 10  # blocks overlap by three quarters
# A larger gain would mostly lift the recorder's noise to the level of speech.
MAX_GAIN_DB = 40.0


@dataclass(frozen=True)
class Levelling:
    """What it takes to bring a clip to a loudness.

    Attributes:
        gain_db: The gain, in dB.
        notes: Remarks on the measurement or the gain.
    """

    gain_db: float
    notes: tuple[str, ...]


def measure_loudness(samples: np.ndarray, sample_rate_hz: int) -> float:
    """Return a clip's integrated loudness in LUFS; minus infinity where all of it lies below the gate.

    A clip shorter than one 400 ms block is measured as one block of its own length. That is the BS.1770 mean power
    of the whole clip, which meets the gated measure at 400 ms; repeating the clip or padding it with zeros would
    measure a splice or a silence that nobody recorded. A longer clip is measured by its complete blocks, as the
    standard has it: the rest at the end, under 100 ms, belongs to no block.

    Args:
        samples: Mono samples `[n]`, full scale at 1.
        sample_rate_hz: Sampling rate in Hz.
    """
    import pyloudnorm

    duration_s = len(samples) / sample_rate_hz
    # A hair under the clip's length, or rounding may make the block longer than the clip, which the meter refuses.
    block_s = min(BLOCK_S, duration_s * (1 - 1e-9))
    meter = pyloudnorm.Meter(sample_rate_hz, block_size=block_s)
    complete = _complete_blocks(np.asarray(samples, dtype=np.float64), sample_rate_hz)
    return float(meter.integrated_loudness(complete))


def _complete_blocks(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return a clip up to the end of its last complete block: a whole number of steps of 100 ms, the fourth or a later.

    pyloudnorm rounds the number of blocks, and divides the last one, of which up to half a step is missing, by its full
    length.
    """
    steps = len(samples) * _STEPS_PER_S // sample_rate_hz
    if steps < BLOCK_S * _STEPS_PER_S:
        return samples
    return samples[: -(-steps * sample_rate_hz // _STEPS_PER_S)]


def level_to(samples: np.ndarray, sample_rate_hz: int, target_lufs: float) -> Levelling:
    """Return the gain that brings a clip to a loudness, at most `MAX_GAIN_DB`.

    Args:
        samples: Mono samples `[n]`, full scale at 1.
        sample_rate_hz: Sampling rate in Hz.
        target_lufs: Wanted integrated loudness in LUFS.
    """
    loudness = measure_loudness(samples, sample_rate_hz)
    wanted_db = target_lufs - loudness
    notes = []
    if len(samples) < BLOCK_S * sample_rate_hz:
        notes.append(
            f"shorter than the {1000 * BLOCK_S:.0f} ms block of the loudness measure: measured as one block of "
            f"{1000 * len(samples) / sample_rate_hz:.0f} ms"
        )
    if wanted_db > MAX_GAIN_DB:
        measured = f"{loudness:.1f} LUFS" if np.isfinite(loudness) else "under the loudness gate of -70 LUFS"
        notes.append(f"very quiet ({measured}): gain held at {MAX_GAIN_DB:.0f} dB, loudness {target_lufs:g} not met")
    return Levelling(min(wanted_db, MAX_GAIN_DB), tuple(notes))
