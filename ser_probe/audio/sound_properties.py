"""What of a recording is not voice: silence, level, offset, clipping, bandwidth, noise, channels. For the audit.

Frames of `FRAME_S` decide what is silent. All levels are in dB of full scale (dBFS), a full-scale sine having an rms of
-3 dBFS. A value that a clip does not have, such as the noise of a clip of zeros, is NaN.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import scipy.fft

FRAME_S = 0.01
# A pause lies this far below the loud parts, and at least so far above the noise does sound begin. Speech spans 30 dB
# within a sentence; the second number keeps the breath and hum of a noisy room from counting as speech.
SILENCE_DB, ABOVE_NOISE_DB = 40.0, 10.0
# Where noise and speech are closer than this, silence cannot be told by level, and none is counted.
LEAST_CONTRAST_DB = 15.0
SOUND_FRAMES = 3
"""Frames in a row that count as sound: a click is no beginning of speech."""
ZERO_RUN_S = 0.005
"""Exact zeros for so long are no crossing of zero but samples that were never recorded."""
FULL_SCALE = 0.9999
"""Samples from here on, two or more in a row, are clipped. A peak that was normalised to full scale is one sample."""
BAND_HZ = 125.0
_QUANTISATION_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "ULAW": 8, "ALAW": 8}
_MOST_BITS = 20  # noise of converters and decoders, whatever the format could hold
# A resampler's filter falls steeply, from one band to the next but one; speech falls by some 10 dB an octave.
_CLIFF_DB, _BELOW_BANDS, _GAP_BANDS, _LOWEST_CUT_HZ = 15.0, 4, 2, 2_900.0
_WHOLE_BAND = 0.9
"""A cut above this share of half of the rate is the file's own filter."""


def measure_sound(samples: np.ndarray, sample_rate_hz: int, subtype: str = "PCM_16") -> dict[str, float]:
    """Return the properties of a recording that say nothing about its voice.

    Args:
        samples: `[n, channels]`, finite, full scale at 1.
        sample_rate_hz: Sampling rate in Hz.
        subtype: How samples are stored, as libsndfile calls it: the noise of rounding is no energy.

    Returns:
        duration_s; leading_silence_s and trailing_silence_s: below `SILENCE_DB` under the clip's 95th percentile of
        levels, or within `ABOVE_NOISE_DB` of its noise; longest_zeros_s and zeros_s: exact zeros, runs of
        `ZERO_RUN_S` and more; rms_dbfs of the channels' mean without its offset; peak_dbfs of all channels;
        dc_offset, signed, full scale at 1; clipped_share of samples; bandwidth_hz: see `find_bandwidth`;
        noise_floor_dbfs: the 10th percentile of frames that are not all zeros; channels; channel_difference_db: rms
        of the difference of two channels against that of their mean, NaN where they are equal; silent_channel: how
        many channels hold one value only, of several.
    """
    mix = mean_of_channels(samples).astype(np.float32, copy=False)
    offset = float(mix.mean(dtype=np.float64))
    centred = mix - np.float32(offset)
    levels = frame_levels(centred, sample_rate_hz)
    peak = max(float(samples.max()), -float(samples.min()))
    sound = sounding(levels)
    frame_s = max(1, round(FRAME_S * sample_rate_hz)) / sample_rate_hz
    duration_s = len(mix) / sample_rate_hz
    first, last = (int(sound.argmax()), int(sound[::-1].argmax())) if sound.any() else (len(sound), 0)
    longest, total = _zeros(samples, sample_rate_hz)
    heard = levels[np.isfinite(levels)]
    return {
        "duration_s": duration_s,
        "leading_silence_s": min(first * frame_s, duration_s),
        # The last frame may be a part of one.
        "trailing_silence_s": max(0.0, duration_s - (len(sound) - last) * frame_s) if sound.any() else 0.0,
        "longest_zeros_s": longest,
        "zeros_s": total,
        "rms_dbfs": _decibel(math.sqrt(float(np.dot(centred, centred)) / len(centred))),
        "peak_dbfs": _decibel(peak),
        "dc_offset": offset,
        "clipped_share": _clipped_share(samples) if peak >= FULL_SCALE else 0.0,
        "bandwidth_hz": find_bandwidth(mix, sample_rate_hz, subtype),
        "noise_floor_dbfs": _at_share(np.sort(heard), 0.1) if len(heard) else math.nan,
        **_compare_channels(samples, mix),
    }


def mean_of_channels(samples: np.ndarray) -> np.ndarray:
    """Return the mean of the channels, `[n, channels] -> [n]`: float64, and of one channel that as it is."""
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float64)


