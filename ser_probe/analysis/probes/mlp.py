"""Probes with one hidden layer: what a layer tells a small network, where a linear probe reads nothing.

A probe that can compute more says less of where the target is easy to read; its selectivity over shuffled labels
(Hewitt & Liang 2019) belongs beside every score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch

from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.analysis.probes.probe_state import TILE_WIDTH, new_course, new_layer, new_rules, padded
from ser_probe.analysis.probes.side_by_side import Share, for_each_share, outputs_of, train_to_end
from ser_probe.analysis.probes.stacked import (
    Clips,
    Stack,
    Trained,
    output_error,
    parts_of,
    standardised_clips,
    train_stacked,
)
from ser_probe.analysis.probes.training import ProbeOptions, check_training, initial_weights
from ser_probe.errors import AnalysisError
from ser_probe.runtime import SILENT, Progress

MLP_OPTIONS = ProbeOptions(learning_rate=1e-3)
"""A hidden layer overshoots at the linear probe's 1e-2; the rest is as Study E's."""


def fit_mlp(
    x: np.ndarray,
    labels: np.ndarray,
    folds: Folds,
    *,
    n_classes: int,
    seeds: Sequence[int],
    hidden: int = 64,
    weight_decay: float = 1e-2,
    options: ProbeOptions = MLP_OPTIONS,
    device: str | torch.device = "cpu",
    progress: Progress = SILENT,
) -> ClassProbes:
    """Train probes with one hidden layer of rectified units: one per representation, fold and seed.

    Args:
        x: Raw features [R, N, D]; each fold standardises them on its training clips.
        labels: Classes in [0, C), int [S, N].
        folds: F ways to divide the clips, each with validation clips.
        n_classes: C.
        seeds: S seeds, each of initial weights and batch orders.
        hidden: Units H. 64 are ten for each of six emotions, and with D = 1024 already 66 times as many weights as
            a thousand clips; time grows with them.
        weight_decay: Decoupled (AdamW, Loshchilov & Hutter 2019), of the weights and not of the biases.
        options: How to train.
        device: Where to train.
        progress: Advanced by one per representation and fold; the caller starts and finishes it.

    Returns:
        Logits of all clips, of the epoch with the lowest validation loss; `strength` is the weight decay.

    Raises:
        AnalysisError: If shapes differ, features are not finite, a fold has no training or no validation clips, a
            label of theirs is not in [0, C), or there is no hidden unit.
    """
    x, labels = check_training(x, labels, folds, n_classes=n_classes, seeds=seeds)
    if hidden < 1:
        raise AnalysisError("A probe with a hidden layer needs units in it", expected="at least 1", found=hidden)
    given = _Given(x, labels, folds, n_classes, seeds, hidden, weight_decay, options, progress)
    device = torch.device(device)
    return _fit_side_by_side(given) if device.type == "cpu" else _fit_batched(given, device)


@dataclass(frozen=True)
class _Given:
    """What `fit_mlp` was given, checked."""

    x: np.ndarray
    labels: np.ndarray
    folds: Folds
    n_classes: int
    seeds: Sequence[int]
    hidden: int
    weight_decay: float
    options: ProbeOptions
    progress: Progress

    def room(self) -> tuple[np.ndarray, np.ndarray]:
        """Return empty logits and numbers of epochs."""
        shape = (len(self.x), len(self.folds.names), len(self.seeds))
        return np.empty((*shape, self.x.shape[1], self.n_classes), np.float32), np.empty(shape, int)


def _fit_side_by_side(given: _Given) -> ClassProbes:
    """Train each probe by itself in compiled code, those of a representation and fold one after the other."""
    from ser_probe.analysis.probes.softmax_loop import rectify, train_mlp

    logits, n_epochs = given.room()
    width, hidden, n_classes = given.x.shape[2], given.hidden, given.n_classes
    rules = new_rules(given.options, n_classes, width, n_hidden=hidden, weight_decay=given.weight_decay)
    starts = [(_hidden_start(seed, width, hidden), initial_weights(seed, hidden, n_classes)) for seed in given.seeds]

    def train(own: Share) -> None:
        units = np.zeros((own.z.shape[0], padded(hidden + 1, TILE_WIDTH)), np.float32)
        for s in own.seeds:
            first, last = (new_layer(start.numpy()) for start in starts[s])
            course = new_course()
            fit = partial(train_mlp, rules, first, last, course, own.z, given.labels[s], own.validation)
            train_to_end(own.train, given.seeds[s], fit)
            rectify(outputs_of(own.z, first.best, len(first.best)), units, hidden)
            logits[own.r, own.fold, s] = outputs_of(units, last.best, n_classes)
            n_epochs[own.r, own.fold, s] = course.counts[0]

    for_each_share(given.x, given.folds, len(given.seeds), train, given.progress)
    return ClassProbes(logits, None, n_epochs, np.full(n_epochs.shape, given.weight_decay))


def _fit_batched(given: _Given, device: torch.device) -> ClassProbes:
    """Train many probes in batched products of torch."""
    logits, n_epochs = given.room()
    start = initial_parameters(given.seeds, given.x.shape[2], given.hidden, given.n_classes)
    # Biases do not decay: that would pull towards a unit at rest, not towards a simpler function.
    shrink = [given.weight_decay, 0.0, given.weight_decay, 0.0]
    for fold, part in product(range(len(given.folds.names)), parts_of(given.x)):
        clips, _, _ = standardised_clips(given.x[part], given.labels, given.folds, fold, device)
        own_start = [parameter.to(device) for parameter in start]
        trained = train_stacked(_Mlp(), own_start, clips, given.seeds, given.options, shrink=shrink)
        logits[part, fold] = _logits_of_all(trained, clips)
        n_epochs[part, fold] = trained.n_epochs.cpu().numpy()
        given.progress.advance(len(clips.z))
    return ClassProbes(logits, None, n_epochs, np.full(n_epochs.shape, given.weight_decay))


def initial_parameters(seeds: Sequence[int], width: int, hidden: int, n_classes: int) -> Stack:
    """Return each seed's weights and biases: [S, D, H], [S, H], [S, H, C] and [S, C]."""
    first = torch.stack([_hidden_start(seed, width, hidden) for seed in seeds])
    last = torch.stack([initial_weights(seed, hidden, n_classes) for seed in seeds])
    return [first[:, :-1].contiguous(), first[:, -1].clone(), last[:, :-1].contiguous(), last[:, -1].clone()]


