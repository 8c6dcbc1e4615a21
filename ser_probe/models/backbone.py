"""Loading and saving backbones. The one door to transformers' models.

No code from a model ever runs: weights come from safetensors or from torch's weights-only loader, remote
code is refused, and a backbone whose encoder weights did not all load is an error here, where transformers
warns and goes on with random values.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser_probe.errors import BackboneError, did_you_mean
from ser_probe.files import is_lfs_pointer
from ser_probe.models.attention import fuse_attention
from ser_probe.models.catalogue import SUPPORTED_FAMILIES, TINY_CONFIGS, TINY_SEED, known_names
from ser_probe.runtime import logger

LAYER_CONTRACT_VERSION = 1
"""Rises when the meaning of a layer name or the forward pass changes, so that no older cache is served."""

MIN_SAMPLES = 400
"""A shorter clip (25 ms at 16 kHz) yields no frame in the front end that all published models share."""

# The one weight of the model that extraction never reads: a checkpoint may lack it.
_UNUSED_WEIGHTS = frozenset({"masked_spec_embed"})

# What the forward pass runs through. Anything else in a checkpoint (heads, quantisers) may be left over.
_USED_MODULES = ("feature_extractor.", "feature_projection.", "encoder.")

_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

# Named here, because a config may ask for another kernel, which transformers would fetch from the hub and run.
_ATTENTION = {"wav2vec2": "sdpa", "hubert": "sdpa", "wavlm": "eager"}

# Config entries that say how a model was made or trained, not what its forward pass computes.
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


@dataclass(frozen=True)
class InputSpec:
    """What a backbone wants to hear.

    Args:
        sample_rate_hz: Sampling rate in Hz.
        normalise: Whether each clip is brought to zero mean and unit variance over its own samples.
    """

    sample_rate_hz: int
    normalise: bool


@dataclass
class Backbone:
    """A speech encoder, ready to run, with what ser-probe must know of it.

    Args:
        model: The transformers model, without any head.
        name: The name or directory it was asked for by.
        input: What it wants to hear.
        revision: The commit on the hub, where it came from there.
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
        return int(self.config.num_hidden_layers)

    @property
    def width(self) -> int:
        """Width of the residual stream, D."""
        return int(self.config.hidden_size)

    @property
    def pre_norm(self) -> bool:
        """Whether a final layer norm follows the last block."""
        return bool(self.config.do_stable_layer_norm)

    @property
    def min_samples(self) -> int:
        """Samples that make one frame: the receptive field of the front end, `MIN_SAMPLES` as published."""
        field, stride = 1, 1
        for kernel, step in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            field, stride = field + (kernel - 1) * stride, stride * step
        return field

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
        """Return how many frames the front end makes of clips, by the model's own formula.

        Args:
            n_samples: Number of samples per clip, shape [B].

        Returns:
            Number of frames, int64 of shape [B]. `n_samples // 320` would be off by one on many clips.
        """
        lengths = torch.as_tensor(np.asarray(n_samples), dtype=torch.int64)
        return np.asarray(self.model._get_feat_extract_output_lengths(lengths)).astype(np.int64)

    def weights_hash(self) -> str:
        """Return 64 hex digits over the names, types, shapes and bytes of all weights the forward pass uses."""
        return hash_tensors({name: t for name, t in self.model.state_dict().items() if name not in _UNUSED_WEIGHTS})

    def front_end_hash(self) -> str:
        """Return the same over the convolutional front end alone."""
        return hash_tensors(self.model.feature_extractor.state_dict())

    def architecture(self) -> dict[str, Any]:
        """Return the config entries that determine what the forward pass computes."""
        entries = json.loads(self.config.to_json_string(use_diff=False))
        return {
            key: value
            for key, value in sorted(entries.items())
            if key not in _VOLATILE_CONFIG_KEYS and not any(part in key for part in _VOLATILE_CONFIG_PARTS)
        }


