"""The backbones that ser-probe knows by name. Loads no torch: the config and the command line read these tables.

Any other Hugging Face id or local directory of a supported family works as well; this table serves help texts, near
matches of misspelt names, and the tiny models that need no download.
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
        parameters_m: Parameters of the encoder, in millions.
        licence: As its model card says.
        pre_norm: Whether a final layer norm follows the last block, so that layer `final` differs from layer N.
        front_end_norm: Kind of norm in the convolutional front end: `group`, `layer`, or `none`.
        normalise: Whether each clip is brought to zero mean and unit variance; None: only its settings say.
        sample_rate_hz: Sampling rate in Hz.
    """

    family: str
    layers: int
    width: int
    parameters_m: float
    licence: str
    pre_norm: bool
    front_end_norm: str
    normalise: bool | None
    sample_rate_hz: int = 16_000

    @property
    def input(self) -> str:
        """Its input, in words."""
        if self.family == "whisper":
            return "log-mel, 30 s"
        if self.family == "wav2vec2-bert":
            return "log-mel, normalised"
        return {True: "waveform, normalised", False: "waveform", None: "waveform, by its settings"}[self.normalise]

    @property
    def norms(self) -> str:
        """Its norms, in words: in the front end, and where they stand in the blocks."""
        return f"{self.front_end_norm}, {'pre' if self.pre_norm else 'post'}"


# Norms of the front end and of the blocks, and input normalisation.
_GROUP: dict[str, Any] = {"front_end_norm": "group", "pre_norm": False}
_LAYER: dict[str, Any] = {"front_end_norm": "layer", "pre_norm": True}
_NORMALISED: dict[str, Any] = {"normalise": True}
_UNKNOWN: dict[str, Any] = {"normalise": None}
_DATA2VEC: dict[str, Any] = {"front_end_norm": "layer", "pre_norm": False, "normalise": True}
_BERT: dict[str, Any] = {"front_end_norm": "none", "pre_norm": False, "normalise": True}
_WHISPER: dict[str, Any] = {"front_end_norm": "none", "pre_norm": True, "normalise": False}
_APACHE, _NON_COMMERCIAL, _SEE_CARD = "apache-2.0", "cc-by-nc-sa-4.0", "see model card"

KNOWN_CHECKPOINTS: dict[str, KnownCheckpoint] = {
    name: KnownCheckpoint(family, layers, width, parameters_m, licence, **{**norms, **normalise})
    for name, family, layers, width, parameters_m, licence, norms, normalise in (
        ("facebook/wav2vec2-base", "wav2vec2", 12, 768, 94.4, _APACHE, _GROUP, _NORMALISED),
        ("facebook/wav2vec2-base-960h", "wav2vec2", 12, 768, 94.4, _APACHE, _GROUP, _NORMALISED),
        ("facebook/wav2vec2-large", "wav2vec2", 24, 1024, 315.4, _APACHE, _GROUP, _NORMALISED),
        ("facebook/wav2vec2-large-lv60", "wav2vec2", 24, 1024, 315.4, _APACHE, _LAYER, _NORMALISED),
        ("facebook/wav2vec2-large-robust", "wav2vec2", 24, 1024, 315.4, _APACHE, _LAYER, _NORMALISED),
        ("facebook/wav2vec2-large-xlsr-53", "wav2vec2", 24, 1024, 315.4, _APACHE, _LAYER, _NORMALISED),
        ("facebook/wav2vec2-xls-r-300m", "wav2vec2", 24, 1024, 315.4, _APACHE, _LAYER, _NORMALISED),
        ("facebook/wav2vec2-xls-r-1b", "wav2vec2", 48, 1280, 962.5, _APACHE, _LAYER, _NORMALISED),
        ("facebook/wav2vec2-xls-r-2b", "wav2vec2", 48, 1920, 2159.3, _APACHE, _LAYER, _NORMALISED),
        (
            *("audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim", "wav2vec2", 12, 1024, 164.3),
            *(_NON_COMMERCIAL, _LAYER, _NORMALISED),
        ),
        ("facebook/hubert-base-ls960", "hubert", 12, 768, 94.4, _APACHE, _GROUP, _NORMALISED),
        ("facebook/hubert-large-ll60k", "hubert", 24, 1024, 315.4, _APACHE, _LAYER, _NORMALISED),
        ("facebook/hubert-large-ls960-ft", "hubert", 24, 1024, 315.4, _APACHE, _LAYER, _NORMALISED),
        ("facebook/hubert-xlarge-ll60k", "hubert", 48, 1280, 962.5, _APACHE, _LAYER, _NORMALISED),
        ("utter-project/mHuBERT-147", "hubert", 12, 768, 94.4, _NON_COMMERCIAL, _GROUP, _UNKNOWN),
        ("microsoft/wavlm-base", "wavlm", 12, 768, 94.4, _SEE_CARD, _GROUP, {"normalise": False}),
        ("microsoft/wavlm-base-plus", "wavlm", 12, 768, 94.4, _SEE_CARD, _GROUP, {"normalise": False}),
        ("microsoft/wavlm-large", "wavlm", 24, 1024, 315.5, _SEE_CARD, _LAYER, _UNKNOWN),
        ("facebook/data2vec-audio-base", "data2vec-audio", 12, 768, 93.2, _APACHE, _DATA2VEC, {}),
        ("facebook/data2vec-audio-large", "data2vec-audio", 24, 1024, 313.3, _APACHE, _DATA2VEC, {}),
        ("microsoft/unispeech-sat-base", "unispeech-sat", 12, 768, 94.4, _SEE_CARD, _GROUP, _UNKNOWN),
        ("microsoft/unispeech-sat-base-plus", "unispeech-sat", 12, 768, 94.4, _SEE_CARD, _GROUP, _UNKNOWN),
        ("microsoft/unispeech-sat-large", "unispeech-sat", 24, 1024, 315.4, _SEE_CARD, _LAYER, _UNKNOWN),
        ("facebook/w2v-bert-2.0", "wav2vec2-bert", 24, 1024, 580.5, "mit", _BERT, {}),
        ("openai/whisper-tiny", "whisper", 4, 384, 8.2, _APACHE, _WHISPER, {}),
        ("openai/whisper-base", "whisper", 6, 512, 20.6, _APACHE, _WHISPER, {}),
        ("openai/whisper-small", "whisper", 12, 768, 88.2, _APACHE, _WHISPER, {}),
        ("openai/whisper-medium", "whisper", 24, 1024, 307.2, _APACHE, _WHISPER, {}),
        ("openai/whisper-large-v2", "whisper", 32, 1280, 636.8, _APACHE, _WHISPER, {}),
        ("openai/whisper-large-v3", "whisper", 32, 1280, 637.0, _APACHE, _WHISPER, {}),
    )
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
    """Return a model's name in tables and caches, with a note if its weights were drawn from a seed."""
    return name if random_weights is None else f"{name} (random weights, seed {random_weights})"


def known_names() -> list[str]:
    """Return every name that `load_backbone` knows without a look at the hub or the disk."""
    return [*TINY_CONFIGS, *KNOWN_CHECKPOINTS]
