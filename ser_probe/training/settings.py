"""The settings and the clips of a fine-tuning run. Plain values, nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ser_probe.errors import ConfigError, SplitError, collect
from ser_probe.models.targets import CLASSES, DISTRIBUTION, NUMERIC, Targets
from ser_probe.names import training as names

METRICS = {name: not score.falls for name, score in names.METRICS.items()}
"""Measures of the validation clips; True where larger is better."""

_OF_CLASSES = ("loss", "accuracy", "uar", "macro_f1", "weighted_f1")
METRICS_OF = {CLASSES: _OF_CLASSES, DISTRIBUTION: _OF_CLASSES, NUMERIC: ("loss", "ccc", "rmse")}
"""Which of them exist for which targets."""

LOSSES = {name: loss.targets for name, loss in names.LOSSES.items()}
"""The losses by name, and the targets that each is for; the first one of its targets is their default."""

SCHEDULERS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
"""Schedules of the learning rate after the warm-up, and their names in transformers."""

PRECISIONS = tuple(names.PRECISIONS)

WITHOUT_EFFECT = frozenset(("cache_front_end", "cache_audio", "keep_optimizer"))
"""Settings that change what is kept on disk or how long training takes, not the trained weights."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to fine-tune. The defaults are Study E's where it states one.

    Args:
        epochs: Passes over the training clips; None leaves it to `max_steps`.
        max_steps: Optimiser steps to stop at even if epochs are left.
        batch_size: Clips in a forward pass, of all processes together.
        gradient_accumulation: Forward passes summed into one optimiser step.
        learning_rate: Highest learning rate of AdamW.
        head_learning_rate: Own learning rate of the head; None: as the backbone.
        weight_decay: Weight decay of AdamW; biases and norms are spared.
        head_l2: Weight of the head's squared weights (biases and norms spared) in the loss.
        warmup_ratio: Share of all steps, in [0, 1), over which the learning rate rises from 0.
        scheduler: A name of `SCHEDULERS`.
        max_grad_norm: Longer gradients are scaled down to this norm.
        checkpoint_every: Steps between evaluations; each saves a checkpoint.
        metric: What chooses the best step and stops early; a name of `METRICS`.
        early_stopping_threshold: A smaller change of `metric` does not count as an improvement.
        early_stopping_patience: Evaluations in a row without improvement before stopping; None never stops early.
        loss: A name of `LOSSES`; None: the default of the targets.
        class_weights: Weigh clips by the inverse frequency of their class.
        label_smoothing: Share of the target, in [0, 1), that is spread over all classes.
        trained: How much trains, a name that `models.trained_part.parse_trained` knows.
        spec_augment: Mask stretches of time and channels as the backbone's config says.
        group_by_length: Batches of clips of about the same length: less padding, less time.
        gradient_checkpointing: Compute the blocks anew for the gradient: a third more time, far less memory.
        seed: Random seed of head, order, dropout, masks and augmentation.
        precision: One of `PRECISIONS`. tf32, bf16 and fp16 round the encoder's products; weights and optimiser stay
            float32.
        cache_front_end: Compute the frozen front end once per clip and keep it on disk. Same results, less time.
        cache_audio: Where that is not possible, keep the decoded clips on disk, so that no epoch decodes again.
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
    head_l2: float = 0.0
    warmup_ratio: float = 0.1
    scheduler: str = "linear"
    max_grad_norm: float = 1.0
    checkpoint_every: int = 50
    metric: str = "loss"
    early_stopping_threshold: float = 0.025
    early_stopping_patience: int | None = 5
    loss: str | None = None
    class_weights: bool = False
    label_smoothing: float = 0.0
    trained: str = "encoder"
    spec_augment: bool = False
    group_by_length: bool = True
    gradient_checkpointing: bool = False
    seed: int = 0
    precision: str = "fp32"
    cache_front_end: bool = True
    cache_audio: bool = True
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
        for name in ("weight_decay", "head_l2", "early_stopping_threshold"):
            if not 0 <= getattr(self, name) < math.inf:
                yield f"{name} must not be negative, got {getattr(self, name)!r}"
        for name in ("warmup_ratio", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                yield f"{name} must be in [0, 1), not {getattr(self, name)!r}"
        choices: dict[str, Collection[str | None]] = {
            "scheduler": SCHEDULERS,
            "metric": METRICS,
            "loss": (None, *LOSSES),
            "precision": PRECISIONS,
            "keep_optimizer": ("last", "all"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                yield f"{name} must be one of {', '.join(map(str, allowed))}, not {getattr(self, name)!r}"
        if self.epochs is None and self.max_steps is None:
            yield "epochs and max_steps cannot both be None"

    @property
    def trains_front_end(self) -> bool:
        """Whether the convolutions change."""
        return self.trained == "all"

    def caches_front_end(self, clips: SplitClips) -> bool:
        """Return whether the front end's output of some clips is computed once: if neither it nor they change."""
        return self.cache_front_end and not self.trains_front_end and clips.augment is None

    def loss_for(self, targets: Targets) -> str:
        """Return the name of the loss."""
        return self.loss or next(name for name, kinds in LOSSES.items() if targets.kind in kinds)

    def total_steps(self, n_clips: int) -> int:
        """Return the number of optimiser steps over `n_clips` training clips, early stopping aside."""
        n_batches = math.ceil(n_clips / self.batch_size)
        per_epoch = math.ceil(n_batches / self.gradient_accumulation)
        limits = [] if self.epochs is None else [math.ceil(self.epochs * per_epoch)]
        return min(limits if self.max_steps is None else [*limits, self.max_steps])


@dataclass(frozen=True, eq=False)
class SplitClips:
    """The clips of a split.

    Args:
        ids: What identifies a clip's content, length N.
        targets: Classes int [N], shares of the classes [N, K], or z-scores of numeric targets [N, K].
        durations_s: Durations in seconds, shape [N].
        load: Returns the samples of the clip in a row, float32 of shape [n], at the backbone's sampling rate.
        augment: Samples and a seed -> other samples, anew in each epoch; None: the clips are heard as they are.
        augmentation: What `augment` does, JSON-like; a run with another one is another run.
    """

    ids: Sequence[str]
    targets: np.ndarray
    durations_s: np.ndarray
    load: Callable[[int], np.ndarray]
    augment: Callable[[np.ndarray, int], np.ndarray] | None = None
    augmentation: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


def check_clips(train: SplitClips, validation: SplitClips, targets: Targets, settings: TrainingSettings) -> None:
    """Refuse clips that cannot be learnt from or evaluated, and settings that do not fit the targets.

    Raises:
        SplitError: If a split is empty, targets do not fit, or a class has no clip to train on.
        ConfigError: If the loss or the metric is for other targets.
    """
    if targets.kind not in LOSSES[settings.loss_for(targets)]:
        possible = [name for name, kinds in LOSSES.items() if targets.kind in kinds]
        raise ConfigError(
            f"The loss is not for {targets.kind} targets", expected=" or ".join(possible), found=settings.loss
        )
    if settings.metric not in METRICS_OF[targets.kind]:
        raise ConfigError(
            f"There is no such score of {targets.kind} targets",
            expected=", ".join(METRICS_OF[targets.kind]),
            found=settings.metric,
            fix="set early_stopping.metric",
        )
    faults = []
    for name, clips in (("training", train), ("validation", validation)):
        if len(clips) == 0:
            faults.append(f"there are no {name} clips")
        elif not len(clips.ids) == len(clips.targets) == len(clips.durations_s):
            faults.append(f"the {name} clips have {len(clips.ids)} ids, {len(clips.targets)} targets and "
                          f"{len(clips.durations_s)} durations")  # fmt: skip
        else:
            faults += _target_faults(name, clips.targets, targets)
    if targets.kind != NUMERIC and len(targets.names) < 2:
        faults.append(f"there is only one class ({', '.join(targets.names)}); at least two are needed")
    elif targets.kind == CLASSES and not faults:
        counts = np.bincount(train.targets, minlength=len(targets.names))
        for index, label in enumerate(targets.names):
            if counts[index] == 0:
                n_validation = int(np.sum(validation.targets == index))
                faults.append(f"class {label!r} has no training clip ({n_validation} in validation)")
    if faults:
        raise collect(SplitError, "The clips cannot be trained on", faults)


_SUM_TOLERANCE = 1e-3
"""Shares are often written with three or four decimals."""


def _target_faults(split: str, values: np.ndarray, targets: Targets) -> Iterator[str]:
    n_outputs = len(targets.names)
    if targets.kind == CLASSES:
        if values.ndim != 1 or not 0 <= np.min(values) <= np.max(values) < n_outputs:
            yield f"labels of {split} clips must be in 0..{n_outputs - 1}"
    elif values.shape[1:] != (n_outputs,) or not np.isfinite(values).all():
        yield f"targets of {split} clips must be {n_outputs} finite numbers each"
    elif targets.kind == DISTRIBUTION and (values.min() < 0 or np.abs(values.sum(axis=1) - 1).max() > _SUM_TOLERANCE):
        yield f"shares of {split} clips must not be negative and must sum to 1"
