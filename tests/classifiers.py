"""Small classifiers that tell clips apart without being trained, and runs of fine-tuning that left them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ser_probe.models.checkpoint import save_classifier
from ser_probe.models.heads import SerClassifier
from ser_probe.models.loading import load_backbone
from ser_probe.models.targets import Targets

from .voices import LABELS, voice

CLASSES = Targets("classes", LABELS)


def make_classifier(targets: Targets = CLASSES, *, seed: int = 0) -> SerClassifier:
    """Return a tiny classifier with a random head, scaled so that the outputs of voices have mean 0 and deviation 1.

    Fresh weights say nearly the same of every clip.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = SerClassifier(load_backbone("tiny-wavlm-base"), targets).eval()
        linear = classifier.head.linear
        torch.nn.init.normal_(linear.weight)
    with torch.no_grad():
        outputs = classifier([voice(k, 100 + 30 * k, 0.4 + 0.1 * k) for k in range(6)])
        scale = 1 / outputs.std(dim=0)
        linear.weight *= scale[:, None]
        linear.bias.copy_((linear.bias - outputs.mean(dim=0)) * scale)
    return classifier


def save_run(folder: Path, targets: Targets = CLASSES, *, seed: int = 0) -> Path:
    """Write a finished run whose best checkpoint, of step 50, is such a classifier."""
    checkpoint = folder / "checkpoints" / "checkpoint-50"
    save_classifier(checkpoint, make_classifier(targets, seed=seed))
    (checkpoint / "audio.json").write_text(json.dumps({"audio": {"loudness_lufs": -23.0, "max_duration_s": 30.0}}))
    (folder / "best.json").write_text(json.dumps({"step": 50, "metric": "uar", "value": 0.5}))
    (folder / "training.json").write_text(json.dumps({"ingredients": {"seed": seed}}))
    return folder
