"""Probes with one hidden layer: what a small network can read from a layer where a linear probe cannot.

The more a probe can compute, the less its score tells how accessible the target is; report its selectivity over
shuffled labels (Hewitt & Liang 2019) beside every score.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.analysis.probes.probe_state import TILE_WIDTH, loop_settings, new_layer, new_state, padded
from ser_probe.analysis.probes.side_by_side import ThreadTask, for_each_task, outputs_of, train_to_end
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
        progress: Advanced by one per representation and fold; the caller starts and finishes it.

    Returns:
        Logits of all clips, of the epoch with the lowest validation loss; `strength` is the weight decay.

    Raises:
        AnalysisError: If shapes differ, features are not finite, a fold has no training or no validation clips, a
            label of theirs is not in [0, C), or there is no hidden unit.
    """
    from ser_probe.analysis.probes.softmax_loop import rectify, train_mlp

    x, labels = check_training(x, labels, folds, n_classes=n_classes, seeds=seeds)
    if hidden < 1:
        raise AnalysisError("A probe with a hidden layer needs units in it", expected="at least 1", found=hidden)
    shape, width = (len(x), len(folds.names), len(seeds)), x.shape[2]
    logits, n_epochs = np.empty((*shape, x.shape[1], n_classes), np.float32), np.empty(shape, int)
    settings = loop_settings(options, n_classes, width, n_hidden=hidden, weight_decay=weight_decay)
    starts = [(initial_hidden_weights(s, width, hidden), initial_weights(s, hidden, n_classes)) for s in seeds]

    def train(task: ThreadTask) -> None:
        units = np.zeros((task.z.shape[0], padded(hidden + 1, TILE_WIDTH)), np.float32)
        for s in task.seeds:
            first, last = (new_layer(start.numpy()) for start in starts[s])
            state, place = new_state(), (task.r, task.fold, s)
            fit = partial(train_mlp, settings, first, last, state, task.z, labels[s], task.validation)
            train_to_end(task.train, seeds[s], fit)
            rectify(outputs_of(task.z, first.best, len(first.best)), units, hidden)
            logits[place] = outputs_of(units, last.best, n_classes)
            n_epochs[place] = state.counts[0]

    for_each_task(x, folds, len(seeds), train, progress)
    return ClassProbes(logits, None, n_epochs, np.full(shape, weight_decay))


def initial_hidden_weights(seed: int, width: int, hidden: int) -> torch.Tensor:
    """Return a seed's weights and biases (last row) of the hidden layer, [D + 1, H]."""
    return initial_weights(seed, width, hidden, use="hidden probe weights")
