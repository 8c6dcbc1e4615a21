"""Loading and saving backbones. The one door to transformers' models.

No code from a model ever runs: weights come from safetensors or from torch's weights-only loader, remote
code is refused, and a backbone whose encoder weights did not all load is an error here, where transformers
warns and goes on with random values.
"""

from __future__ import annotations

import copy
import functools
import os
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ser_probe.errors import BackboneError, DamagedFileError, SerProbeError
from ser_probe.files import is_lfs_pointer, read_json
from ser_probe.models.backbone import UNUSED_WEIGHTS, Backbone
from ser_probe.models.catalogue import SUPPORTED_FAMILIES, TINY_CONFIGS, TINY_SEED, model_name
from ser_probe.models.contents import refuse_changed_files
from ser_probe.models.families import FAMILIES, Family
from ser_probe.models.inputs import InputSpec
from ser_probe.models.lora import merged_state
from ser_probe.models.model_files import (
    check_config,
    check_extractor,
    look_at_weights,
    refuse_non_finite,
    refuse_too_large,
)
from ser_probe.models.model_folder import (
    ADAPTER_CONFIG,
    CONFIG,
    PREPROCESSOR,
    find_model_folder,
    near_names,
    refuse_adapter,
    shown_place,
)
from ser_probe.packages import import_fault, leave_out_torchaudio
from ser_probe.runtime import logger

_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def _quiet_transformers() -> None:
    """Keep transformers from drawing bars, from warning where we raise, and from writing to the hub."""
    leave_out_torchaudio()
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    # "Some weights were not initialised" is an error here, raised with more to say.
    transformers_logging.set_verbosity_error()
    # WavLM's attention hands torch a boolean mask beside its position bias, at every layer of every batch.
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask and attn_mask")
    # For a .bin on the hub it would ask a bot, from a background thread, to open a pull request there.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")


def load_backbone(
    name: str | Path,
    *,
    revision: str | None = None,
    random_weights: int | None = None,
    device: torch.device | str = "cpu",
) -> Backbone:
    """Load a backbone in evaluation mode and float32. The caller's random state is left as it was.

    Args:
        name: A `tiny-*` name, a local directory in Hugging Face format, or a model id on the Hugging Face hub.
        revision: Commit, tag or branch on the hub.
        random_weights: Seed to draw all weights from, instead of loading them: the architecture untrained.
        device: Where to put it.

    Raises:
        BackboneError: If it is unknown, of a family that is not supported, has no weights, lacks some of its
            encoder's weights, or comes in a file that holds more than tensors.
    """
    _quiet_transformers()
    # The generator of the CPU alone: torch.manual_seed would reseed every CUDA device for good.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(TINY_SEED if random_weights is None else random_weights)
        backbone = _build_tiny(str(name)) if str(name) in TINY_CONFIGS else _load(name, revision, random_weights)
    backbone.name = model_name(str(name), random_weights)
    family = backbone.facts
    family.adapt(backbone.model)
    backbone.model.to(device).eval()
    if family.note:
        _say_once(f"{backbone.family} {family.note}")
    return backbone


