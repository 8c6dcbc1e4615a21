"""Why a model cannot be loaded, in messages that say what to do about it."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

from ser_probe.errors import BackboneError, SerProbeError
from ser_probe.files import is_lfs_pointer
from ser_probe.models.catalogue import SUPPORTED_FAMILIES
from ser_probe.models.families import Family
from ser_probe.models.model_folder import near_names, shown_place
from ser_probe.packages import import_fault

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def refuse_unsupported(name: str | Path, config: Any) -> None:
    """Refuse a model whose forward pass ser-probe would not reproduce.

    Raises:
        BackboneError: If so.
    """
    kind = str(config.model_type)
    if config.model_type in SUPPORTED_FAMILIES:
        if getattr(config, "add_adapter", False):
            kind += " with a convolutional adapter"
        elif getattr(config, "quantization_config", None):
            kind += " with quantised weights"
        else:
            return
    raise BackboneError(
        f"The backbone {str(name)!r} is of a kind that ser-probe cannot run exactly",
        expected=", ".join(SUPPORTED_FAMILIES),
        found=kind,
    )


def refuse_incomplete(name: str | Path, family: Family, loading: dict[str, Any], *, prefix: str) -> None:
    """Refuse a checkpoint that does not fill the encoder, or has weights that were left over.

    Args:
        name: The model's name.
        family: Which weights the forward pass uses.
        loading: What transformers reports about loading.
        prefix: The model's prefix in names of weights.

    Raises:
        BackboneError: If so.
    """

    def is_used(key: str) -> bool:
        return key.removeprefix(prefix).startswith(family.used_weights)

    random = sorted(filter(is_used, loading["missing_keys"]))
    random += [
        f"{key} (shape {tuple(shape)}, not {tuple(expected)})"
        for key, shape, expected in loading["mismatched_keys"]
        if is_used(key)
    ]
    # For example layers beyond the config's number: the rest would load, and be another model.
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


def unloadable(name: str | Path, folder: Path | None, error: Exception, *, what: str) -> SerProbeError:
    """Return the error for a config or weights that could not be loaded, or a transformers that cannot be imported."""
    if fault := import_fault(error):
        return fault
    if folder and any(is_lfs_pointer(folder / file) for file in WEIGHT_FILES if (folder / file).is_file()):
        return BackboneError(
            "The model's weights are Git LFS pointers", where=folder, fix="run `git lfs pull` in this directory"
        )
    if isinstance(error, pickle.UnpicklingError):
        # torch's message recommends the loader that runs code.
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
            found=f"{first_line(error)}{shown_place(str(name))}",
            fix=near_names(str(name)) + ". For private or offline use see HF_TOKEN and HF_HUB_OFFLINE.",
        )
    return BackboneError(
        f"The {what} of the local model could not be loaded",
        where=folder,
        expected="config.json and model.safetensors (or pytorch_model.bin)",
        found=first_line(error),
        fix="check that the directory is a complete Hugging Face model",
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # A first line that ends in a colon needs the next one.
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _shorten(names: list[str]) -> str:
    return (", ".join(names[:10]) + (", ..." if len(names) > 10 else "")) or "none"
