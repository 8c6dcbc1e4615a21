"""Linear softmax probes with Adam, mini-batches and early stopping: Study E's family.

How a probe's training goes depends on its features, labels and seed only: not on the other probes or the number of
threads. `softmax_loop` trains one probe after the other in cache, a thread a core.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.analysis.probes.probe_state import loop_settings, new_layer, new_state
from ser_probe.analysis.probes.side_by_side import ThreadTask, for_each_task, outputs_of, train_to_end
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
        progress: Advanced by one per representation and fold; the caller starts and finishes it.

    Returns:
        Logits of all clips, weights in raw units of the epoch with the lowest validation loss, and the epochs trained.
        There is no regularisation but stopping.

    Raises:
        AnalysisError: If shapes differ, features are not finite, a fold has no training or no validation clips, or a
            label of theirs is not in [0, C).
    """
    from ser_probe.analysis.probes.softmax_loop import train_linear

    x, labels = check_training(x, labels, folds, n_classes=n_classes, seeds=seeds)
    shape, width = (len(x), len(folds.names), len(seeds)), x.shape[2]
    logits = np.empty((*shape, x.shape[1], n_classes), np.float32)
    weights, n_epochs = np.empty((*shape, width + 1, n_classes), np.float32), np.empty(shape, int)
    settings = loop_settings(options or ProbeOptions(), n_classes, width)
    starts = [initial_weights(seed, width, n_classes).numpy() for seed in seeds]

    def train(task: ThreadTask) -> None:
        for s in task.seeds:
            layer, state = new_layer(starts[s]), new_state()
            fit = partial(train_linear, settings, layer, state, task.z, labels[s], task.validation)
            train_to_end(task.train, seeds[s], fit)
            place = task.r, task.fold, s
            logits[place] = outputs_of(task.z, layer.best, n_classes)
            weights[place] = in_raw_units(layer.best[:n_classes, : width + 1].T, task.mean, task.scale)
            n_epochs[place] = state.counts[0]

    for_each_task(x, folds, len(seeds), train, progress)
    return ClassProbes(logits, weights, n_epochs, np.full(shape, np.nan))
