"""Every pooling, mixing of layers, loss, kind of targets and part that trains: a few steps each, and on from there.

On real speech where it lies beside the project, else on tones.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.files import content_id
from ser_probe.models.checkpoint import load_classifier
from ser_probe.models.frame_pooling import HEAD_POOLINGS
from ser_probe.models.heads import HeadSettings
from ser_probe.models.lora import LoraSettings
from ser_probe.models.targets import DISTRIBUTION, NUMERIC, Targets, numeric_targets
from ser_probe.models.trained_part import TRAINED
from ser_probe.training.run import TrainingResult
from ser_probe.training.settings import LOSSES, METRICS_OF, SplitClips
from tests.conftest import SHARED_DATA
from tests.training.conftest import LABELS, TARGETS, Interrupting, make_clips, make_settings

EMOVO = SHARED_DATA / "EMOVO"
BATCHED = 1e-4
"""Relative: a checkpoint's outputs clip by clip against those in batches, float32."""

Tune = Callable[..., TrainingResult]


@pytest.fixture(scope="module")
def splits() -> tuple[SplitClips, SplitClips]:
    """Seven training and five validation clips of three classes."""
    if not EMOVO.is_dir():
        return make_clips(7, seed=1), make_clips(5, seed=2)
    found = []
    for split, actor, count in (("train", "f1", 7), ("validation", "m1", 5)):
        files = [sorted(EMOVO.rglob(f"{emotion}-{actor}-*.wav")) for emotion in ("gio", "neu", "tri")]
        paths = [files[row % 3][row // 3] for row in range(count)]
        ids = [f"{split}/{content_id(path)}" for path in paths]
        # Their first seconds, of unequal lengths: what is tested takes seconds enough.
        samples = [load_clip(path, AudioSpec()).samples[: 9000 + 700 * row] for row, path in enumerate(paths)]
        durations_s = np.array([len(clip) / 16_000 for clip in samples])
        found.append(SplitClips(ids, np.arange(count) % 3, durations_s, samples.__getitem__))
    return found[0], found[1]


def with_targets(splits: tuple[SplitClips, SplitClips], kind: str) -> tuple[SplitClips, SplitClips, Targets]:
    """Return the clips with targets of a kind."""
    train, validation = splits
    if kind == DISTRIBUTION:
        targets = Targets(DISTRIBUTION, tuple(LABELS))
        values = [0.7 * np.eye(3, dtype=np.float32)[clips.targets] + 0.1 for clips in splits]
    elif kind == NUMERIC:
        raw = [np.stack([clips.targets, clips.durations_s], axis=1) for clips in splits]
        targets = numeric_targets(("arousal", "valence"), raw[0])
        values = [targets.standardise(each) for each in raw]
    else:
        return train, validation, TARGETS
    return dataclasses.replace(train, targets=values[0]), dataclasses.replace(validation, targets=values[1]), targets


CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    **{f"pooling {name}": ("classes", {"pooling": name}, {}) for name in HEAD_POOLINGS},
    "layer 2": ("classes", {"layers": 2}, {}),
    **{
        f"{layers} {mix}": ("classes", {"layers": layers, "mix": mix, "pooling": "attentive"}, {})
        for layers in ("weighted", "weighted-raw")
        for mix in ("frames", "pooled")
    },
    "deep head": ("classes", {"hidden": (16, 8), "relu": True, "batch_norm": True, "dropout": 0.2}, {"head_l2": 0.1}),
    **{
        f"loss {loss} of {kind}": (kind, {}, {"loss": loss, "metric": METRICS_OF[kind][1]})
        for loss, kinds in LOSSES.items()
        for kind in kinds
    },
    "weights and smoothing": ("classes", {}, {"class_weights": True, "label_smoothing": 0.1}),
    **{
        f"trained {name}": ("classes", {}, {"trained": name.replace("K", "2"), "spec_augment": name == "encoder"})
        for name in TRAINED
    },
    "gradient checkpointing": ("classes", {"layers": "weighted"}, {"gradient_checkpointing": True}),
}


# The plain poolings are one operation each, which the tests of heads try too.
SLOW = ("pooling std", "pooling max", "pooling sum", "pooling mean+std", "weighted pooled", "weighted-raw frames")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in SLOW else case for case in CASES]
)
def test_it_trains_a_few_steps_and_its_checkpoint_predicts(
    case: str, splits: tuple[SplitClips, SplitClips], tune: Tune, tmp_path: Path
) -> None:
    kind, head, changes = CASES[case]
    train, validation, targets = with_targets(splits, kind)
    settings = make_settings(max_steps=2, checkpoint_every=1, warmup_ratio=0.0, **changes)
    options = {
        "settings": settings, "train": train, "validation": validation, "targets": targets,
        "head": HeadSettings(**head), "lora": LoraSettings(rank=2) if "lora" in case else None,
    }  # fmt: skip
    result = tune(tmp_path / "whole", **options)
    first, last = (result.checkpoints[row][1] for row in (0, -1))
    before, after = (load_file(path / "head.safetensors") for path in (first, last))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in changed if "output" in name or "linear" in name}, "the head's last layer learns"
    backbones = [load_file(path / "model.safetensors") for path in (first, last)]
    moved = any(not torch.equal(backbones[0][name], backbones[1][name]) for name in backbones[0])
    assert moved == (settings.trained != "head")

    shown = last / "layer_weights.json"
    assert shown.exists() == str(head.get("layers", "")).startswith("weighted")
    if shown.exists() and head["layers"] == "weighted":
        assert sum(json.loads(shown.read_text()).values()) == pytest.approx(1, abs=1e-6)

    classifier = load_classifier(last)
    assert (classifier.targets, classifier.settings) == (targets, HeadSettings(**head))
    with torch.no_grad():
        alone = torch.cat([classifier([validation.load(row)]) for row in range(len(validation))])
        together = classifier([validation.load(row) for row in range(len(validation))])
    assert (alone - together).norm() < BATCHED * alone.norm()

    # Interrupted and gone on with, it ends in the same weights.
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "resumed", **options, progress=Interrupting(2))
    resumed = tune(tmp_path / "resumed", **options)
    assert resumed.resumed_from == 1
    again = load_file(resumed.checkpoints[-1][1] / "head.safetensors")
    assert all(torch.equal(after[name], again[name]) for name in after)


def test_the_trained_part_is_named(splits: tuple[SplitClips, SplitClips], tune: Tune, tmp_path: Path) -> None:
    settings = make_settings(max_steps=1, trained="last:1")
    part = tune(tmp_path, settings, train=splits[0], validation=splits[1]).part
    assert 0 < part["trained"] < part["total"]
    assert "encoder.layers.3" in part["words"]
    assert "head" in part["words"]


def test_gradient_checkpointing_changes_no_gradient(
    splits: tuple[SplitClips, SplitClips], tune: Tune, tmp_path: Path
) -> None:
    """Dropout is on: recomputed blocks must draw the same masks."""
    ends = []
    for wanted in (False, True):
        settings = make_settings(max_steps=2, warmup_ratio=0.0, gradient_checkpointing=wanted)
        result = tune(tmp_path / str(wanted), settings, train=splits[0], validation=splits[1])
        ends.append(load_file(result.checkpoints[-1][1] / "model.safetensors"))
    for name, weight in ends[0].items():
        assert torch.allclose(weight, ends[1][name], atol=1e-6), name
