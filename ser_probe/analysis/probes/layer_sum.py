"""A learned sum of the layers of a checkpoint, as SUPERB's downstream models take it, and a linear probe on the sum.

The weights show which layers a probe uses that may mix them, with two cautions. They are not importances: neighbouring
layers hold nearly the same, and small differences decide how they share the weight (compare seeds).
And a weight means something only if the layers have one scale: SUPERB's toolkit can normalise each hidden state before
the sum; here each feature of each layer is standardised on the training clips, as for every other family, so that a
layer of large values does not count for more than its weight says.

Source: Yang et al. 2021, "SUPERB: Speech processing Universal PERformance Benchmark", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.special import softmax

from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.analysis.probes.probe_state import TILE_WIDTH, Layer, loop_settings, new_layer, new_state, padded
from ser_probe.analysis.probes.side_by_side import outputs_of, standardise_into, train_to_end
from ser_probe.analysis.probes.training import ProbeOptions, check_training, initial_weights
from ser_probe.analysis.threads import run_side_by_side
from ser_probe.runtime import SILENT, Progress


def fit_layer_sum(
    x: np.ndarray,
    labels: np.ndarray,
    folds: Folds,
    *,
    n_classes: int,
    seeds: Sequence[int],
    options: ProbeOptions | None = None,
    progress: Progress = SILENT,
) -> ClassProbes:
    """Train linear softmax probes on a learned sum of layers: one per fold and seed.

    The weights of the sum are the softmax of L free numbers, all 0 at first, that are trained together with the probe.

    Args:
        x: Raw features of the L layers of one checkpoint [L, N, D]; each fold standardises them on its training clips,
            and holds them so in float32.
        labels: Classes in [0, C), int [S, N].
        folds: F ways to divide the clips, each with validation clips.
        n_classes: C.
        seeds: S seeds, each of initial weights of the probe and of batch orders.
        options: How to train; as Study E's linear probes by default.
        progress: Advanced by one per fold; the caller starts and finishes it.

    Returns:
        Logits [1, F, S, N, C] of all clips and the weights of the layers [1, F, S, L], which sum to 1, both of the
        epoch with the lowest validation loss. They are invariant to shifts and scalings of the features of a layer.

    Raises:
        AnalysisError: If shapes differ, features are not finite, a fold has no training or no validation clips, or a
            label of theirs is not in [0, C).
    """
    x, labels = check_training(x, labels, folds, n_classes=n_classes, seeds=seeds)
    shape = (1, len(folds.names), len(seeds))
    logits = np.empty((*shape, x.shape[1], n_classes), np.float32)
    layer_weights, n_epochs = np.empty((*shape, len(x))), np.empty(shape, int)
    for fold in range(len(folds.names)):
        logits[0, fold], layer_weights[0, fold], n_epochs[0, fold] = _train_fold(
            x, labels, folds.train(fold), folds.validation(fold), n_classes, seeds, options or ProbeOptions()
        )
        progress.advance()
    return ClassProbes(logits, None, n_epochs, np.full(shape, np.nan), layer_weights)


def _train_fold(
    x: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    n_classes: int,
    seeds: Sequence[int],
    options: ProbeOptions,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train each seed's probe by itself in compiled code, a thread a core; all read the same features.

    Returns:
        Logits [S, N, C], weights of the layers [S, L], epochs [S].
    """
    from ser_probe.analysis.probes.softmax_loop import sum_layers, train_layer_sum, write_portions

    n_layers, n_clips, width = x.shape
    padded_width = padded(width + 1, TILE_WIDTH)
    z = np.zeros((n_clips, n_layers * padded_width), np.float32)
    for _ in run_side_by_side(lambda i: standardise_into(z, i * padded_width, x[i], train), range(n_layers)):
        pass
    settings = loop_settings(options, n_classes, width)
    logits = np.empty((len(seeds), n_clips, n_classes), np.float32)
    weights, n_epochs = np.empty((len(seeds), n_layers)), np.empty(len(seeds), int)
    starts = [initial_weights(seed, width, n_classes).numpy() for seed in seeds]

    def work(s: int) -> None:
        shares = Layer(*(np.zeros((1, n_layers), np.float32) for _ in Layer._fields))
        layer, state = new_layer(starts[s]), new_state()
        fit = partial(train_layer_sum, settings, shares, layer, state, z, labels[s], validation)
        train_to_end(train, seeds[s], fit)
        portions, sums = np.empty(n_layers, np.float32), np.empty((n_clips, padded_width), np.float32)
        write_portions(shares.best[0], portions)
        sum_layers(z, np.arange(n_clips), portions, sums)
        logits[s] = outputs_of(sums, layer.best, n_classes)
        weights[s] = softmax(shares.best[0].astype(np.float64))
        n_epochs[s] = state.counts[0]

    for _ in run_side_by_side(work, range(len(seeds))):
        pass
    return logits, weights, n_epochs
