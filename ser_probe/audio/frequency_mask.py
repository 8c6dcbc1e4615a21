"""SpecAugment's frequency mask for a waveform: a random band of frequencies is taken out of a whole clip."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ser_probe.errors import ConfigError

RULE_VERSION = 1
"""Raise it when the same seed would mask other bands."""


@dataclass(frozen=True)
class FrequencyMask:
    """Takes random bands of frequencies out of a clip.

    SpecAugment (Park et al. 2019, section 2) masks f consecutive channels of a spectrogram in all time steps, f
    uniform in [0, F), the first channel uniform over the places that are left. The models here take samples, so the
    band is taken out of the samples: the components of the whole clip's discrete Fourier transform with a frequency
    in [f0, f0 + width) are scaled. Widths are in Hz and not in mel, so a band takes as much of the spectrum anywhere.

    Args:
        min_width_hz: Narrowest band, in Hz, 0 or more.
        max_width_hz: Widest band, in Hz; the width is uniform between the two.
        low_hz: Lowest frequency that a band may begin at, in Hz.
        high_hz: Highest frequency that a band may end at, in Hz; None, or what lies above it, stands for half of the
            sampling rate.
        attenuation_db: How far the band is turned down, in dB above 0; None takes it out.
        n_masks: Bands in a clip, drawn one by one; they may overlap.

    Raises:
        ConfigError: If a value is out of its range; all faults in one message.
    """

    min_width_hz: float = 0.0
    max_width_hz: float = 1000.0
    low_hz: float = 0.0
    high_hz: float | None = None
    attenuation_db: float | None = None
    n_masks: int = 1

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise ConfigError("; ".join(faults))

    def _faults(self) -> Iterator[str]:
        optional = [name for name in ("high_hz", "attenuation_db") if getattr(self, name) is not None]
        for name in ("min_width_hz", "max_width_hz", "low_hz", *optional):
            if not _is_number(getattr(self, name)):
                yield f"{name} must be a number of 0 or more, not {getattr(self, name)!r}"
        if isinstance(self.n_masks, bool) or not isinstance(self.n_masks, int) or self.n_masks < 1:
            yield f"n_masks must be a whole number of 1 or more, not {self.n_masks!r}"
        if _is_number(self.min_width_hz) and _is_number(self.max_width_hz) and self.max_width_hz < self.min_width_hz:
            yield f"max_width_hz ({self.max_width_hz:g}) must not be below min_width_hz ({self.min_width_hz:g})"

    def apply(self, samples: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """Return a masked copy of a clip, float32 of the same length.

        Args:
            samples: Mono samples `[n]`.
            sample_rate_hz: Sampling rate, in Hz.
            rng: Where the bands are drawn from.

        Raises:
            ConfigError: If the widest band does not fit between the lowest and the highest frequency.
        """
        spectrum = np.fft.rfft(samples.astype(np.float64))
        frequencies_hz = np.fft.rfftfreq(len(samples), 1 / sample_rate_hz)
        gain = 0.0 if self.attenuation_db is None else 10 ** (-self.attenuation_db / 20)
        for low_hz, high_hz in self.draw_bands(sample_rate_hz, rng):
            spectrum[(low_hz <= frequencies_hz) & (frequencies_hz < high_hz)] *= gain
        return np.fft.irfft(spectrum, len(samples)).astype(np.float32)

    def draw_bands(self, sample_rate_hz: int, rng: np.random.Generator) -> list[tuple[float, float]]:
        """Return the lower and upper edges of the bands of one clip, in Hz.

        Args and Raises: as `apply`.
        """
        highest_hz = min(sample_rate_hz / 2, math.inf if self.high_hz is None else self.high_hz)
        if self.low_hz + self.max_width_hz > highest_hz:
            raise ConfigError(
                f"max_width_hz ({self.max_width_hz:g}) does not fit between {self.low_hz:g} and {highest_hz:g} Hz"
            )
        bands = []
        for _ in range(self.n_masks):
            width_hz = rng.uniform(self.min_width_hz, self.max_width_hz)
            low_hz = rng.uniform(self.low_hz, highest_hz - width_hz)
            bands.append((low_hz, low_hz + width_hz))
        return bands


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
