"""A speech encoder, ready to run, and what identifies it: hashes of its weights, its architecture, its input."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ser_probe.models.families import FAMILIES, Family
from ser_probe.models.inputs import InputSpec
from ser_probe.models.lora import merged_state

LAYER_CONTRACT_VERSION = 1
"""Raise it when the meaning of a layer name or the forward pass changes, so that no older cache is used."""

UNUSED_WEIGHTS = frozenset({"masked_spec_embed"})
"""Weights that extraction never reads: a checkpoint may lack them."""

_MOST_HASH_THREADS = 8

# Config entries about how a model was made or trained, which do not change its forward pass.
_VOLATILE_CONFIG_KEYS = frozenset(
    (
        *("_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype", "id2label", "label2id"),
        *("problem_type", "return_dict", "output_hidden_states", "output_attentions", "chunk_size_feed_forward"),
        *("is_encoder_decoder", "pad_token_id", "bos_token_id", "eos_token_id", "vocab_size", "apply_spec_augment"),
        *("gradient_checkpointing", "use_weighted_layer_sum", "classifier_proj_size"),
    )
)
_VOLATILE_CONFIG_PARTS = (
    *("dropout", "layerdrop", "mask_", "ctc_", "codevector", "contrastive", "diversity", "tdnn", "xvector"),
)


@dataclass
class Backbone:
    """A speech encoder, ready to run, with what ser-probe must know of it.

    Args:
        model: The transformers model, without any head.
        name: The name or directory it was asked for by.
        input: The input that it takes.
        revision: The commit, for a model from the hub.
    """

    model: Any = field(repr=False)
    name: str
    input: InputSpec
    revision: str | None = None

    @property
    def family(self) -> str:
        """`model_type` of the config."""
        return str(self.config.model_type)

    @property
    def facts(self) -> Family:
        """How models of this family are run."""
        return FAMILIES[self.family]

    @property
    def config(self) -> Any:
        """The transformers config."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def n_layers(self) -> int:
        """Number of transformer blocks, N."""
        return len(self.facts.blocks(self.model))

    @property
    def width(self) -> int:
        """Width of the residual stream, D."""
        return int(self.config.hidden_size)

    @property
    def pre_norm(self) -> bool:
        """Whether a final layer norm follows the last block."""
        return self.facts.has_final_norm(self.config)

    @property
    def min_samples(self) -> int:
        """Samples that make one frame; `clip_length.MIN_SAMPLES` for the published models that hear waveforms."""
        return self.facts.min_samples(self.config, self.input)

    @property
    def max_samples(self) -> int | None:
        """Length in samples that shorter clips are padded to (Whisper: 30 s); None: the clip's length."""
        return None if self.input.log_mel is None else self.input.log_mel.max_samples

    @property
    def samples_per_frame(self) -> int:
        """Samples from one frame of the encoder to the next."""
        return self.facts.samples_per_frame(self.config, self.input)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The stored layers: '0' .. 'N', and 'final' where it differs from layer N."""
        blocks = tuple(str(index) for index in range(self.n_layers + 1))
        return (*blocks, "final") if self.pre_norm else blocks

    @property
    def aliases(self) -> dict[str, str]:
        """Layer names that stand for another stored layer."""
        return {} if self.pre_norm else {"final": str(self.n_layers)}

    def frame_counts(self, n_samples: Iterable[int] | np.ndarray) -> np.ndarray:
        """Return how many frames of the encoder belong to clips, by the model's own formula.

        Args:
            n_samples: Number of samples per clip, shape [B].

        Returns:
            Number of frames, int64 of shape [B]. `n_samples // 320` would be off by one on many clips.
        """
        lengths = torch.as_tensor(np.asarray(n_samples), dtype=torch.int64)
        return np.asarray(self.facts.count_frames(self.model, self.input, lengths)).astype(np.int64)

    def weights_hash(self) -> str:
        """Return 64 hex digits over the names, types, shapes and bytes of all weights the forward pass uses.

        Adapters count as what they make of the weights, so that a model and what is saved of it have one hash.
        """
        return hash_tensors({name: t for name, t in merged_state(self.model).items() if name not in UNUSED_WEIGHTS})

    def front_end_hash(self) -> str:
        """Return the same over the front end alone."""
        return hash_tensors(self.facts.front_end_weights(self.model))

    def front_end_ingredients(self) -> dict[str, Any]:
        """Return, JSON-like, everything that the front end's output depends on besides the clip."""
        # Strides and the activation are in the config only, so equal weights are not enough.
        entries = self.architecture().items()
        return {
            "weights": self.front_end_hash(),
            "input": self.input.ingredients(),
            "architecture": {key: value for key, value in entries if key.startswith(("conv_", "feat_extract_"))},
        }

    def architecture(self) -> dict[str, Any]:
        """Return the config entries that determine what the forward pass computes."""
        entries = json.loads(self.config.to_json_string(use_diff=False))
        if self.facts.architecture_keys is not None:
            return {key: entries[key] for key in sorted(self.facts.architecture_keys)}
        return {
            key: value
            for key, value in sorted(entries.items())
            if key not in _VOLATILE_CONFIG_KEYS and not any(part in key for part in _VOLATILE_CONFIG_PARTS)
        }


def hash_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """Return 64 hex digits over named tensors: names, types, shapes and bytes."""
    names = sorted(tensors)
    # hashlib releases the GIL. SHA-256, because most processors have instructions for it.
    with ThreadPoolExecutor(min(_MOST_HASH_THREADS, os.cpu_count() or 1)) as threads:
        digests = list(threads.map(_hash_tensor, (tensors[name] for name in names)))
    total = hashlib.sha256()
    for name, digest in zip(names, digests, strict=True):
        total.update(json.dumps([name, digest]).encode())
    return total.hexdigest()


def _hash_tensor(tensor: torch.Tensor) -> str:
    tensor = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
