"""The backbones ser-probe knows by name. No torch here: the config and the command line read these tables.

Any other Hugging Face id or local directory of a supported family works as well; this table is for
help texts, for near matches of a misspelt name, and for the tiny models that need no download.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SUPPORTED_FAMILIES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech-sat", "wav2vec2-bert", "whisper")
"""Values of `model_type` in a Hugging Face config whose forward pass ser-probe reproduces exactly."""


@dataclass(frozen=True)
class KnownCheckpoint:
    """A published backbone.

    Args:
        family: `model_type` of its config.
        layers: Number of transformer blocks (N).
        width: Width of the residual stream (D).
        pre_norm: Whether a final layer norm follows the last block, so that layer `final` differs from layer N.
    """

    family: str
    layers: int
    width: int
    pre_norm: bool


KNOWN_CHECKPOINTS: dict[str, KnownCheckpoint] = {
    "facebook/wav2vec2-base": KnownCheckpoint("wav2vec2", 12, 768, False),
    "facebook/wav2vec2-base-960h": KnownCheckpoint("wav2vec2", 12, 768, False),
    "facebook/wav2vec2-large": KnownCheckpoint("wav2vec2", 24, 1024, False),
    "facebook/wav2vec2-large-lv60": KnownCheckpoint("wav2vec2", 24, 1024, True),
    "facebook/wav2vec2-large-robust": KnownCheckpoint("wav2vec2", 24, 1024, True),
    "facebook/wav2vec2-large-xlsr-53": KnownCheckpoint("wav2vec2", 24, 1024, True),
    "facebook/wav2vec2-xls-r-300m": KnownCheckpoint("wav2vec2", 24, 1024, True),
    "facebook/hubert-base-ls960": KnownCheckpoint("hubert", 12, 768, False),
    "facebook/hubert-large-ll60k": KnownCheckpoint("hubert", 24, 1024, True),
    "facebook/hubert-large-ls960-ft": KnownCheckpoint("hubert", 24, 1024, True),
    "facebook/hubert-xlarge-ll60k": KnownCheckpoint("hubert", 48, 1280, True),
    "microsoft/wavlm-base": KnownCheckpoint("wavlm", 12, 768, False),
    "microsoft/wavlm-base-plus": KnownCheckpoint("wavlm", 12, 768, False),
    "microsoft/wavlm-large": KnownCheckpoint("wavlm", 24, 1024, True),
}

# Everything but the sizes is as in the published models: the same kernels and strides (a frame each 20 ms,
# at least 400 samples), the same positions, the same norms.
_TINY_SIZES: dict[str, Any] = {
    "hidden_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 192,
    "vocab_size": 32,
    "layerdrop": 0.0,
    # Drawing a dropout mask over T x T attention weights costs a CPU more than the attention itself.
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
}
_TINY_CONVOLUTIONS: dict[str, Any] = {
    "conv_dim": [48] * 7,
    "num_conv_pos_embedding_groups": 8,
    "num_conv_pos_embeddings": 64,
}
_BASE_NORMS: dict[str, Any] = {
    "feat_extract_norm": "group",
    "do_stable_layer_norm": False,
    "conv_bias": False,
}
_LARGE_NORMS: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}

TINY_CONFIGS: dict[str, dict[str, Any]] = {
    f"tiny-{family}-{size}": {"model_type": family, **_TINY_SIZES, **_TINY_CONVOLUTIONS, **norms}
    for family in ("wav2vec2", "hubert", "wavlm", "unispeech-sat")
    for size, norms in (("base", _BASE_NORMS), ("large", _LARGE_NORMS))
}
"""Small real architectures with random weights from a fixed seed. `base`: group norm in the front end and
post-norm blocks; `large`: layer norm and pre-norm blocks."""

TINY_CONFIGS["tiny-hubert-batchnorm"] = {**TINY_CONFIGS["tiny-hubert-base"], "conv_pos_batch_norm": True}
TINY_CONFIGS["tiny-data2vec-audio-base"] = {
    "model_type": "data2vec-audio",
    **_TINY_SIZES,
    **_TINY_CONVOLUTIONS,
    # Here a number of convolutions, elsewhere the size of one.
    "num_conv_pos_embeddings": 5,
}
TINY_CONFIGS["tiny-wav2vec2-bert"] = {
    "model_type": "wav2vec2-bert",
    **_TINY_SIZES,
    "conformer_conv_dropout": 0.0,
    "feature_projection_input_dim": 160,
}
TINY_CONFIGS["tiny-whisper"] = {
    # Two blocks: it computes 30 s of frames for the shortest clip.
    "model_type": "whisper",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 128,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 128,
    "num_mel_bins": 80,
    "vocab_size": 32,
    "max_target_positions": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "begin_suppress_tokens": None,
}

TINY_SEED = 20_240_601


def model_name(name: str, random_weights: int | None) -> str:
    """Return what tables and caches call a model, which says so if its weights were drawn from a seed."""
    return name if random_weights is None else f"{name} (random weights, seed {random_weights})"


def known_names() -> list[str]:
    """Return every name that `load_backbone` knows without a look at the hub or the disk."""
    return [*TINY_CONFIGS, *KNOWN_CHECKPOINTS]
