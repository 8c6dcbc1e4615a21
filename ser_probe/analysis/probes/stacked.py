"""Probes of one kind, their parameters stacked, trained together in torch; each stops by itself.

Knows nothing of what a probe computes: a family hands in its logits and its gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from ser_probe.analysis.probes.families import Folds
from ser_probe.analysis.probes.training import (
    ADAM_DECAYS,
    ADAM_EPSILON,
    ProbeOptions,
    epoch_orders,
    standardisation,
)

# The state of the probes that are trained at a time: on a CPU it should stay in the cache, on a GPU it must fit.
_CPU_BYTES, _GPU_BYTES = 4 * 2**20, 2**30
_FEATURE_BYTES = 256 * 2**20  # standardised features that are held at a time
_GATHERED_BYTES = 128 * 2**20  # features of validation clips, copied for each probe
_COPIES = 5  # parameters, two Adam moments, gradient, best parameters

Stack = list[torch.Tensor]


class Model(Protocol):
    """What a family's probes compute, for P of them at once."""

    def logits(self, parameters: Stack, x: torch.Tensor) -> torch.Tensor:
        """Return logits [P, B, C] of features [P, B, ...], by parameters of shape [P, ...] each."""

    def gradient(self, parameters: Stack, x: torch.Tensor, labels: torch.Tensor) -> Stack:
        """Return the gradient of each probe's mean cross-entropy on its own batch [P, B]."""


@dataclass(frozen=True)
class Clips:
    """What the probes of a fold learn from.

    Args:
        z: Standardised features of all clips, float32 [R, N, ...], on the device to train on.
        labels: Classes of all clips, int64 [S, N].
        train: Positions of the training clips.
        validation: Positions of the validation clips.
    """

    z: torch.Tensor
    labels: torch.Tensor
    train: torch.Tensor
    validation: torch.Tensor


