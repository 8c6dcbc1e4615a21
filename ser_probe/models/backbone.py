"""Loading and saving backbones. The one door to transformers' models.

No code from a model ever runs: weights come from safetensors or from torch's weights-only loader, remote
code is refused, and a backbone whose encoder weights did not all load is an error here, where transformers
warns and goes on with random values.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser_probe.errors import BackboneError, did_you_mean
from ser_probe.models.catalogue import SUPPORTED_FAMILIES, TINY_CONFIGS, TINY_SEED, known_names
from ser_probe.runtime import logger

LAYER_CONTRACT_VERSION = 1
"""Rises when the meaning of a layer name or the forward pass changes, so that no older cache is served."""

MIN_SAMPLES = 400
"""A shorter clip (25 ms at 16 kHz) yields no frame in any supported front end."""

# Absent from a checkpoint or left over in it without touching what extraction sees.
_HARMLESS_KEYS = (
    *("masked_spec_embed", "lm_head", "classifier", "projector", "quantizer", "project_q", "project_hid"),
    *("layer_weights", "tdnn", "objective", "feature_extractor_head", "final_proj", "label_embs_concat"),
)

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
    "dropout",
    "layerdrop",
    "mask_",
    "ctc_",
    "codevector",
    "contrastive",
    "diversity",
    "tdnn",
    "xvector",
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

    model: Any
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
        return hash_tensors({name: t for name, t in self.model.state_dict().items() if name != "masked_spec_embed"})

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
    """Switch off the bars that transformers draws while it loads and saves; ser-probe shows its own progress."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    # "Some weights were not initialised" is an error here, raised with more to say.
    transformers_logging.set_verbosity_error()


def load_backbone(name: str | Path, *, revision: str | None = None, device: torch.device | str = "cpu") -> Backbone:
    """Load a backbone in evaluation mode and float32.

    Args:
        name: A `tiny-*` name, a local directory in Hugging Face format, or a model id on the Hugging Face hub.
        revision: Commit, tag or branch on the hub.
        device: Where to put it.

    Raises:
        BackboneError: If it is unknown, of a family that is not supported, has no weights, lacks some of its
            encoder's weights, or comes in a file that holds more than tensors.
    """
    _quiet_transformers()
    name = str(name)
    backbone = _build_tiny(name) if name in TINY_CONFIGS else _load_pretrained(name, revision)
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
    # The caller's random state is none of our business.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(TINY_SEED)
        model = AutoModel.from_config(config)
    return Backbone(model.float(), name, InputSpec(16_000, normalise=config.feat_extract_norm == "layer"))


def _load_pretrained(name: str, revision: str | None) -> Backbone:
    from transformers import AutoConfig, AutoModel

    folder = Path(name).expanduser()
    is_folder = folder.is_dir()
    source = str(folder) if is_folder else name
    if not is_folder and (name.startswith((".", "/", "~")) or name.count("/") != 1):
        raise BackboneError(
            f"There is no backbone named {name!r}",
            expected="a tiny-* name, a local directory, or a hub id such as microsoft/wavlm-large",
            fix=did_you_mean(name, known_names()),
        )
    options: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": False}
    if is_folder:
        options["local_files_only"] = True
        if not (folder / "config.json").is_file():
            raise BackboneError(
                "The model directory has no config.json", where=folder, fix="give the folder that holds it"
            )
    try:
        config = AutoConfig.from_pretrained(source, **options)
    except (OSError, ValueError) as error:
        raise _unreachable(name, is_folder, error) from error
    if config.model_type not in SUPPORTED_FAMILIES or getattr(config, "add_adapter", False):
        found = (
            f"{config.model_type} with a convolutional adapter"
            if config.model_type in SUPPORTED_FAMILIES
            else config.model_type
        )
        raise BackboneError(
            f"The backbone {name!r} is of a family that ser-probe cannot run exactly",
            expected=", ".join(SUPPORTED_FAMILIES),
            found=found,
        )
    try:
        model, loading = AutoModel.from_pretrained(
            source, config=config, output_loading_info=True, weights_only=True, dtype=torch.float32, **options
        )
    except pickle.UnpicklingError as error:
        raise _unsafe(name) from error
    except (OSError, ValueError, RuntimeError) as error:
        if "weights only" in str(error).lower() or "weights_only" in str(error):
            raise _unsafe(name) from error
        raise _unreachable(name, is_folder, error, what="weights") from error
    _refuse_incomplete(name, loading)
    commit = getattr(config, "_commit_hash", None)
    return Backbone(model, name, _input_spec(source, config, options), revision=commit)


def _input_spec(source: str, config: Any, options: dict[str, Any]) -> InputSpec:
    from transformers import Wav2Vec2FeatureExtractor

    try:
        extractor = Wav2Vec2FeatureExtractor.from_pretrained(source, **options)
    except OSError:
        normalise = config.feat_extract_norm == "layer"
        logger.warning(
            "%s has no preprocessor_config.json: taking 16 kHz, input normalisation %s as its norm kind suggests",
            source, "on" if normalise else "off",
        )  # fmt: skip
        return InputSpec(16_000, normalise)
    return InputSpec(int(extractor.sampling_rate), bool(extractor.do_normalize))


def _refuse_incomplete(name: str, loading: dict[str, Any]) -> None:
    """Raise where weights that the forward pass uses kept their random initial values."""
    missing = [key for key in loading["missing_keys"] if not any(part in key for part in _HARMLESS_KEYS)]
    mismatched = [str(key) for key in loading["mismatched_keys"]]
    if not missing and not mismatched:
        return
    left_over = sorted(key for key in loading["unexpected_keys"] if not any(part in key for part in _HARMLESS_KEYS))
    shown = sorted(missing)[:10] + mismatched[:10]
    raise BackboneError(
        f"{len(missing) + len(mismatched)} weights of the encoder of {name!r} were not loaded and would stay random: "
        + ", ".join(shown)
        + (", ..." if len(missing) + len(mismatched) > len(shown) else ""),
        expected="every weight of the encoder in the checkpoint",
        found=f"in the checkpoint but not in the model: {', '.join(left_over[:10]) or 'nothing'}",
        fix="re-export the checkpoint with the transformers release it was made by, or use another one",
    )


def _unsafe(name: str) -> BackboneError:
    return BackboneError(
        f"The weights of {name!r} hold more than tensors; loading them could run code, so they are refused",
        expected="safetensors, or a .bin that torch's weights-only loader accepts",
        fix="convert the checkpoint to safetensors on a machine that trusts it",
    )


def _unreachable(name: str, is_folder: bool, error: Exception, *, what: str = "config") -> BackboneError:
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if is_folder:
        return BackboneError(
            f"The {what} of the local model could not be loaded",
            where=name,
            expected="config.json and model.safetensors (or pytorch_model.bin)",
            found=first_line,
            fix="check that the directory is a complete Hugging Face model",
        )
    return BackboneError(
        f"The backbone {name!r} could not be loaded from the hub",
        found=first_line,
        fix=did_you_mean(name, known_names()) + " For a private or offline use see HF_TOKEN and HF_HUB_OFFLINE.",
    )
