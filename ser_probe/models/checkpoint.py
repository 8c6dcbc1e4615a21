"""A checkpoint's model files: the backbone as plain Hugging Face files, the head as safetensors and JSON.

    config.json, model.safetensors, preprocessor_config.json   AutoModel.from_pretrained(folder) opens these
    head.safetensors                                           weights of the head: layer mixing, pooling, layers
    head.json                                                  `HeadSettings`
    labels.json                                                `Targets`: class names in the order of the outputs, ...

Nothing in a checkpoint is unpickled here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ser_probe.errors import CheckpointError, ConfigError, DamagedFileError
from ser_probe.files import read_json, write_json
from ser_probe.models.backbone import Backbone
from ser_probe.models.contents import TRAINING_FILES, refuse_changed_files
from ser_probe.models.heads import Head, HeadSettings, SerClassifier
from ser_probe.models.loading import load_backbone, save_backbone
from ser_probe.models.model_files import refuse_non_finite
from ser_probe.models.model_folder import WEIGHT_SUFFIXES, refuse_non_folder
from ser_probe.models.targets import Targets

_REQUIRED_FILES = ("config.json", "head.safetensors", "head.json", "labels.json")


def save_classifier(folder: Path, classifier: SerClassifier) -> None:
    """Write a classifier's model files into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    save_backbone(classifier.backbone, folder)
    head = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.head.state_dict().items()}
    save_file(head, folder / "head.safetensors")
    write_json(folder / "head.json", classifier.settings.as_json())
    write_json(folder / "labels.json", classifier.targets.as_json())


def load_classifier(folder: Path, *, device: torch.device | str = "cpu") -> SerClassifier:
    """Load a classifier in evaluation mode. The caller's random state is left as it was.

    Raises:
        CheckpointError: If a file is missing or the head does not fit.
        BackboneError: If the backbone's weights are incomplete.
        MissingExtraError: If the head needs a package that is not installed.
    """
    _refuse_incomplete(folder)
    backbone = load_backbone(folder)  # which first compares all files with what was written
    settings, targets = _read_settings(folder / "head.json"), _read_targets(folder / "labels.json")
    with _weights_must_fit(folder / "head.safetensors"):
        weights = load_file(folder / "head.safetensors")
    _refuse_other_outputs(folder, weights, targets)
    refuse_non_finite(weights, folder / "head.safetensors", CheckpointError)
    try:
        _refuse_other_shapes(folder / "head.safetensors", weights, backbone, targets, settings)
        # The CPU's generator draws the first weights of the head, which are then replaced.
        with torch.random.fork_rng(devices=[]):
            classifier = SerClassifier(backbone, targets, settings)
    except ConfigError as error:
        raise CheckpointError("The head does not fit the backbone", where=folder, found=error) from error
    with _weights_must_fit(folder / "head.safetensors"):
        classifier.head.load_state_dict(weights)
    return classifier.to(device).eval()


def read_targets(folder: Path) -> Targets:
    """Return what a checkpoint's classifier predicts, without reading its weights.

    Raises:
        CheckpointError: If a file is missing, changed or damaged.
    """
    _refuse_incomplete(folder)
    weights = [path.name for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES]
    refuse_changed_files(folder, but=[*TRAINING_FILES, *weights])
    return _read_targets(folder / "labels.json")


def _refuse_incomplete(folder: Path) -> None:
    refuse_non_folder(folder, CheckpointError)
    missing = [name for name in _REQUIRED_FILES if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            "The folder is not a complete checkpoint",
            where=folder,
            expected=", ".join(_REQUIRED_FILES),
            found=f"missing: {', '.join(missing)}",
            fix="give a checkpoint-<step> folder that fine-tuning has written",
        )


def _refuse_other_shapes(
    path: Path, weights: dict[str, Tensor], backbone: Backbone, targets: Targets, settings: HeadSettings
) -> None:
    """Raise if a head of these settings has other weights than the file, before memory is allocated for them."""
    if len(settings.hidden) > len(weights):
        raise _unfit(path, found=f"{len(settings.hidden):,} hidden layers, and {len(weights)} tensors")
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            head = Head(settings, backbone.layer_names, backbone.width, len(targets.names))
    except RuntimeError as error:  # more values than a tensor can have
        raise _unfit(path, found=error) from error
    expected = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    stored = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    odd = sorted(name for name in {*expected, *stored} if expected.get(name) != stored.get(name))
    if odd:
        shown = [f"{odd[0]}: {shapes.get(odd[0], 'no such tensor')}" for shapes in (expected, stored)]
        more = f"; {len(odd)} tensors differ" if len(odd) > 1 else ""
        raise _unfit(path, expected=f"{shown[0]}, by head.json", found=f"{shown[1]}{more}")


def _unfit(path: Path, *, found: object, expected: object = None) -> CheckpointError:
    return CheckpointError(
        "The head's weights do not fit, or are damaged", where=path, expected=expected, found=found,
        fix="head.json, labels.json and head.safetensors must be those of one checkpoint",
    )  # fmt: skip


@contextlib.contextmanager
def _weights_must_fit(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        raise _unfit(path, found=error) from error


def _refuse_other_outputs(folder: Path, weights: dict[str, Tensor], targets: Targets) -> None:
    n_outputs = weights["linear.bias"].numel() if "linear.bias" in weights else len(targets.names)
    if n_outputs != len(targets.names):
        raise CheckpointError(
            "The head and the targets of the checkpoint do not fit",
            where=folder / "labels.json",
            expected=f"{n_outputs} names, one an output of the head",
            found=", ".join(targets.names) or "none",
        )


def _read_settings(path: Path) -> HeadSettings:
    """Return the head's settings, checked against what this release can rebuild."""
    try:
        return HeadSettings.from_json(_read_json(path))
    except ConfigError as error:
        raise CheckpointError(
            "The settings of the head are not ones that this release knows", where=path, found=error
        ) from error


def _read_targets(path: Path) -> Targets:
    try:
        return Targets.from_json(_read_json(path))
    except ValueError as error:
        raise CheckpointError(
            "The targets of the classifier are not ones that this release knows", where=path, found=error
        ) from error


def _read_json(path: Path) -> Any:
    try:
        return read_json(path)
    except DamagedFileError as error:
        raise CheckpointError("A file of the checkpoint is not JSON", where=path, found=error.found) from error
