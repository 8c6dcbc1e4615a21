"""Linear softmax probes with Adam, mini-batches and early stopping: Study E's family.

A probe's course depends on its features, labels and seed only: not on the other probes or the number of threads, and on
where it is trained only by rounding. On a CPU `softmax_loop` trains one probe after the other in cache, a thread a
core; on a GPU `softmax_batched` trains many in batched products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch

from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.analysis.probes.probe_state import new_course, new_layer, new_rules
from ser_probe.analysis.probes.side_by_side import Share, for_each_share, outputs_of, train_to_end
from ser_probe.analysis.probes.softmax_batched import train_softmax
from ser_probe.analysis.probes.stacked import parts_of, standardised_clips
from ser_probe.analysis.probes.training import ProbeOptions, check_training, in_raw_units, initial_weights
from ser_probe.runtime import SILENT, Progress


def fit_softmax(
    x: np.ndarray,
    labels: np.ndarray,
    folds: Folds,
    *,
    n_classes: int,
    seeds: Sequence[int],
    options: ProbeOptions | None = None,
    device: str | torch.device = "cpu",
    progress: Progress = SILENT,
) -> ClassProbes:
    """Train linear softmax probes with early stopping: one per representation, fold and seed.

    Args:
        x: Raw features [R, N, D]; each fold standardises them on its training clips.
        labels: Classes in [0, C), int [S, N]: each seed may have labels of its own (shuffled ones). Those of unused
            and of test clips are not looked at.
        folds: F ways to divide the clips, each with validation clips.
        n_classes: C.
        seeds: S seeds, each of initial weights and batch orders.
        options: How to train; Study E's way by default.
        device: Where to train. On a CPU every thread holds one representation's standardised features.
        progress: Advanced by one per representation and fold; the caller starts and finishes it.

    Returns:
        Logits of all clips, weights in raw units of the epoch with the lowest validation loss, and the epochs trained.
        There is no regularisation but stopping.

    Raises:
        AnalysisError: If shapes differ, features are not finite, a fold has no training or no validation clips, or a
            label of theirs is not in [0, C).
    """
    x, labels = check_training(x, labels, folds, n_classes=n_classes, seeds=seeds)
    given = _Given(x, labels, folds, n_classes, seeds, options or ProbeOptions(), progress)
    device = torch.device(device)
    return _fit_side_by_side(given) if device.type == "cpu" else _fit_batched(given, device)


@dataclass(frozen=True)
class _Given:
    """What `fit_softmax` was given, checked."""

    x: np.ndarray
    labels: np.ndarray
    folds: Folds
    n_classes: int
    seeds: Sequence[int]
    options: ProbeOptions
    progress: Progress

    def room(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return empty logits, weights and numbers of epochs."""
        n_representations, n_clips, width = self.x.shape
        shape = (n_representations, len(self.folds.names), len(self.seeds))
        return (
            np.empty((*shape, n_clips, self.n_classes), np.float32),
            np.empty((*shape, width + 1, self.n_classes), np.float32),
            np.empty(shape, int),
        )


def _fit_side_by_side(given: _Given) -> ClassProbes:
    """Train each probe by itself in compiled code, those of a representation and fold one after the other."""
    from ser_probe.analysis.probes.softmax_loop import train_linear

    logits, weights, n_epochs = given.room()
    width, n_classes = given.x.shape[2], given.n_classes
    rules = new_rules(given.options, n_classes, width)
    starts = [initial_weights(seed, width, n_classes).numpy() for seed in given.seeds]

    def train(own: Share) -> None:
        for s in own.seeds:
            layer, course = new_layer(starts[s]), new_course()
            fit = partial(train_linear, rules, layer, course, own.z, given.labels[s], own.validation)
            train_to_end(own.train, given.seeds[s], fit)
            logits[own.r, own.fold, s] = outputs_of(own.z, layer.best, n_classes)
            best = layer.best[:n_classes, : width + 1].T
            weights[own.r, own.fold, s] = in_raw_units(best, own.mean, own.scale)
            n_epochs[own.r, own.fold, s] = course.counts[0]

    for_each_share(given.x, given.folds, len(given.seeds), train, given.progress)
    return ClassProbes(logits, weights, n_epochs, np.full(n_epochs.shape, np.nan))


def _fit_batched(given: _Given, device: torch.device) -> ClassProbes:
    """Train many probes in batched products of torch."""
    logits, all_weights, n_epochs = given.room()
    for fold, part in product(range(len(given.folds.names)), parts_of(given.x)):
        clips, mean, scale = standardised_clips(given.x[part], given.labels, given.folds, fold, device)
        trained = train_softmax(clips, given.seeds, given.options, n_classes=given.n_classes)
        weights = trained.parameters[0]
        for r in range(len(weights)):
            logits[part.start + r, fold] = (clips.z[r] @ weights[r, :, :-1] + weights[r, :, -1:]).cpu().numpy()
            all_weights[part.start + r, fold] = in_raw_units(weights[r].cpu().numpy(), mean[r], scale[r])
        n_epochs[part, fold] = trained.n_epochs.cpu().numpy()
        given.progress.advance(len(weights))
    return ClassProbes(logits, all_weights, n_epochs, np.full(n_epochs.shape, np.nan))
