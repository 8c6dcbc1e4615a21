"""Loading and saving backbones. The one door to transformers' models.

No code from a model ever runs: weights come from safetensors or from torch's weights-only loader, remote
code is refused, and encoder weights that did not load are an error, where transformers warns and uses random values.
"""

from __future__ import annotations

import copy
import functools
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ser_probe.errors import BackboneError, DamagedFileError, SerProbeError
from ser_probe.files import read_json
from ser_probe.models.backbone import UNUSED_WEIGHTS, Backbone
from ser_probe.models.catalogue import TINY_CONFIGS, TINY_SEED, model_name
from ser_probe.models.contents import refuse_changed_files
from ser_probe.models.families import FAMILIES, Family
from ser_probe.models.inputs import InputSpec
from ser_probe.models.load_faults import WEIGHT_FILES, first_line, refuse_incomplete, refuse_unsupported, unloadable
from ser_probe.models.lora import merged_state
from ser_probe.models.model_files import (
    check_config,
    check_extractor,
    look_at_weights,
    refuse_non_finite,
    refuse_too_large,
)
from ser_probe.models.model_folder import ADAPTER_CONFIG, CONFIG, PREPROCESSOR, find_model_folder, refuse_adapter
from ser_probe.packages import leave_out_torchaudio
from ser_probe.runtime import logger


def _quiet_transformers() -> None:
    """Keep transformers from drawing progress bars, from warning where we raise, and from writing to the hub."""
    leave_out_torchaudio()
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    # "Some weights were not initialised" is an error here, with a better message.
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
    # Only the CPU's generator: torch.manual_seed would reseed every CUDA device for good.
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
    waveform = {"sampling_rate": spec.sample_rate_hz, "do_normalize": spec.normalise}
    settings = waveform if spec.log_mel is None else spec.log_mel.settings
    _extractor_class(family)(**{**family.extractor_settings(backbone.config), **settings}).save_pretrained(folder)


@functools.cache
def _say_once(text: str) -> None:
    # A warning, because the command line shows no lower level.
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
    """Return the config to build a model by; a decoder that is dropped anyway gets no layers, to halve the memory."""
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
    # A damaged or hostile file makes transformers raise almost anything; all of it is a fault of the file.
    try:
        if folder is None:
            options["revision"] = _commit_of(source, revision)
            _refuse_adapter_of_hub(source, options["revision"])
        config = AutoConfig.from_pretrained(source, **options)
    except BackboneError:
        raise
    except Exception as error:
        raise unloadable(name, folder, error, what="config") from error
    refuse_unsupported(name, config)
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
        raise unloadable(name, folder, error, what="config") from error
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
            # Listed by refuse_incomplete, with the missing ones.
            ignore_mismatched_sizes=True,
            weights_only=True,
            **options,
        )
    except Exception as error:
        raise unloadable(name, folder, error, what="weights") from error
    refuse_incomplete(name, family, loading, prefix=f"{model.base_model_prefix}.")
    # Drawn at random by transformers, and used by masks in training alone.
    drawn = {key.removeprefix(f"{model.base_model_prefix}.") for key in loading["missing_keys"]} & UNUSED_WEIGHTS
    model = _kept_part(model, config, family)
    _move_off_the_file(model)
    read = ((key, tensor) for key, tensor in model.state_dict().items() if key not in drawn)
    refuse_non_finite(read, name if folder is None else _weights_file(folder), BackboneError)
    return model


def _weights_file(folder: Path) -> Path:
    """Return the file of a folder's weights; the folder itself if they are in several files."""
    return next((path for file in WEIGHT_FILES if (path := folder / file).is_file()), folder)


def _commit_of(name: str, revision: str | None) -> str:
    """Return the current commit of a revision on the hub, so that config, weights and settings are of one commit."""
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
    adapter = cached_file(name, ADAPTER_CONFIG, revision=commit, **quiet)
    if adapter is not None:
        refuse_adapter(Path(adapter).parent, (ADAPTER_CONFIG, CONFIG), model=name)


def _move_off_the_file(model: torch.nn.Module) -> None:
    """Copy weights out of the memory map of their file.

    In the file they are aligned to 8 bytes only, and CPU kernels round differently by alignment: the same weights would
    give other bits once saved and loaded. And replacing a mapped file crashes the process.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)


def _input_spec(source: str, folder: Path | None, config: Any, options: dict[str, Any]) -> InputSpec:
    """Return the input of a model, by its own settings or, with a warning, by those of its family."""
    family = FAMILIES[config.model_type]
    kind = _extractor_class(family)
    path = folder / PREPROCESSOR if folder is not None else None
    try:
        if path is not None and path.is_file():
            check_extractor(read_json(path), path)
        extractor = kind.from_pretrained(source, **options)
        # Inside the `try`, because a value of the wrong type is a fault of the file.
        return family.read_input(extractor, config)
    except BackboneError:
        raise
    except Exception as error:  # transformers lets through whatever a damaged value raises
        if path is not None and path.exists():
            raise BackboneError(
                "The settings of the model's feature extractor cannot be read",
                where=path,
                found=error.found if isinstance(error, DamagedFileError) else first_line(error),
            ) from error
        if not isinstance(error, OSError | ValueError | TypeError | AttributeError):
            raise
    settings = family.extractor_settings(config)
    spec = family.read_input(kind(**settings), config)
    message = f"{source} has no preprocessor_config.json: taking {spec.sample_rate_hz} Hz, input normalisation"
    logger.warning("%s %s as its family and norm kind suggest", message, "on" if spec.normalise else "off")
    return spec