def hash_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """Return 64 hex digits over named tensors: names, types, shapes and bytes."""
    digest = hashlib.blake2b(digest_size=32)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _quiet_transformers() -> None:
    """Keep transformers from drawing bars, from warning where we raise, and from writing to the hub."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    # "Some weights were not initialised" is an error here, raised with more to say.
    transformers_logging.set_verbosity_error()
    # WavLM's attention hands torch a boolean mask beside its position bias, at every layer of every batch.
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask and attn_mask")
    # For a .bin on the hub it would ask a bot, from a background thread, to open a pull request there.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")


def load_backbone(name: str | Path, *, revision: str | None = None, device: torch.device | str = "cpu") -> Backbone:
    """Load a backbone in evaluation mode and float32. The caller's random state is left as it was.

    Args:
        name: A `tiny-*` name, a local directory in Hugging Face format, or a model id on the Hugging Face hub.
        revision: Commit, tag or branch on the hub.
        device: Where to put it.

    Raises:
        BackboneError: If it is unknown, of a family that is not supported, has no weights, lacks some of its
            encoder's weights, or comes in a file that holds more than tensors.
    """
    _quiet_transformers()
    # The generator of the CPU alone: torch.manual_seed would reseed every CUDA device for good.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(TINY_SEED)
        backbone = _build_tiny(str(name)) if str(name) in TINY_CONFIGS else _load_pretrained(name, revision)
    if backbone.family == "wavlm":
        fuse_attention(backbone.model)
    backbone.model.to(device).eval()
    return backbone


def save_backbone(backbone: Backbone, folder: Path) -> None:
    """Write the weights, the config and the feature extractor's settings in plain Hugging Face format."""
    from transformers import Wav2Vec2FeatureExtractor

    backbone.model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(
        sampling_rate=backbone.input.sample_rate_hz,
        do_normalize=backbone.input.normalise,
        return_attention_mask=backbone.config.feat_extract_norm == "layer",
    ).save_pretrained(folder)


def _build_tiny(name: str) -> Backbone:
    from transformers import AutoConfig, AutoModel

    settings = dict(TINY_CONFIGS[name])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    model = AutoModel.from_config(config, attn_implementation=_ATTENTION[config.model_type])
    return Backbone(model.float(), name, InputSpec(16_000, normalise=config.feat_extract_norm == "layer"))


def _load_pretrained(name: str | Path, revision: str | None) -> Backbone:
    from transformers import AutoConfig, AutoModel

    folder = _local_folder(name)
    source = str(folder or name)
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": folder is not None}
    # A damaged or hostile file makes transformers raise almost anything; each kind is a fault of the file.
    try:
        if folder is None:
            options["revision"] = _commit_of(source, revision)
        config = AutoConfig.from_pretrained(source, **options)
    except Exception as error:
        raise _unloadable(name, folder, error, what="config") from error
    _refuse_unsupported(name, config)
    try:
        model, loading = AutoModel.from_pretrained(
            source,
            config=config,
            attn_implementation=_ATTENTION[config.model_type],
            dtype=torch.float32,
            output_loading_info=True,
            # Listed by _refuse_incomplete, with the missing ones.
            ignore_mismatched_sizes=True,
            weights_only=True,
            **options,
        )
    except Exception as error:
        raise _unloadable(name, folder, error, what="weights") from error
    _refuse_incomplete(name, loading, prefix=f"{model.base_model_prefix}.")
    _move_off_the_file(model)
    return Backbone(model, str(name), _input_spec(source, folder, config, options), options.get("revision"))


def _commit_of(name: str, revision: str | None) -> str:
    """Return the commit that a revision of a hub model means now, so that config, weights and settings are of one."""
    from transformers.utils import cached_file

    # The cache keeps each commit's files in a folder of the commit's name.
    return Path(str(cached_file(name, "config.json", revision=revision or "main"))).parent.name


