"""Where a clip's sound begins and ends, so that the silence before and after it can be removed. Pauses within stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ser_probe.audio import speech
from ser_probe.audio.sound_properties import (
    ABOVE_NOISE_DB,
    FRAME_S,
    LEAST_CONTRAST_DB,
    SILENCE_DB,
    SOUND_FRAMES,
    frame_levels,
    sounding,
)
from ser_probe.names.trims import TRIMS

MARGIN_S = 0.05
"""Kept before the first and after the last sound: a plosive's closure and a word's decay are quiet."""
RULE_VERSION = 1
"""Raise it when the same clip would be cut elsewhere, so that no older cache is used."""


@dataclass(frozen=True)
class SoundingPart:
    """The part of a clip that is kept.

    Attributes:
        start: First sample.
        end: Sample after the last.
        notes: Why nothing was removed, where nothing could be told.
    """

    start: int
    end: int
    notes: tuple[str, ...] = ()


def find_sounding_part(samples: np.ndarray, sample_rate_hz: int, trim: str) -> SoundingPart:
    """Return the part from the first to the last sound, with `MARGIN_S` around it.

    Args:
        samples: Mono samples `[n]`, full scale at 1.
        sample_rate_hz: Sampling rate in Hz; `voice` knows 16 kHz.
        trim: A key of `TRIMS`.

    Raises:
        AudioError: If the sampling rate is none that the detector of speech knows.
        MissingExtraError: If silero-vad is needed and not installed.
        ValueError: If there is no such trim.
    """
    if trim not in TRIMS:
        raise ValueError(f"trim must be one of {', '.join(TRIMS)}. Got {trim!r}.")
    if trim == "voice":
        stretches = speech.find_speech(samples, sample_rate_hz=sample_rate_hz)
        if not stretches:
            return SoundingPart(0, len(samples), ("no speech was found: silence before and after is not removed",))
        first, last = stretches[0][0], stretches[-1][1]
    else:
        hop = max(1, round(FRAME_S * sample_rate_hz))
        # An offset is level without sound. The median, so that digital zeros stay zeros beside a click.
        sound = np.flatnonzero(sounding(frame_levels(samples - np.median(samples), sample_rate_hz)))
        if not len(sound):
            return SoundingPart(0, len(samples), ("all is silence: nothing is removed",))
        first, last = int(sound[0]) * hop, (int(sound[-1]) + 1) * hop
    margin = round(MARGIN_S * sample_rate_hz)
    return SoundingPart(max(0, first - margin), min(len(samples), last + margin))


def ingredients(trim: str) -> dict[str, Any]:
    """Return what decides where a clip is cut; a part of the cache key.

    Raises:
        MissingExtraError: If silero-vad is needed and not installed.
    """
    rule: dict[str, Any] = {"by": trim, "margin_s": MARGIN_S, "rule": RULE_VERSION}
    if trim == "voice":
        return {**rule, "speech": speech.ingredients()}
    levels = {"silence_db": SILENCE_DB, "above_noise_db": ABOVE_NOISE_DB, "least_contrast_db": LEAST_CONTRAST_DB}
    return {**rule, **levels, "frame_s": FRAME_S, "sound_frames": SOUND_FRAMES}