def save_backbone(backbone: Backbone, folder: Path) -> None:
    """Write the weights, the config and the feature extractor's settings in plain Hugging Face format.

    Of a model whose decoder was dropped the encoder is written, under the names it has in the whole model; adapters are
    merged into the weights that are written.
    """
    family, spec = backbone.facts, backbone.input
    folder.mkdir(parents=True, exist_ok=True)
    state = merged_state(backbone.model)
    if family.encoder_only:
        backbone.config.save_pretrained(folder)
        weights = {f"encoder.{name}": weight.contiguous() for name, weight in state.items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        backbone.model.save_pretrained(folder, state_dict=state)
    heard = {"sampling_rate": spec.sample_rate_hz, "do_normalize": spec.normalise}
    settings = heard if spec.log_mel is None else spec.log_mel.settings
    _extractor_class(family)(**{**family.extractor_settings(backbone.config), **settings}).save_pretrained(folder)


@functools.cache
def _say_once(text: str) -> None:
    # A warning, because the command line shows nothing less.
    logger.warning(text)


def _extractor_class(family: Family) -> Any:
    import transformers

    return getattr(transformers, family.extractor)


def _build_tiny(name: str) -> Backbone:
    from transformers import AutoConfig

    settings = dict(TINY_CONFIGS[name])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    family = FAMILIES[config.model_type]
    extractor = _extractor_class(family)(**family.extractor_settings(config))
    return Backbone(_draw(config), name, family.read_input(extractor, config))


def _draw(config: Any) -> Any:
    """Return a model of random weights, from the generator as it stands."""
    from transformers import AutoModel

    family = FAMILIES[config.model_type]
    model = AutoModel.from_config(_buildable(config, family), attn_implementation=family.attention).float()
    return _kept_part(model, config, family)


def _buildable(config: Any, family: Family) -> Any:
    """Return the config to build a model by: a decoder that is dropped anyway gets no layers, half of the memory."""
    if family.encoder_only:
        config = copy.deepcopy(config)
        config.decoder_layers = 0
    return config


def _kept_part(model: Any, config: Any, family: Family) -> Any:
    if not family.encoder_only:
        return model
    model.config.decoder_layers = config.decoder_layers
    return model.encoder


def _load(name: str | Path, revision: str | None, random_weights: int | None) -> Backbone:
    """Return a published or local backbone; with random weights nothing but its settings is fetched."""
    from transformers import AutoConfig

    folder = find_model_folder(name)
    if folder is not None:
        refuse_changed_files(folder)
    source = str(folder or name)
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": folder is not None}
    # A damaged or hostile file makes transformers raise almost anything; each kind is a fault of the file.
    try:
        if folder is None:
            options["revision"] = _commit_of(source, revision)
            _refuse_adapter_of_hub(source, options["revision"])
        config = AutoConfig.from_pretrained(source, **options)
    except BackboneError:
        raise
    except Exception as error:
        raise _unloadable(name, folder, error, what="config") from error
    _refuse_unsupported(name, config)
    where = name if folder is None else folder / CONFIG
    check_config(config, where)
    try:
        if folder is not None or random_weights is not None:
            stored = look_at_weights(folder) if folder is not None and random_weights is None else None
            refuse_too_large(lambda: _draw(config), int(config.num_hidden_layers), where, stored=stored)
        model = _load_weights(name, folder, config, options) if random_weights is None else _draw(config)
    except SerProbeError:
        raise
    except Exception as error:
        raise _unloadable(name, folder, error, what="config") from error
    return Backbone(model, str(name), _input_spec(source, folder, config, options), options.get("revision"))


def _load_weights(name: str | Path, folder: Path | None, config: Any, options: dict[str, Any]) -> Any:
    from transformers import AutoModel

    family = FAMILIES[config.model_type]
    try:
        model, loading = AutoModel.from_pretrained(
            str(folder or name),
            config=_buildable(config, family),
            attn_implementation=family.attention,
            dtype=torch.float32,
            output_loading_info=True,
            # Listed by _refuse_incomplete, with the missing ones.
            ignore_mismatched_sizes=True,
            weights_only=True,
            **options,
        )
    except Exception as error:
        raise _unloadable(name, folder, error, what="weights") from error
    _refuse_incomplete(name, family, loading, prefix=f"{model.base_model_prefix}.")
    # Drawn by transformers, and read by nothing but masks in training.
    drawn = {key.removeprefix(f"{model.base_model_prefix}.") for key in loading["missing_keys"]} & UNUSED_WEIGHTS
    model = _kept_part(model, config, family)
    _move_off_the_file(model)
    read = ((key, tensor) for key, tensor in model.state_dict().items() if key not in drawn)
    refuse_non_finite(read, name if folder is None else _weights_file(folder), BackboneError)
    return model


def _weights_file(folder: Path) -> Path:
    """Return the one file of a folder's weights, of several the folder."""
    found = [path for file in _WEIGHT_FILES if (path := folder / file).is_file()]
    return found[0] if found else folder


def _commit_of(name: str, revision: str | None) -> str:
    """Return the commit that a revision of a hub model means now, so that config, weights and settings are of one."""
    from transformers.utils import cached_file

    # The cache keeps each commit's files in a folder of the commit's name.
    return Path(str(cached_file(name, "config.json", revision=revision or "main"))).parent.name


def _refuse_adapter_of_hub(name: str, commit: str) -> None:
    """Raise where a hub model comes with an adapter.

    Raises:
        BackboneError: As `refuse_adapter`.
    """
    from transformers.utils import cached_file

    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    found = cached_file(name, ADAPTER_CONFIG, revision=commit, **quiet)
    if found is not None:
        refuse_adapter(Path(found).parent, (ADAPTER_CONFIG, CONFIG), model=name)


def _move_off_the_file(model: torch.nn.Module) -> None:
    """Copy weights that are mapped into memory from their file into memory of their own.

    In the file they lie at any multiple of 8 bytes, and CPU kernels round differently by alignment: the same weights
    would give other bits once saved and loaded. And a file that is replaced under a map takes the process down.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)


def _input_spec(source: str, folder: Path | None, config: Any, options: dict[str, Any]) -> InputSpec:
    """Return what a model is fed, by the settings that it came with or, with a warning, those its family has."""
    family = FAMILIES[config.model_type]
    kind = _extractor_class(family)
    path = folder / PREPROCESSOR if folder is not None else None
    try:
        if path is not None and path.is_file():
            check_extractor(read_json(path), path)
        extractor = kind.from_pretrained(source, **options)
        # Its settings are read here, where a value of another type is a fault of the file.
        return family.read_input(extractor, config)
    except BackboneError:
        raise
    except Exception as error:  # transformers lets through whatever a damaged value raises
        if path is not None and path.exists():
            raise BackboneError(
                "The settings of the model's feature extractor cannot be read",
                where=path,
                found=error.found if isinstance(error, DamagedFileError) else _first_line(error),
            ) from error
        if not isinstance(error, OSError | ValueError | TypeError | AttributeError):
            raise
    settings = family.extractor_settings(config)
    spec = family.read_input(kind(**settings), config)
    said = f"{source} has no preprocessor_config.json: taking {spec.sample_rate_hz} Hz, input normalisation"
    logger.warning("%s %s as its family and norm kind suggest", said, "on" if spec.normalise else "off")
    return spec


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


def _refuse_incomplete(name: str | Path, family: Family, loading: dict[str, Any], *, prefix: str) -> None:
    """Raise where weights of the encoder would stay random, or some of the checkpoint's were left over."""

    def is_used(key: str) -> bool:
        return key.removeprefix(prefix).startswith(family.used_weights)

    random = sorted(filter(is_used, loading["missing_keys"]))
    random += [
        f"{key} (shape {tuple(found)}, not {tuple(expected)})"
        for key, found, expected in loading["mismatched_keys"]
        if is_used(key)
    ]
    # Layers that the config does not count, say: the rest would load, and be another model.
    left_over = sorted(filter(is_used, loading["unexpected_keys"]))
    if not random and not left_over:
        return
    raise BackboneError(
        f"The config and the weights of {str(name)!r} do not fit: {len(random)} weights of the encoder were not loaded "
        f"and would stay random, {len(left_over)} of the checkpoint were not used",
        expected="every weight of the encoder in the checkpoint, and no other",
        found=f"not loaded: {_shorten(random)}; not used: {_shorten(left_over or sorted(loading['unexpected_keys']))}",
        fix="re-export the checkpoint with the transformers release it was made by, or use another one",
    )


def _unloadable(name: str | Path, folder: Path | None, error: Exception, *, what: str) -> SerProbeError:
    """Return the error for a config or for weights that transformers could not load, or could not be loaded itself."""
    if fault := import_fault(error):
        return fault
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
            f"The {what} of {str(name)!r} could not be loaded from the hub, and there is no such folder",
            found=f"{_first_line(error)}{shown_place(str(name))}",
            fix=near_names(str(name)) + ". For private or offline use see HF_TOKEN and HF_HUB_OFFLINE.",
        )
    return BackboneError(
        f"The {what} of the local model could not be loaded",
        where=folder,
        expected="config.json and model.safetensors (or pytorch_model.bin)",
        found=_first_line(error),
        fix="check that the directory is a complete Hugging Face model",
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # A line that announces the next one says nothing without it.
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _shorten(names: list[str]) -> str:
    return (", ".join(names[:10]) + (", ..." if len(names) > 10 else "")) or "none"
