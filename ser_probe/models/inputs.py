"""The input of a model: the waveform of a clip, or log-mel features by the model's own feature extractor.

An `InputSpec` can be pickled, so that the processes that decode audio can prepare clips as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ser_probe.clip_length import too_short
from ser_probe.errors import BackboneError

NORMALISE_EPS = 1e-7  # as in transformers' feature extractor


@dataclass(frozen=True)
class LogMel:
    """How a clip becomes log-mel features. Two are equal if they compute the same.

    Args:
        settings: Arguments of the feature extractor that its values depend on.
        min_samples: Samples that make one frame of the encoder.
        max_samples: Length in samples that the model always takes; None: the clip's length.
        samples_per_frame: Samples from one frame of the encoder to the next.
        features: Samples [n] -> float32 features [T, M]; picklable.
    """

    settings: Mapping[str, Any]
    min_samples: int
    max_samples: int | None
    samples_per_frame: int
    features: Callable[[np.ndarray], np.ndarray] = field(repr=False, compare=False)


@dataclass(frozen=True)
class InputSpec:
    """The input that a backbone takes.

    Args:
        sample_rate_hz: Sampling rate in Hz.
        normalise: Whether each clip is brought to zero mean and unit variance: a waveform over its own samples,
            log-mel features in each band over the clip's own frames.
        log_mel: How features are made; None if the input is the waveform.
    """

    sample_rate_hz: int
    normalise: bool
    log_mel: LogMel | None = None

    def prepare(self, samples: np.ndarray) -> np.ndarray:
        """Return the model's input for one clip.

        Args:
            samples: Samples at `sample_rate_hz`, shape [n].

        Returns:
            float32: the waveform, shape [n], or log-mel features, shape [T, M].

        Raises:
            BackboneError: If the model hears log-mel features and the clip is too short or too long for it.
        """
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        if self.log_mel is None:
            return normalise_clip(samples) if self.normalise else samples
        refuse_length(len(samples), self.log_mel.min_samples, self.log_mel.max_samples, where=None)
        return self.log_mel.features(samples)

    def ingredients(self) -> dict[str, Any]:
        """Return, JSON-like, what the prepared values depend on besides the clip: a part of the cache key."""
        named: dict[str, Any] = {"sample_rate_hz": self.sample_rate_hz, "normalise": self.normalise}
        return named if self.log_mel is None else {**named, "log_mel": dict(self.log_mel.settings)}


def normalise_clip(samples: np.ndarray) -> np.ndarray:
    """Return a clip with zero mean and unit variance over its own samples, float32 of shape [n]."""
    samples = np.asarray(samples, dtype=np.float32)
    return (samples - samples.mean()) / np.sqrt(samples.var() + NORMALISE_EPS)


def refuse_length(n_samples: int, shortest: int, longest: int | None, *, where: object) -> None:
    """Refuse a clip that makes no frame (the stock model would take all its padding as valid), or is too long.

    Raises:
        BackboneError: If the clip is too short or too long.
    """
    if n_samples < shortest:
        raise too_short(BackboneError, where=where, least=f"{shortest} samples", found=n_samples)
    if longest is not None and n_samples > longest:
        raise BackboneError(
            "A clip is longer than what the model hears",
            where=where,
            expected=f"at most {longest} samples",
            found=n_samples,
            fix="cut the clip, or leave out long clips with --max-duration-s",
        )


def read_waveform_input(extractor: Any, _config: Any) -> InputSpec:
    """Return the input of a model that hears waveforms, from its Wav2Vec2FeatureExtractor."""
    return InputSpec(int(extractor.sampling_rate), bool(extractor.do_normalize))
