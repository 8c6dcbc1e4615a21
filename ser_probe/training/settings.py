"""What a fine-tuning run is made from: its settings and its clips. Plain values, nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ser_probe.errors import ConfigError, SplitError, collect

METRICS = {"loss": False, "accuracy": True, "uar": True, "macro_f1": True}
"""What is measured on the validation clips; whether more of it is better."""

SCHEDULERS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
"""How the learning rate goes on after the warm-up, and what transformers calls it."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to fine-tune. The defaults are Study E's where it states one.

    Args:
        epochs: Passes over the training clips; None leaves it to `max_steps`.
        max_steps: Optimiser steps to stop at even if epochs are left.
        batch_size: Clips in a forward pass.
        gradient_accumulation: Forward passes summed into one optimiser step.
        learning_rate: Highest learning rate of AdamW.
        head_learning_rate: Own learning rate of the head; None: as the backbone.
        weight_decay: Weight decay of AdamW; biases and norms are spared.
        warmup_ratio: Share of all steps, in [0, 1), over which the learning rate rises from 0.
        scheduler: A name of `SCHEDULERS`.
        max_grad_norm: Longer gradients are scaled down to this norm.
        checkpoint_every: Steps between evaluations; each saves a checkpoint.
        metric: What chooses the best step and stops early; a name of `METRICS`.
        early_stopping_threshold: A smaller change of `metric` does not count as an improvement.
        early_stopping_patience: Evaluations in a row without improvement before stopping; None never stops early.
        train_front_end: Also train the convolutions that turn samples into frames.
        spec_augment: Mask stretches of time and channels as the backbone's config says.
        pooling: How frames become one vector, a name of `POOLINGS`.
        head_dropout: Share of the pooled vector dropped before the linear layer, in [0, 1).
        seed: Seed of head, order, dropout and masks.
        precision: `bf16` runs the encoder under autocast; weights and optimiser stay float32.
        cache_front_end: Compute the frozen front end once per clip and keep it on disk. Same results, less time.
        keep_optimizer: Optimiser states to keep, twice the model's size each: those of the `last` checkpoint are
            enough to resume.
    """

    epochs: float | None = 10.0
    max_steps: int | None = None
    batch_size: int = 16
    gradient_accumulation: int = 1
    learning_rate: float = 1e-5
    head_learning_rate: float | None = None
    weight_decay: float = 0.01
    warmup_ratio: float = 0.1
    scheduler: str = "linear"
    max_grad_norm: float = 1.0
    checkpoint_every: int = 50
    metric: str = "loss"
    early_stopping_threshold: float = 0.025
    early_stopping_patience: int | None = 5
    train_front_end: bool = False
    spec_augment: bool = False
    pooling: str = "mean"
    head_dropout: float = 0.0
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    cache_front_end: bool = True
    keep_optimizer: Literal["last", "all"] = "last"

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise collect(ConfigError, "The settings of fine-tuning cannot be used", faults)

    def _faults(self) -> Iterator[str]:
        positive = ("batch_size", "gradient_accumulation", "learning_rate", "max_grad_norm", "checkpoint_every")
        optional = ("epochs", "max_steps", "head_learning_rate", "early_stopping_patience")
        for name in (*positive, *(name for name in optional if getattr(self, name) is not None)):
            if not 0 < getattr(self, name) < math.inf:
                yield f"{name} must be above 0, not {getattr(self, name)!r}"
        for name in ("weight_decay", "early_stopping_threshold"):
            if not 0 <= getattr(self, name) < math.inf:
                yield f"{name} must not be negative, got {getattr(self, name)!r}"
        for name in ("warmup_ratio", "head_dropout"):
            if not 0 <= getattr(self, name) < 1:
                yield f"{name} must be in [0, 1), not {getattr(self, name)!r}"
        choices: dict[str, Collection[str]] = {
            "scheduler": SCHEDULERS,
            "metric": METRICS,
            "precision": ("fp32", "bf16"),
            "keep_optimizer": ("last", "all"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                yield f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}"
        if self.epochs is None and self.max_steps is None:
            yield "epochs and max_steps cannot both be None"

    @property
    def caches_front_end(self) -> bool:
        """Whether the front end's output is computed once; one that is trained changes at every step."""
        return self.cache_front_end and not self.train_front_end

    def total_steps(self, n_clips: int) -> int:
        """Return the number of optimiser steps over `n_clips` training clips, early stopping aside."""
        n_batches = math.ceil(n_clips / self.batch_size)
        per_epoch = math.ceil(n_batches / self.gradient_accumulation)
        limits = [] if self.epochs is None else [math.ceil(self.epochs * per_epoch)]
        return min(limits if self.max_steps is None else [*limits, self.max_steps])


@dataclass(frozen=True, eq=False)
class Clips:
    """The clips of a split.

    Args:
        ids: What identifies a clip's content, length N.
        labels: Classes in [0, K), int of shape [N].
        durations_s: Durations in seconds, shape [N].
        load: Returns the samples of the clip in a row, float32 of shape [n], at the backbone's sampling rate.
    """

    ids: Sequence[str]
    labels: np.ndarray
    durations_s: np.ndarray
    load: Callable[[int], np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)


def check_clips(train: Clips, validation: Clips, labels: Sequence[str]) -> None:
    """Refuse clips that nothing can be learnt from or measured on.

    Raises:
        SplitError: If a split is empty, a label is out of range, or a class has no clip to train on.
    """
    faults = []
    for name, clips in (("training", train), ("validation", validation)):
        if len(clips) == 0:
            faults.append(f"there are no {name} clips")
        elif not len(clips.ids) == len(clips.labels) == len(clips.durations_s):
            faults.append(f"the {name} clips have {len(clips.ids)} ids, {len(clips.labels)} labels and "
                          f"{len(clips.durations_s)} durations")  # fmt: skip
        elif not 0 <= np.min(clips.labels) <= np.max(clips.labels) < len(labels):
            faults.append(f"labels of {name} clips must be in 0..{len(labels) - 1}")
    if len(labels) < 2:
        faults.append(f"there is only one class ({', '.join(labels)}); at least two are needed")
    elif not faults:
        counts = np.bincount(train.labels, minlength=len(labels))
        for index, label in enumerate(labels):
            if counts[index] == 0:
                n_validation = int(np.sum(validation.labels == index))
                faults.append(f"class {label!r} has no training clip ({n_validation} in validation)")
    if faults:
        raise collect(SplitError, "The clips cannot be trained on", faults)
