"""What differs between the families of speech encoders that ser-probe runs: one table, by `model_type`.

The weights and the mathematics are those of transformers; here is said which parts of a model are run, in what order
and with which masks, so that a clip's embedding does not depend on its batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from ser_probe.models.attention import fuse_attention
from ser_probe.models.encoders import run_masked_transformer, run_with_batch_norm
from ser_probe.models.frames import Frames
from ser_probe.models.front_ends import count_convolution_frames, receptive_field, run_convolutions
from ser_probe.models.inputs import InputSpec, read_waveform_input


class RunEncoder(Protocol):
    """Frames -> the encoder's output [B, T, D]."""

    def __call__(self, model: Any, frames: Frames, *, spec_augment: bool = False) -> Tensor: ...


@dataclass(frozen=True)
class Family:
    """How the models of one `model_type` are loaded and run. Functions take the transformers model or its config.

    Args:
        attention: The attention that transformers is asked for. Named here, because a config may ask for another
            kernel, which transformers would fetch from the hub and run.
        used_weights: Beginnings of the names of the weights that the forward pass reads. All of them must be in a
            checkpoint, and none may be left over; anything else (heads, quantisers) may.
        extractor: Name of transformers' feature extractor.
        extractor_settings: Config -> its arguments where a checkpoint has none.
        read_input: Feature extractor -> what the model is fed.
        min_samples: Config and input -> samples that make one frame.
        samples_per_frame: Config and input -> samples from one frame to the next.
        count_frames: Model, input and samples per clip [B] -> frames per clip [B].
        run_front_end: Model and what it is fed of each clip -> frames.
        run_encoder: Model and frames -> output of the encoder.
        blocks: Model -> its transformer blocks.
        has_final_norm: Config -> whether a norm follows the last block, so that layer `final` differs from it.
        front_end_weights: Model -> the weights of its front end.
        adapt: Changes a model once, after loading; its weights and their names stay.
        trainable: Whether fine-tuning can be done.
    """

    attention: str
    used_weights: tuple[str, ...]
    extractor: str
    extractor_settings: Callable[[Any], dict[str, Any]]
    read_input: Callable[[Any], InputSpec]
    min_samples: Callable[[Any, InputSpec], int]
    samples_per_frame: Callable[[Any, InputSpec], int]
    count_frames: Callable[[Any, InputSpec, Tensor], Tensor]
    run_front_end: Callable[[Any, Sequence[np.ndarray]], Frames]
    run_encoder: RunEncoder
    blocks: Callable[[Any], nn.ModuleList]
    has_final_norm: Callable[[Any], bool]
    front_end_weights: Callable[[Any], dict[str, Tensor]]
    adapt: Callable[[Any], None] = lambda _model: None
    trainable: bool = True


def _waveform_family(
    *,
    attention: str = "sdpa",
    run_encoder: RunEncoder = run_masked_transformer,
    adapt: Callable[[Any], None] = lambda _model: None,
) -> Family:
    """Return a family with the convolutional front end and the blocks of wav2vec 2.0."""
    return Family(
        attention=attention,
        used_weights=("feature_extractor.", "feature_projection.", "encoder."),
        extractor="Wav2Vec2FeatureExtractor",
        extractor_settings=lambda config: {"do_normalize": config.feat_extract_norm == "layer"},
        read_input=read_waveform_input,
        min_samples=lambda config, _input: receptive_field(config),
        samples_per_frame=lambda config, _input: math.prod(config.conv_stride),
        count_frames=lambda model, _input, n_samples: count_convolution_frames(model, n_samples),
        run_front_end=run_convolutions,
        run_encoder=run_encoder,
        blocks=lambda model: model.encoder.layers,
        has_final_norm=lambda config: bool(config.do_stable_layer_norm),
        front_end_weights=lambda model: model.feature_extractor.state_dict(),
        adapt=adapt,
    )


FAMILIES: dict[str, Family] = {
    "wav2vec2": _waveform_family(),
    "hubert": _waveform_family(run_encoder=run_with_batch_norm),
    "wavlm": _waveform_family(attention="eager", adapt=fuse_attention),
}
