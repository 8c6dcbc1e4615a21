"""What the tests of the training room share: short tones in noise, settings, and a progress that interrupts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ser_probe.models.heads import HeadSettings
from ser_probe.models.loading import load_backbone
from ser_probe.models.lora import LoraSettings
from ser_probe.models.targets import CLASSES, Targets
from ser_probe.runtime import SILENT, Progress, Silent
from ser_probe.training.fine_tuning import TrainingTask, fine_tune
from ser_probe.training.run import TrainingResult
from ser_probe.training.settings import SplitClips, TrainingSettings

SAMPLE_RATE_HZ = 16_000
LABELS = ["low", "middle", "high"]
TARGETS = Targets(CLASSES, tuple(LABELS))
HEAD = HeadSettings(dropout=0.1)
RECIPE = {"sample_rate_hz": SAMPLE_RATE_HZ}


def make_clips(n_clips: int, seed: int, *, labels: list[int] | None = None) -> SplitClips:
    """Return clips of 0.3 to 0.6 s: tones of three heights in noise."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n_clips) % len(LABELS) if labels is None else np.array(labels)
    samples = []
    for label in classes:
        time_s = np.arange(int(rng.uniform(0.3, 0.6) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        tone = np.sin(2 * np.pi * 120 * (label + rng.uniform(0.9, 1.1)) * time_s)
        samples.append((0.3 * tone + 0.01 * rng.standard_normal(len(time_s))).astype(np.float32))
    durations_s = np.array([len(clip) / SAMPLE_RATE_HZ for clip in samples])
    # The label is part of the content: a cache knows clips by their ids.
    ids = [f"{seed}/{row}/{label}" for row, label in enumerate(classes)]
    return SplitClips(ids, classes, durations_s, lambda row: samples[row])


def make_settings(**changes: Any) -> TrainingSettings:
    """Return settings of a short run: 9 steps over 2.25 epochs, checkpoints at 0, 2, 4, 6, 8 and 9."""
    fixed: dict[str, Any] = {
        "epochs": None,
        "max_steps": 9,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "checkpoint_every": 2,
        "early_stopping_patience": None,
    }
    return TrainingSettings(**(fixed | changes))


class Interrupting(Silent):
    """A progress at which the user presses Ctrl-C after some training steps of this process."""

    def __init__(self, after_steps: int) -> None:
        self.left, self.said = after_steps, []

    def advance(self, amount: float = 1, **fields: object) -> None:
        if "loss" in fields:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture(scope="session")
def front_end_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of cached front ends for all runs, as studies share it."""
    return tmp_path_factory.mktemp("front_end")


@pytest.fixture(scope="session")
def tune(front_end_folder: Path) -> Callable[..., TrainingResult]:
    """Fine-tune a tiny backbone on 13 clips, validated on 6."""

    def run(
        folder: Path,
        settings: TrainingSettings | None = None,
        *,
        backbone: str = "tiny-wavlm-base",
        train: SplitClips | None = None,
        validation: SplitClips | None = None,
        targets: Targets = TARGETS,
        head: HeadSettings = HEAD,
        lora: LoraSettings | None = None,
        progress: Progress = SILENT,
        restart: bool = False,
    ) -> TrainingResult:
        return fine_tune(
            load_backbone(backbone),
            TrainingTask(train or make_clips(13, seed=1), validation or make_clips(6, seed=2), targets, head, lora),
            settings or make_settings(),
            folder,
            cache_folder=front_end_folder,
            recipe=RECIPE,
            progress=progress,
            restart=restart,
        )

    return run
