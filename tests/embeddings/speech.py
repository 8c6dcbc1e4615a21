"""What the extraction tests share: clip lists of synthetic speech, and tiny backbones."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ser_probe.audio.load import AudioSpec, inspect_clip, load_clip
from ser_probe.embeddings.passes import ClipList, ExtractionSettings
from ser_probe.models.backbone import Backbone
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.loading import load_backbone, save_backbone
from ser_probe.runtime import Silent
from tests.embeddings.contents import datasets as datasets

SETTINGS = ExtractionSettings(AudioSpec(), batch_seconds=1.5, max_clips=4, workers=0, seconds_per_shard=0.0)
"""Small batches, each a shard of its own."""

DURATIONS_S = (0.61, 0.3, 1.2, 0.45, 0.45, 0.9, 0.33, 0.75, 0.52)


def list_clips(paths: Sequence[Path], root: Path) -> ClipList:
    """Return a clip list as a checked manifest gives it."""
    facts = [inspect_clip(path) for path in paths]
    table = pd.DataFrame(
        {
            "path": [str(path.relative_to(root)) for path in paths],
            "clip_id": [fact.clip_id for fact in facts],
            "duration_s": [fact.duration_s for fact in facts],
            "label": [f"label {row % 3}" for row in range(len(paths))],
        }
    )
    return ClipList(table, list(paths))


@functools.cache
def tiny(name: str = "tiny-wavlm-base") -> Backbone:
    """Return a tiny backbone; it is shared, so a test must not change it."""
    return load_backbone(name)


def save_perturbed(folder: Path, seed: int, *, part: str = "encoder", name: str = "tiny-wavlm-base") -> Path:
    """Save a tiny model with noise on the weights of one part: a stand-in for a fine-tuned checkpoint."""
    backbone = load_backbone(name)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in getattr(backbone.model, part).parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    save_backbone(backbone, folder)
    return folder


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest ||found - expected|| / ||expected|| over all vectors, which lie along the last axis."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    return float((np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)).max())


def alone(backbone: Backbone, clips: ClipList) -> np.ndarray:
    """Return what each clip gives by itself, [L, N, D]."""
    samples = [load_clip(path, SETTINGS.audio).samples for path in clips.paths]
    return np.concatenate([pooled_layers(backbone, [clip]) for clip in samples], axis=1)


class StopAfter(Silent):
    """A progress that raises once some batches are done, as Ctrl-C would."""

    def __init__(self, n_batches: int, error: BaseException) -> None:
        self.left, self.error = n_batches, error

    def advance(self, amount: float = 1, **fields: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error


def with_workers(workers: int) -> ExtractionSettings:
    """Return the settings with some worker processes."""
    return replace(SETTINGS, workers=workers)