def _hidden_start(seed: int, width: int, hidden: int) -> torch.Tensor:
    return initial_weights(seed, width, hidden, use="hidden probe weights")


def _logits_of_all(trained: Trained, clips: Clips) -> np.ndarray:
    """Return the logits [R, S, N, C] of all clips."""
    each = []
    for r, z in enumerate(clips.z):
        own = [parameter[r] for parameter in trained.parameters]
        each.append(_Mlp().logits(own, z.expand(len(own[0]), -1, -1)))
    return torch.stack(each).cpu().numpy()


class _Mlp:
    """A linear layer, rectified, and a softmax layer; gradients written out."""

    def logits(self, parameters: Stack, x: torch.Tensor) -> torch.Tensor:
        return self._outputs(parameters, self._hidden(parameters, x))

    def gradient(self, parameters: Stack, x: torch.Tensor, labels: torch.Tensor) -> Stack:
        hidden = self._hidden(parameters, x)
        error = output_error(self._outputs(parameters, hidden), labels)
        hidden_error = torch.bmm(error, parameters[2].transpose(1, 2)).mul_(hidden > 0)
        return [
            torch.bmm(x.transpose(1, 2), hidden_error), hidden_error.sum(dim=1),
            torch.bmm(hidden.transpose(1, 2), error), error.sum(dim=1),
        ]  # fmt: skip

    @staticmethod
    def _hidden(parameters: Stack, x: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(parameters[1][:, None], x, parameters[0]).relu_()

    @staticmethod
    def _outputs(parameters: Stack, hidden: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(parameters[3][:, None], hidden, parameters[2])
