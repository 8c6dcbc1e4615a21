"""A checkpoint's model files: the backbone as plain Hugging Face files, the head as safetensors and JSON.

    config.json, model.safetensors, preprocessor_config.json   AutoModel.from_pretrained(folder) opens these
    head.safetensors, head.json                                weights and settings of the head
    labels.json                                                class names in the order of the logits

Nothing in a checkpoint is unpickled here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ser_probe.errors import CheckpointError
from ser_probe.files import read_json, write_json
from ser_probe.models.heads import SerClassifier
from ser_probe.models.loading import load_backbone, save_backbone
from ser_probe.models.pooling import POOLINGS

_REQUIRED_FILES = ("config.json", "head.safetensors", "head.json", "labels.json")


def save_classifier(folder: Path, classifier: SerClassifier, labels: Sequence[str]) -> None:
    """Write a classifier's model files into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    save_backbone(classifier.backbone, folder)
    head = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.head.state_dict().items()}
    save_file(head, folder / "head.safetensors")
    write_json(folder / "head.json", classifier.settings())
    write_json(folder / "labels.json", list(labels))


def load_classifier(folder: Path, *, device: torch.device | str = "cpu") -> tuple[SerClassifier, list[str]]:
    """Load a classifier and its class names, in evaluation mode.

    Raises:
        CheckpointError: If a file is missing or the head does not fit.
        BackboneError: If the backbone's weights are incomplete.
    """
    missing = [name for name in _REQUIRED_FILES if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            "The folder is not a complete checkpoint",
            where=folder,
            expected=", ".join(_REQUIRED_FILES),
            found=f"missing: {', '.join(missing)}",
            fix="give a checkpoint-<step> folder that fine-tuning has written",
        )
    settings, labels = _read_settings(folder), _read_json(folder / "labels.json")
    if not isinstance(labels, list) or settings["n_classes"] != len(labels):
        raise CheckpointError(
            "The head and the labels of the checkpoint do not fit",
            where=folder,
            expected=f"{settings['n_classes']} labels",
            found=labels,
        )
    classifier = SerClassifier(
        load_backbone(folder), settings["n_classes"], pooling=settings["pooling"], dropout=settings["dropout"]
    )
    load_head(folder, classifier)
    return classifier.to(device).eval(), labels


def _read_settings(folder: Path) -> dict[str, Any]:
    """Return the head's settings, checked against what this release can rebuild."""
    settings = _read_json(folder / "head.json")
    known = (
        isinstance(settings, dict)
        and settings.get("kind") == "linear"
        and str(settings.get("pooling")) in POOLINGS
        and isinstance(settings.get("n_classes"), int)
        and isinstance(settings.get("dropout"), int | float)
    )
    if not known:
        raise CheckpointError(
            "The settings of the head are not ones that this release knows",
            where=folder / "head.json",
            expected=f"kind linear, n_classes, dropout, and pooling one of {', '.join(POOLINGS)}",
            found=settings,
        )
    return settings


def _read_json(path: Path) -> Any:
    try:
        return read_json(path)
    except ValueError as error:
        raise CheckpointError("A file of the checkpoint is not JSON", where=path, found=error) from error


def load_head(folder: Path, classifier: SerClassifier) -> None:
    """Load the head's weights of a checkpoint into a classifier.

    Raises:
        CheckpointError: If they do not fit or the file is damaged.
    """
    try:
        classifier.head.load_state_dict(load_file(folder / "head.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            "The head's weights do not fit", where=folder / "head.safetensors", found=error
        ) from error
