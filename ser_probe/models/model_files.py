"""Checks of a model's files before a model is built from them, and of its weights before they are used.

A config's numbers decide how much memory is allocated, so they are compared with the contents of the weights' file, and
a damaged config is refused.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ser_probe.errors import BackboneError, SerProbeError
from ser_probe.runtime import memory_bytes

# Sizes of the families' models: each at least 1.
_SIZES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "num_conv_pos_embeddings"),
    *("num_conv_pos_embedding_groups", "num_feat_extract_layers", "num_buckets", "max_bucket_distance"),
    *("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "num_mel_bins"),
    *("max_source_positions", "feature_projection_input_dim", "conv_depthwise_kernel_size"),
)
_SIZE_LISTS = ("conv_dim", "conv_kernel", "conv_stride")
_EPS = ("layer_norm_eps", "feat_extract_layer_norm_eps")
_LARGEST = 1 << 24
"""No size of a model is near it: the largest published models are 8192 wide."""
_EXTRACTOR_SIZES = {
    "sampling_rate": 768_000,
    "n_fft": 1 << 16,
    "hop_length": 1 << 16,
    "chunk_length": 3600,
    "feature_size": 1 << 12,
    "num_mel_bins": 1 << 12,
    "stride": 64,
}
_MOST_CONVOLUTIONS = 64
_MOST_BLOCKS, _SPARE_BLOCKS = 1000, 10
_SPARE_WEIGHTS = 10_000_000
"""Tolerance of the check of memory; missing weights are listed elsewhere."""


def check_config(config: Any, where: object) -> None:
    """Refuse a config with sizes that no model has.

    Raises:
        BackboneError: All faults at once.
    """
    faults = [
        f"{name} is {_shown(value)}"
        for name in _SIZES
        if (value := getattr(config, name, 1)) is not None and not _is_size(value)
    ]
    lists = {name: value for name in _SIZE_LISTS if (value := getattr(config, name, None)) is not None}
    faults += [f"{name} is {_shown(value)}" for name, value in lists.items() if not _are_sizes(value)]
    for name in _EPS:
        value = getattr(config, name, 1e-5)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            faults.append(f"{name} is {_shown(value)}")
    if faults:
        raise BackboneError(
            "The config of the model has values that no model has",
            where=where,
            expected=f"sizes from 1 to {_LARGEST:,}, eps of the norms in [0, 1)",
            found="; ".join(faults),
            fix="get the model's config.json again",
        )


def check_extractor(settings: Any, where: Path) -> None:
    """Refuse impossible settings of a feature extractor; missing settings have defaults in its class.

    Raises:
        BackboneError: All faults at once.
    """
    if not isinstance(settings, dict):
        settings, faults = {}, [f"{_shown(settings)} in place of an object"]
    else:
        faults = [
            f"{name} is {_shown(settings[name])}, not a whole number from 1 to {most:,}"
            for name, most in _EXTRACTOR_SIZES.items()
            if name in settings and not (_is_size(settings[name]) and settings[name] <= most)
        ]
    for name in ("do_normalize", "return_attention_mask"):
        if not isinstance(settings.get(name), bool | None):
            faults.append(f"{name} is {_shown(settings[name])}, not true or false")
    if faults:
        raise BackboneError(
            "The settings of the model's feature extractor cannot be read", where=where, found="; ".join(faults),
            fix="get the file again; without it the settings are those of the model's family",
        )  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """The contents of a folder's weights' files, as far as they can be seen without reading them.

    Args:
        tensors: Number of tensors, or an upper bound.
        values: Number of values of all tensors, or an upper bound.
    """

    tensors: int
    values: int


def look_at_weights(folder: Path) -> Stored | None:
    """Return what the weights' files of a folder hold; None where they cannot be looked into."""
    tensors = values = 0
    try:
        for path in sorted(folder.glob("model*.safetensors")):
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                tensors += len(names)
                values += sum(math.prod(file.get_slice(name).get_shape()) for name in names)
        if not tensors:
            for path in sorted(folder.glob("pytorch_model*.bin")):
                with zipfile.ZipFile(path) as archive:
                    tensors += len(archive.infolist())
                values += path.stat().st_size  # a value takes a byte at the least
    except (OSError, SafetensorError, zipfile.BadZipFile):
        return None  # the loader reports what is wrong with them
    return Stored(tensors, values) if tensors else None


def refuse_too_large(build: Callable[[], nn.Module], n_blocks: int, where: object, *, stored: Stored | None) -> None:
    """Refuse a model of far more weights than its files hold or, where nothing says how many these are, than memory.

    Args:
        build: Makes the model; it is called on the meta device, where tensors take no memory.
        n_blocks: Transformer blocks, by the config.
        where: The config's file, or the model's name.
        stored: What the files hold; None: memory is the limit.

    Raises:
        BackboneError: If so.
    """
    n_weights = None
    if n_blocks <= (_MOST_BLOCKS if stored is None else min(_MOST_BLOCKS, stored.tensors + _SPARE_BLOCKS)):
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            n_weights = sum(weight.numel() for weight in build().parameters())
        if n_weights <= (_room() if stored is None else 2 * stored.values + _SPARE_WEIGHTS):
            return
    asked = f"{n_blocks:,} blocks" if n_weights is None else f"{n_weights:,} weights"
    if stored is None:
        raise BackboneError(
            "The model that the config describes does not fit into memory",
            where=where,
            expected=f"at most {_MOST_BLOCKS:,} blocks, and weights of {memory_bytes() or 0:,} bytes",
            found=asked,
        )
    raise BackboneError(
        "The config and the weights of the model do not fit: one of them is damaged, or of another model",
        where=where,
        expected=f"what the weights' files hold: {stored.values:,} values in {stored.tensors:,} tensors",
        found=asked,
        fix="get both files again",
    )


def _room() -> float:
    """Return how many float32 weights memory holds."""
    return (memory_bytes() or math.inf) / 4


def refuse_non_finite(
    tensors: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]], where: object, kind: type[SerProbeError]
) -> None:
    """Raise if a weight is NaN or infinite: the model's outputs would be as well.

    Args:
        tensors: Tensors by name.
        where: Their file.
        kind: The error.
    """
    named = tensors.items() if isinstance(tensors, Mapping) else tensors
    bad = [(name, tensor) for name, tensor in named if not _is_finite(tensor)]
    if bad:
        name, tensor = bad[0]
        n_bad = int((~torch.isfinite(tensor)).sum())
        more = f"; {len(bad) - 1} more tensors have such values" if len(bad) > 1 else ""
        raise kind(
            "Weights are NaN or infinite",
            where=where,
            expected="finite float32 values",
            found=f"{name}: {n_bad} of {tensor.numel()} values{more}",
            fix="the file is damaged, or its training has diverged: get it again, or take another checkpoint",
        )


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # A sum in float64 is finite if and only if all float32 values are; it takes no second tensor of the size.
    return bool(torch.isfinite(tensor.sum(dtype=torch.float64)))


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list | tuple) and 0 < len(value) <= _MOST_CONVOLUTIONS and all(map(_is_size, value))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}..."