def _move_off_the_file(model: torch.nn.Module) -> None:
    """Copy weights that are mapped into memory from their file into memory of their own.

    In the file they lie at any multiple of 8 bytes, and CPU kernels round differently by alignment: the same weights
    would give other bits once saved and loaded. And a file that is replaced under a map takes the process down.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)


def _local_folder(name: str | Path) -> Path | None:
    """Return the directory that a name means, or None for a model id on the hub.

    Raises:
        BackboneError: If it is neither, or the directory holds no model.
    """
    folder = Path(name).expanduser()
    if str(name) and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BackboneError("The model directory has no config.json", where=folder, fix="give the folder with it")
        return folder
    if isinstance(name, Path) or name.startswith((".", "/", "~")):
        raise BackboneError("There is no such model directory", where=folder)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise BackboneError(
            f"There is no backbone named {name!r}",
            expected="a tiny-* name, a local directory, or a hub id such as microsoft/wavlm-large",
            fix=did_you_mean(name, known_names()),
        )
    return None


def _input_spec(source: str, folder: Path | None, config: Any, options: dict[str, Any]) -> InputSpec:
    from transformers import Wav2Vec2FeatureExtractor

    try:
        extractor = Wav2Vec2FeatureExtractor.from_pretrained(source, **options)
        return InputSpec(int(extractor.sampling_rate), bool(extractor.do_normalize))
    except (OSError, ValueError, TypeError) as error:
        if folder and (folder / "preprocessor_config.json").exists():
            raise BackboneError(
                "The settings of the model's feature extractor cannot be read",
                where=folder / "preprocessor_config.json",
                found=_first_line(error),
            ) from error
    normalise = config.feat_extract_norm == "layer"
    said = f"{source} has no preprocessor_config.json: taking 16 kHz, input normalisation"
    logger.warning("%s %s as its norm kind suggests", said, "on" if normalise else "off")
    return InputSpec(16_000, normalise)


def _refuse_unsupported(name: str | Path, config: Any) -> None:
    """Raise where the forward pass of ser-probe would not be the model's own."""
    found = str(config.model_type)
    if config.model_type in SUPPORTED_FAMILIES:
        if getattr(config, "add_adapter", False):
            found += " with a convolutional adapter"
        elif getattr(config, "quantization_config", None):
            found += " with quantised weights"
        else:
            return
    raise BackboneError(
        f"The backbone {str(name)!r} is of a kind that ser-probe cannot run exactly",
        expected=", ".join(SUPPORTED_FAMILIES),
        found=found,
    )


def _refuse_incomplete(name: str | Path, loading: dict[str, Any], *, prefix: str) -> None:
    """Raise where weights of the encoder would stay random, or some of the checkpoint's were left over."""
    random = sorted(key for key in loading["missing_keys"] if key.removeprefix(prefix) not in _UNUSED_WEIGHTS)
    random += [
        f"{key} (shape {tuple(found)}, not {tuple(expected)})" for key, found, expected in loading["mismatched_keys"]
    ]
    # Layers that the config does not count, say: the rest would load, and be another model.
    left_over = sorted(key for key in loading["unexpected_keys"] if key.removeprefix(prefix).startswith(_USED_MODULES))
    if not random and not left_over:
        return
    raise BackboneError(
        f"The config and the weights of {str(name)!r} do not fit: {len(random)} weights of the encoder were not loaded "
        f"and would stay random, {len(left_over)} of the checkpoint were not used",
        expected="every weight of the encoder in the checkpoint, and no other",
        found=f"not loaded: {_shorten(random)}; not used: {_shorten(left_over or sorted(loading['unexpected_keys']))}",
        fix="re-export the checkpoint with the transformers release it was made by, or use another one",
    )


def _unloadable(name: str | Path, folder: Path | None, error: Exception, *, what: str) -> BackboneError:
    """Return the error for a config or for weights that transformers could not load."""
    if folder and any(is_lfs_pointer(folder / file) for file in _WEIGHT_FILES if (folder / file).is_file()):
        return BackboneError(
            "The model's weights are Git LFS pointers", where=folder, fix="run `git lfs pull` in this directory"
        )
    if isinstance(error, pickle.UnpicklingError):
        # torch's own message goes on to recommend the loader that runs code.
        reason = re.search(r"Unsupported (global: GLOBAL \S+|\w+ \S+)", str(error))
        return BackboneError(
            f"The weights of {str(name)!r} hold more than tensors, or are damaged; loading could run code: refused",
            expected="safetensors, or a .bin that torch's weights-only loader accepts",
            found=reason.group() if reason else None,
            fix="convert the checkpoint to safetensors on a machine that trusts it",
        )
    if folder is None:
        return BackboneError(
            f"The {what} of {str(name)!r} could not be loaded from the hub, and it is no local directory",
            found=_first_line(error),
            fix=did_you_mean(str(name), known_names()) + " For private or offline use see HF_TOKEN and HF_HUB_OFFLINE.",
        )
    return BackboneError(
        f"The {what} of the local model could not be loaded",
        where=folder,
        expected="config.json and model.safetensors (or pytorch_model.bin)",
        found=_first_line(error),
        fix="check that the directory is a complete Hugging Face model",
    )


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _shorten(names: list[str]) -> str:
    return (", ".join(names[:10]) + (", ..." if len(names) > 10 else "")) or "none"
