"""Log-mel inputs, made of one clip at a time by the feature extractors that the models were trained with."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ser_probe.errors import BackboneError
from ser_probe.models.inputs import InputSpec, LogMel

TAIL_FRAMES = 3
"""Log-mel frames kept after a clip that the model pads with silence: the analysis windows of two reach back into the
clip, the third is silence alone and stands for all that follow."""

# Analysis window and hop in samples, which are fixed in SeamlessM4TFeatureExtractor.
_STACKED_WINDOW, _STACKED_HOP = 400, 160


def read_stacked_log_mel(extractor: Any, config: Any) -> InputSpec:
    """Return the input of wav2vec2-BERT: log-mel frames, normalised in each band, several stacked to one.

    Raises:
        BackboneError: If the feature extractor makes other features than the model takes.
    """
    settings = {name: getattr(extractor, name) for name in ("feature_size", "num_mel_bins", "sampling_rate", "stride")}
    _refuse_unfit(extractor.num_mel_bins * extractor.stride, config.feature_projection_input_dim)
    return InputSpec(
        int(extractor.sampling_rate),
        normalise=True,
        log_mel=LogMel(
            settings,
            min_samples=_STACKED_WINDOW + (extractor.stride - 1) * _STACKED_HOP,
            max_samples=None,
            samples_per_frame=_STACKED_HOP * extractor.stride,
            features=functools.partial(_stacked_features, extractor=extractor),
        ),
    )


def count_stacked_frames(n_samples: Any, settings: Any) -> Any:
    """Return the whole stacks of log-mel frames in clips of these lengths."""
    return ((n_samples - _STACKED_WINDOW) // _STACKED_HOP + 1) // settings["stride"]


def _stacked_features(samples: np.ndarray, *, extractor: Any) -> np.ndarray:
    # Unpadded: a last frame without a partner is dropped, which the stock model pads, stacks and masks.
    extracted = extractor(samples, sampling_rate=extractor.sampling_rate, pad_to_multiple_of=None, return_tensors="np")
    return np.ascontiguousarray(extracted["input_features"][0], dtype=np.float32)


def read_padded_log_mel(extractor: Any, config: Any) -> InputSpec:
    """Return the input of Whisper: log-mel frames of the clip followed by silence, 30 s together.

    Raises:
        BackboneError: If the feature extractor makes other features than the model takes, or no two times the same.
    """
    names = ("feature_size", "sampling_rate", "hop_length", "chunk_length", "n_fft", "padding_value")
    settings = {name: getattr(extractor, name) for name in names}
    _refuse_unfit(extractor.feature_size, config.num_mel_bins)
    _refuse_unfit(extractor.n_samples, 2 * config.max_source_positions * extractor.hop_length)
    if extractor.dither or extractor.padding_side != "right":
        raise BackboneError(
            "The model's feature extractor adds noise or pads clips in front, so that no embedding would be exact",
            expected="dither 0 and padding_side right",
            found=f"dither {extractor.dither}, padding_side {extractor.padding_side}",
        )
    return InputSpec(
        int(extractor.sampling_rate),
        normalise=False,
        log_mel=LogMel(
            settings,
            min_samples=int(extractor.n_fft),
            max_samples=int(extractor.n_samples),
            # The second of the model's two convolutions takes every other frame.
            samples_per_frame=2 * extractor.hop_length,
            features=functools.partial(_padded_features, extractor=extractor),
        ),
    )


def _padded_features(samples: np.ndarray, *, extractor: Any) -> np.ndarray:
    """Return the clip's log-mel frames and `TAIL_FRAMES` after them, the last of which repeats to the end."""
    extracted = extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="np")
    features = extracted["input_features"][0].T
    n_frames = -(-len(samples) // extractor.hop_length)
    rows = np.minimum(np.arange(n_frames + TAIL_FRAMES), len(features) - 1)
    return np.ascontiguousarray(features[rows], dtype=np.float32)


def _refuse_unfit(made: int, taken: int) -> None:
    if made != taken:
        raise BackboneError("The feature extractor and the model do not fit", expected=taken, found=made)
