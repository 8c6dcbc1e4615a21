"""The differences between the families of speech encoders that ser-probe runs: one table, by `model_type`.

The weights and the mathematics are those of transformers; the table says which parts of a model are run, in what order
and with which masks, so that a clip's embedding does not depend on its batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from ser_probe.models.attention import fuse_attention
from ser_probe.models.encoders import (
    run_masked_transformer,
    run_unmasked_transformer,
    run_with_batch_norm,
    run_with_positional_stack,
)
from ser_probe.models.frames import Frames
from ser_probe.models.front_ends import pad_log_mel, receptive_field, run_convolutions, run_log_mel_convolutions
from ser_probe.models.inputs import InputSpec, LogMel, read_waveform_input
from ser_probe.models.log_mel import count_stacked_frames, read_padded_log_mel, read_stacked_log_mel


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
        read_input: Feature extractor and config -> the model's input.
        min_samples: Config and input -> samples that make one frame.
        samples_per_frame: Config and input -> samples from one frame to the next.
        count_frames: Model, input and samples per clip [B] -> frames per clip [B].
        run_front_end: Model and the prepared clips -> frames.
        run_encoder: Model and frames -> output of the encoder.
        blocks: Model -> its transformer blocks.
        has_final_norm: Config -> whether a norm follows the last block, so that layer `final` differs from it.
        front_end_weights: Model -> the weights of its front end.
        adapt: Changes a model once, after loading; its weights and their names stay.
        architecture_keys: The config entries that the forward pass depends on; None: all but those known not to matter.
        encoder_only: Whether the checkpoint has a decoder too, which is dropped.
        trainable: Whether fine-tuning can be done.
        bytes_per_pair: Config -> bytes that attention holds for each pair of frames of a clip that goes alone; 0 where
            it is fused and needs no mask.
        note: What a user must know of the family; logged once.
    """

    attention: str
    used_weights: tuple[str, ...]
    extractor: str
    extractor_settings: Callable[[Any], dict[str, Any]]
    read_input: Callable[[Any, Any], InputSpec]
    min_samples: Callable[[Any, InputSpec], int]
    samples_per_frame: Callable[[Any, InputSpec], int]
    count_frames: Callable[[Any, InputSpec, Tensor], Tensor]
    run_front_end: Callable[[Any, Sequence[np.ndarray]], Frames]
    run_encoder: RunEncoder
    blocks: Callable[[Any], nn.ModuleList]
    has_final_norm: Callable[[Any], bool]
    front_end_weights: Callable[[Any], dict[str, Tensor]]
    adapt: Callable[[Any], None] = lambda _model: None
    architecture_keys: tuple[str, ...] | None = None
    encoder_only: bool = False
    trainable: bool = True
    bytes_per_pair: Callable[[Any], float] = lambda _config: 0.0
    note: str = ""


_WAVEFORM = Family(
    attention="sdpa",
    # Not all of feature_extractor: heads for speaker verification have a layer of that name beside the model.
    used_weights=("feature_extractor.conv_layers.", "feature_projection.", "encoder."),
    extractor="Wav2Vec2FeatureExtractor",
    extractor_settings=lambda config: dict.fromkeys(
        ("do_normalize", "return_attention_mask"), config.feat_extract_norm == "layer"
    ),
    read_input=read_waveform_input,
    min_samples=lambda config, _input: receptive_field(config),
    samples_per_frame=lambda config, _input: math.prod(config.conv_stride),
    count_frames=lambda model, _input, n_samples: model._get_feat_extract_output_lengths(n_samples),
    run_front_end=run_convolutions,
    run_encoder=run_masked_transformer,
    blocks=lambda model: model.encoder.layers,
    has_final_norm=lambda config: bool(config.do_stable_layer_norm),
    front_end_weights=lambda model: model.feature_extractor.state_dict(),
)

_WAV2VEC2_BERT = Family(
    attention="sdpa",
    used_weights=("feature_projection.", "encoder."),
    extractor="SeamlessM4TFeatureExtractor",
    extractor_settings=lambda config: {"stride": config.feature_projection_input_dim // 80},
    read_input=read_stacked_log_mel,
    min_samples=lambda _config, spec: _log_mel(spec).min_samples,
    samples_per_frame=lambda _config, spec: _log_mel(spec).samples_per_frame,
    count_frames=lambda _model, spec, n_samples: count_stacked_frames(n_samples, _log_mel(spec).settings),
    run_front_end=pad_log_mel,
    run_encoder=run_masked_transformer,
    blocks=lambda model: model.encoder.layers,
    # Each block ends with a norm; there is no further one after the last block.
    has_final_norm=lambda _config: False,
    front_end_weights=lambda _model: {},
    trainable=False,
    # A vector of the head's width for each pair's distance (and its copy in half precision), the distances in int64,
    # and two scores a head.
    bytes_per_pair=lambda config: (
        8.0 * config.num_attention_heads
        + (
            16.0 + 6.0 * config.hidden_size / config.num_attention_heads
            if config.position_embeddings_type == "relative_key"
            else 0.0
        )
    ),
)

_WHISPER = Family(
    attention="sdpa",
    used_weights=("encoder.",),
    extractor="WhisperFeatureExtractor",
    extractor_settings=lambda config: {"feature_size": config.num_mel_bins},
    read_input=read_padded_log_mel,
    min_samples=lambda _config, spec: _log_mel(spec).min_samples,
    samples_per_frame=lambda _config, spec: _log_mel(spec).samples_per_frame,
    count_frames=lambda model, spec, n_samples: model._get_feat_extract_output_lengths(
        -(-n_samples // _log_mel(spec).settings["hop_length"])
    ),
    run_front_end=run_log_mel_convolutions,
    run_encoder=run_unmasked_transformer,
    blocks=lambda model: model.layers,
    has_final_norm=lambda _config: True,
    front_end_weights=lambda model: {
        name: weight for name, weight in model.state_dict().items() if name.startswith("conv")
    },
    architecture_keys=(
        *("model_type", "d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "num_mel_bins"),
        *("max_source_positions", "activation_function"),
    ),
    encoder_only=True,
    trainable=False,
    note="hears every clip padded with silence to 30 s; frames beyond the clip are left out of the pooling",
)


def _log_mel(spec: InputSpec) -> LogMel:
    assert spec.log_mel is not None, "read_input of these families sets it"
    return spec.log_mel


FAMILIES: dict[str, Family] = {
    "wav2vec2": _WAVEFORM,
    "hubert": replace(_WAVEFORM, run_encoder=run_with_batch_norm),
    "wavlm": replace(
        _WAVEFORM,
        attention="eager",
        adapt=fuse_attention,
        # While the buckets of the relative positions are made: six arrays of int64, one of float32 and one of bool.
        # Afterwards, a head: the bias, the gated bias and the masked one.
        bytes_per_pair=lambda config: max(53.0, 12.0 * config.num_attention_heads),
    ),
    "data2vec-audio": replace(
        _WAVEFORM,
        # It has one kind of norm only: per frame in the front end, after each block in the encoder.
        extractor_settings=lambda _config: {"do_normalize": True, "return_attention_mask": True},
        run_encoder=run_with_positional_stack,
        has_final_norm=lambda _config: False,
    ),
    "unispeech-sat": _WAVEFORM,
    "wav2vec2-bert": _WAV2VEC2_BERT,
    "whisper": _WHISPER,
}