def parts_of(x: np.ndarray) -> Iterator[slice]:
    """Yield the representations of features [R, N, ...] that are standardised and held at a time."""
    at_once = max(1, _FEATURE_BYTES // (4 * x[0].size))
    for first in range(0, len(x), at_once):
        yield slice(first, min(first + at_once, len(x)))


def standardised_clips(
    x: np.ndarray, labels: np.ndarray, folds: Folds, fold: int, device: torch.device
) -> tuple[Clips, np.ndarray, np.ndarray]:
    """Return what the probes of a fold learn from, and what was subtracted and multiplied by, [R, 1, D] each.

    Args:
        x: Raw features [R, N, D].
        labels: Classes, int64 [S, N].
        folds: The divisions.
        fold: Which of them.
        device: Where to train.
    """
    train, validation = folds.train(fold), folds.validation(fold)
    z, mean, scale = np.empty(x.shape, np.float32), np.empty((len(x), 1, x.shape[2])), np.empty((len(x), 1, x.shape[2]))
    for r in range(len(x)):
        mean[r], scale[r] = standardisation(x[r], train)
        z[r] = (x[r] - mean[r]) * scale[r]
    arrays = (torch.from_numpy(array).to(device) for array in (z, labels, train, validation))
    return Clips(*arrays), mean, scale


@dataclass(frozen=True)
class Trained:
    """Trained probes of R representations and S seeds.

    Args:
        parameters: Those of the epoch with the lowest validation loss, each [R, S, ...].
        n_epochs: Epochs trained, int64 [R, S].
        lowest: The lowest validation loss [R, S].
    """

    parameters: Stack
    n_epochs: torch.Tensor
    lowest: torch.Tensor


def train_stacked(
    model: Model,
    start: Stack,
    clips: Clips,
    seeds: Sequence[int],
    options: ProbeOptions,
    *,
    shrink: Sequence[float] = (),
    at_once: int | None = None,
) -> Trained:
    """Train a probe per representation and seed.

    Args:
        model: What the probes compute.
        start: Each seed's initial parameters, [S, ...] each.
        clips: What to learn from.
        seeds: S seeds of batch orders.
        options: How to train.
        shrink: Decoupled weight decay of each parameter (Loshchilov & Hutter 2019); none by default.
        at_once: Probes that are trained at the same time; it changes results only by rounding.
    """
    device, shape = clips.z.device, (len(clips.z), len(seeds))
    n_parameters = sum(parameter[0].numel() for parameter in start)
    within = _CPU_BYTES if device.type == "cpu" else _GPU_BYTES
    at_once = at_once or max(1, within // (_COPIES * 4 * n_parameters))
    stacks = []
    for first in range(0, shape[0] * shape[1], at_once):
        probes = range(first, min(first + at_once, shape[0] * shape[1]))
        which = torch.tensor([divmod(probe, shape[1]) for probe in probes], device=device)
        own_seeds = [seeds[probe % shape[1]] for probe in probes]
        own_start = [parameter[which[:, 1]] for parameter in start]
        stacks.append(_train(model, own_start, clips, which, own_seeds, options, shrink or [0.0] * len(start)))
    parameters = [torch.cat(parts).unflatten(0, shape) for parts in zip(*(s.parameters for s in stacks), strict=True)]
    n_epochs, lowest = (torch.cat([getattr(s, name) for s in stacks]) for name in ("n_epochs", "lowest"))
    return Trained(parameters, n_epochs.unflatten(0, shape), lowest.unflatten(0, shape))


def _train(
    model: Model,
    start: Stack,
    clips: Clips,
    which: torch.Tensor,
    seeds: Sequence[int],
    options: ProbeOptions,
    shrink: Sequence[float],
) -> Trained:
    """Train the probes of representations and seeds `which` [P, 2] until each has stopped."""
    device, n = clips.z.device, len(clips.train)
    orders = {seed: epoch_orders(seed, n) for seed in dict.fromkeys(seeds)}
    adam = _Adam(start, options.learning_rate, shrink)
    running = torch.arange(len(seeds), device=device)
    n_epochs, waited = torch.zeros_like(running), torch.zeros_like(running)
    lowest = torch.full((len(seeds),), torch.inf, device=device)
    to_beat, best = lowest.clone(), [parameter.clone() for parameter in start]
    for epoch in range(1, options.max_epochs + 1):
        drawn = {seed: next(order) for seed, order in orders.items()}
        order = clips.train[torch.stack([drawn[seeds[p]] for p in running.tolist()]).to(device)]
        for batch in order.split(options.batch_size, dim=1):
            adam.step(model.gradient(adam.parameters, *_features_and_labels(clips, which[running], batch)))
        loss = _validation_loss(model, adam.parameters, clips, which[running])
        lower = loss < lowest[running]
        lowest[running[lower]] = loss[lower]
        for kept, parameter in zip(best, adam.parameters, strict=True):
            kept[running[lower]] = parameter[lower]
        n_epochs[running] = epoch
        better = loss < to_beat[running] - options.min_delta
        to_beat[running[better]] = loss[better]
        waited[running] = torch.where(better, 0, waited[running] + 1)
        keep = waited[running] < options.patience
        if not keep.all():
            running = running[keep]
            adam.keep(keep)
        if not len(running):
            break
    return Trained(best, n_epochs, lowest)


def _features_and_labels(clips: Clips, which: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features [P, B, ...] and labels [P, B] of each probe's own rows [P, B]."""
    n_clips = clips.z.shape[1]
    return clips.z.flatten(0, 1)[which[:, :1] * n_clips + rows], clips.labels[which[:, 1:], rows]


def _validation_loss(model: Model, parameters: Stack, clips: Clips, which: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy [P] on the validation clips, some of them at a time."""
    at_once = max(1, _GATHERED_BYTES // (4 * len(which) * clips.z[0, 0].numel()))
    total = torch.zeros(len(which), device=clips.z.device)
    for rows in clips.validation.split(at_once):
        x, labels = _features_and_labels(clips, which, rows.expand(len(which), -1))
        logits = model.logits(parameters, x).transpose(1, 2)
        total += torch.nn.functional.cross_entropy(logits, labels, reduction="none").sum(dim=1)
    return total / len(clips.validation)


def output_error(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the gradient by the logits [P, B, C] of the mean cross-entropy with labels [P, B]."""
    error = logits.softmax(dim=-1)
    error.scatter_add_(2, labels[:, :, None], error.new_full((*labels.shape, 1), -1.0))
    return error.div_(labels.shape[1])


class _Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) for probes that start together and leave one by one."""

    def __init__(self, start: Stack, learning_rate: float, shrink: Sequence[float]) -> None:
        self.learning_rate, self.shrink, self.steps = learning_rate, shrink, 0
        self.parameters = [parameter.clone() for parameter in start]
        self.means = [torch.zeros_like(parameter) for parameter in start]
        self.squares = [torch.zeros_like(parameter) for parameter in start]

    def step(self, gradient: Stack) -> None:
        self.steps += 1
        decay_mean, decay_square = ADAM_DECAYS
        correction = np.sqrt(1 - decay_square**self.steps)
        rate = self.learning_rate / (1 - decay_mean**self.steps)
        state = zip(self.parameters, self.means, self.squares, gradient, self.shrink, strict=True)
        for parameter, mean, square, own, shrink in state:
            if shrink:
                parameter.mul_(1 - self.learning_rate * shrink)
            mean.lerp_(own, 1 - decay_mean)
            square.mul_(decay_square).addcmul_(own, own, value=1 - decay_square)
            scale = torch.sqrt(square).div_(correction).add_(ADAM_EPSILON)
            parameter.addcdiv_(mean, scale, value=-rate)

    def keep(self, which: torch.Tensor) -> None:
        self.parameters = [parameter[which] for parameter in self.parameters]
        self.means = [mean[which] for mean in self.means]
        self.squares = [square[which] for square in self.squares]
