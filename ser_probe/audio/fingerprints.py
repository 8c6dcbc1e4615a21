"""A fingerprint of a clip's sound: equal for copies at another level, rate or in another container, cut or padded.

For every 16 ms, 32 bits say whether the difference in energy of two neighbouring bands grew or fell (Haitsma and
Kalker, "A highly robust audio fingerprinting system", ISMIR 2002). The published system has 33 bands between 300 and
2000 Hz and frames of 0.37 s, for music; here the bands reach to 3000 Hz, which speech over a telephone still has, and
the frames are 0.16 s long, since clips of speech are short. Level cancels out of the signs; a copy that begins
elsewhere has the same bits some frames later.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft

RATE_HZ = 6_400
FRAME_SAMPLES, HOP_SAMPLES = 1_024, 100
HOP_S = HOP_SAMPLES / RATE_HZ
LOW_HZ, HIGH_HZ, N_BITS = 300.0, 3_000.0, 32


def fingerprint_of(mix: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return a fingerprint, uint32 `[n] -> [T]`, a frame every `HOP_S`; of less than two frames it is empty.

    Args:
        mix: The clip without the silence around it, `[n]`.
        sample_rate_hz: Sampling rate in Hz.
    """
    low = _at_common_rate(mix, sample_rate_hz)
    if len(low) < FRAME_SAMPLES + HOP_SAMPLES or not low.any():
        return np.zeros(0, dtype=np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(low, FRAME_SAMPLES)[::HOP_SAMPLES]
    window, first, edges = _window_and_bands()
    spectrum = scipy.fft.rfft(frames * window, axis=1)[:, first : first + int(edges[-1])]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    energy = np.add.reduceat(power, edges[:-1], axis=1)
    rising = np.diff(np.diff(energy, axis=1), axis=0) > 0
    return np.packbits(rising, axis=1, bitorder="little").view(np.uint32)[:, 0]


def _at_common_rate(mix: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return the clip at `RATE_HZ`, float32, by cutting its spectrum; a slower clip has zeros above.

    The rate is that of whole bins, off by less than one part in a clip's length, which moves its end by a sample.
    """
    size = scipy.fft.next_fast_len(len(mix) + sample_rate_hz // 10, real=True)
    target = 2 * round(size * RATE_HZ / sample_rate_hz / 2)
    spectrum = scipy.fft.rfft(mix, size)
    kept = np.zeros(target // 2 + 1, dtype=spectrum.dtype)
    shared = min(len(kept), len(spectrum))
    kept[:shared] = spectrum[:shared]
    low = scipy.fft.irfft(kept, target)
    return np.asarray(low[: int(len(mix) * RATE_HZ / sample_rate_hz)], dtype=np.float32)


@functools.cache
def _window_and_bands() -> tuple[np.ndarray, int, np.ndarray]:
    """Return the window, the first bin, and where the bands begin and end from it on; equal on a log scale."""
    borders = np.geomspace(LOW_HZ, HIGH_HZ, N_BITS + 2)
    bins = np.round(borders * FRAME_SAMPLES / RATE_HZ).astype(int)
    for place in range(1, len(bins)):
        bins[place] = max(bins[place], bins[place - 1] + 1)
    return np.hanning(FRAME_SAMPLES).astype(np.float32), int(bins[0]), bins - bins[0]