def frame_levels(mix: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return the rms of each frame of `FRAME_S` in dBFS, `[n] -> [T]`; -inf for a frame of zeros.

    A rest of half a frame and more is a frame.
    """
    length = max(1, round(FRAME_S * sample_rate_hz))
    whole = len(mix) // length
    power = np.square(mix[: whole * length].reshape(whole, length)).mean(axis=1, dtype=np.float64)
    rest = mix[whole * length :]
    if len(rest) * 2 >= length:
        power = np.append(power, np.square(rest).mean(dtype=np.float64))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(power)


def sounding(levels: np.ndarray) -> np.ndarray:
    """Return which frames are sound, bool `[T]`; see `measure_sound` for the rule. All are where none can be told."""
    heard = levels[np.isfinite(levels)]
    if not len(heard):
        return np.zeros(len(levels), dtype=bool)
    ordered = np.sort(heard)
    noise, loud = _at_share(ordered, 0.1), _at_share(ordered, 0.95)
    threshold = min(max(loud - SILENCE_DB, noise + ABOVE_NOISE_DB), loud - LEAST_CONTRAST_DB)
    above = levels >= threshold
    if len(above) < SOUND_FRAMES:
        return above
    inside = np.ones(len(above) - SOUND_FRAMES + 1, dtype=bool)
    for shift in range(SOUND_FRAMES):
        inside &= above[shift : shift + len(inside)]
    sound = np.zeros(len(above), dtype=bool)
    for shift in range(SOUND_FRAMES):
        sound[shift : shift + len(inside)] |= inside
    return sound if sound.any() else above


def find_bandwidth(mix: np.ndarray, sample_rate_hz: int, subtype: str = "PCM_16") -> float:
    """Return the highest frequency of the material in Hz: half of the lowest rate that it once had.

    A resampler leaves a cliff in the mean power spectrum (bands of 125 Hz): 15 dB within 250 Hz, and nothing above is
    higher. The highest cliff is the end. Without one it is half of the file's rate: where a spectrum fades out slowly,
    or is lost in the noise of rounding, loud voices would have more of it than quiet ones. Measured on 370 real clips:
    nothing fell by 15 dB in them as published but RAVDESS's own filter at 22.5 kHz, which counts as the end of its
    24 kHz; after resampling to a third or half of their rate and back, by 20 dB and more in each of them.
    NaN for a clip without energy.
    """
    power = _band_power(mix, sample_rate_hz)
    if not power.any():
        return math.nan
    bits = min(_QUANTISATION_BITS.get(subtype, 24), _MOST_BITS)
    rounding = (2.0 ** (1 - bits)) ** 2 / 12 / (sample_rate_hz / 2)
    level = 10 * np.log10(power + rounding)
    highest_from = np.maximum.accumulate(level[::-1])[::-1]
    last = min(len(level) - _GAP_BANDS, int(_WHOLE_BAND * sample_rate_hz / 2 / BAND_HZ))
    cuts = np.arange(max(_BELOW_BANDS, int(_LOWEST_CUT_HZ / BAND_HZ)), last)
    if not len(cuts):
        return sample_rate_hz / 2
    below = np.min([level[cuts - shift] for shift in range(1, _BELOW_BANDS + 1)], axis=0)
    drop = below - highest_from[cuts + _GAP_BANDS]
    places = np.flatnonzero(drop >= _CLIFF_DB)
    if not len(places):
        return sample_rate_hz / 2
    place = int(places[-1])
    while place > 0 and drop[place - 1] > drop[place]:  # up the cliff's own slope
        place -= 1
    return float(cuts[place] * BAND_HZ)


def _band_power(mix: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return the power density in each band of 125 Hz below half of the rate, in full scale squared per Hz."""
    size = scipy.fft.next_fast_len(int(sample_rate_hz * 4 / BAND_HZ), real=True)  # four bins a band
    n_frames = max(1, len(mix) // size)
    framed = np.zeros((n_frames, size), dtype=np.float32)
    framed.ravel()[: min(len(mix), framed.size)] = mix[: framed.size]
    window = _window(size)
    spectrum = scipy.fft.rfft(framed * window, axis=1)
    density = (np.square(spectrum.real) + np.square(spectrum.imag)).mean(axis=0, dtype=np.float64)
    density *= 2 / (sample_rate_hz * float(np.square(window).sum()))
    n_bands = max(1, int(sample_rate_hz / 2 / BAND_HZ))
    edges = np.round(np.arange(n_bands + 1) * BAND_HZ * size / sample_rate_hz).astype(int)
    edges = np.minimum(edges, len(density) - 1)
    return np.add.reduceat(density, edges[:-1]) / np.maximum(np.diff(np.append(edges[:-1], len(density))), 1)


@functools.lru_cache(maxsize=8)
def _window(size: int) -> np.ndarray:
    return np.hanning(size + 1)[:-1].astype(np.float32)


def _at_share(ordered: np.ndarray, share: float) -> float:
    """Return the value that this share of sorted values is below: a percentile, nearest rank."""
    return float(ordered[round(share * (len(ordered) - 1))])


def _zeros(samples: np.ndarray, sample_rate_hz: int) -> tuple[float, float]:
    """Return the longest run of exact zeros in all channels, and how much all long ones hold, in s."""
    zero = (samples == 0).all(axis=1) if samples.shape[1] > 1 else samples[:, 0] == 0
    lengths = _runs(zero) / sample_rate_hz
    long = lengths[lengths >= ZERO_RUN_S]
    return (float(long.max()), float(long.sum())) if len(long) else (0.0, 0.0)


def _clipped_share(samples: np.ndarray) -> float:
    high = np.abs(samples) >= FULL_SCALE
    counts = [lengths[lengths >= 2].sum() for lengths in (_runs(high[:, place]) for place in range(high.shape[1]))]
    return float(sum(counts) / samples.size)


def _runs(mask: np.ndarray) -> np.ndarray:
    """Return the lengths of the runs of True."""
    if not mask.any():
        return np.zeros(0, dtype=int)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return edges[1::2] - edges[::2]


def _compare_channels(samples: np.ndarray, mix: np.ndarray) -> dict[str, float]:
    n_channels = samples.shape[1]
    values = {"channels": n_channels, "channel_difference_db": math.nan, "silent_channel": 0}
    if n_channels < 2:
        return values
    values["silent_channel"] = int((np.ptp(samples, axis=0) == 0).sum())
    difference = float(np.sqrt(np.mean(np.square(samples[:, 0] - samples[:, 1]), dtype=np.float64)))
    whole = float(np.sqrt(np.mean(np.square(mix), dtype=np.float64)))
    if difference > 0 and whole > 0:
        values["channel_difference_db"] = 20 * math.log10(difference / whole)
    return values


def _decibel(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else math.nan
