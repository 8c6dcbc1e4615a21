"""Probes that end in a softmax layer, trained in compiled code, in the processor's cache.

A mini-batch of a small probe is so little work that a library's call, and the trip of weights and optimiser state
through memory, cost more than the arithmetic. Here weights, both Adam moments and the batch stay in the second-level
cache; the products run over tiles of clips x outputs that fit the registers. One thread trains a probe, so its sums
have one order whatever runs beside it. Arrays only: checks and drawing of seeds are in `training`.

All in one file, since numba's cache does not notice that a function of another file has changed. Slices are not
assigned to slices: numba guards against overlap, and compiling takes three times as long.
"""

from __future__ import annotations

import numpy as np
from numpy import float32

from ser_probe.analysis.probes.compiled import DIVISION_BY_RECIPROCAL, compiled
from ser_probe.analysis.probes.probe_state import TILE_OUTPUTS, TILE_ROWS, Layer, LoopSettings, TrainingState
from ser_probe.analysis.probes.training import ADAM_DECAYS, ADAM_EPSILON

_KEPT_MEAN, _KEPT_SQUARE, _EPSILON = float32(ADAM_DECAYS[0]), float32(ADAM_DECAYS[1]), float32(ADAM_EPSILON)
_NEW_MEAN, _NEW_SQUARE = float32(1 - ADAM_DECAYS[0]), float32(1 - ADAM_DECAYS[1])
Array = np.ndarray


@compiled()
def write_outputs(z: Array, rows: Array, weights: Array, outputs: Array) -> None:
    """Write the outputs [B, C] of a layer for the inputs z [:, D] at `rows` [B]; B a multiple of TILE_ROWS."""
    for b in range(0, rows.size, TILE_ROWS):
        for c in range(0, weights.shape[0], TILE_OUTPUTS):
            _write_tile(
                z[rows[b]], z[rows[b + 1]], z[rows[b + 2]], z[rows[b + 3]],
                weights[c], weights[c + 1], weights[c + 2], outputs[b : b + TILE_ROWS, c : c + TILE_OUTPUTS],
            )  # fmt: skip


@compiled()
def _write_tile(x0: Array, x1: Array, x2: Array, x3: Array, w0: Array, w1: Array, w2: Array, outputs: Array) -> None:
    """Write three outputs for four clips: twelve sums that stay in registers."""
    s00 = s01 = s02 = s10 = s11 = s12 = s20 = s21 = s22 = s30 = s31 = s32 = float32(0)
    for d in range(w0.size):
        s00 += x0[d] * w0[d]
        s01 += x0[d] * w1[d]
        s02 += x0[d] * w2[d]
        s10 += x1[d] * w0[d]
        s11 += x1[d] * w1[d]
        s12 += x1[d] * w2[d]
        s20 += x2[d] * w0[d]
        s21 += x2[d] * w1[d]
        s22 += x2[d] * w2[d]
        s30 += x3[d] * w0[d]
        s31 += x3[d] * w1[d]
        s32 += x3[d] * w2[d]
    outputs[0, 0], outputs[0, 1], outputs[0, 2] = s00, s01, s02
    outputs[1, 0], outputs[1, 1], outputs[1, 2] = s10, s11, s12
    outputs[2, 0], outputs[2, 1], outputs[2, 2] = s20, s21, s22
    outputs[3, 0], outputs[3, 1], outputs[3, 2] = s30, s31, s32


@compiled()
def _add_tile(x0: Array, x1: Array, x2: Array, x3: Array, errors: Array, gradient: Array) -> None:
    """Add to the gradient of three outputs [3, D] what four clips with errors [4, 3] give."""
    e00, e01, e02 = errors[0, 0], errors[0, 1], errors[0, 2]
    e10, e11, e12 = errors[1, 0], errors[1, 1], errors[1, 2]
    e20, e21, e22 = errors[2, 0], errors[2, 1], errors[2, 2]
    e30, e31, e32 = errors[3, 0], errors[3, 1], errors[3, 2]
    g0, g1, g2 = gradient[0], gradient[1], gradient[2]
    for d in range(g0.size):
        g0[d] += e00 * x0[d] + e10 * x1[d] + e20 * x2[d] + e30 * x3[d]
        g1[d] += e01 * x0[d] + e11 * x1[d] + e21 * x2[d] + e31 * x3[d]
        g2[d] += e02 * x0[d] + e12 * x1[d] + e22 * x2[d] + e32 * x3[d]


@compiled(fastmath=DIVISION_BY_RECIPROCAL)
def _adam(weights: Array, mean: Array, square: Array, gradient: Array, rate: float, correction: float) -> None:
    """Move weights [D] by Adam (Kingma & Ba 2015, algorithm 1)."""
    for d in range(weights.size):
        g = gradient[d]
        mean[d] = _KEPT_MEAN * mean[d] + _NEW_MEAN * g
        square[d] = _KEPT_SQUARE * square[d] + _NEW_SQUARE * g * g
        weights[d] -= rate * mean[d] / (np.sqrt(square[d]) * correction + _EPSILON)


@compiled()
def _next_rate(state: TrainingState, learning_rate: float) -> tuple[np.float32, np.float32]:
    """Count a step; return Adam's rate and the factor of its root, both corrected for the start from zero."""
    state.counts[2] += 1
    t = state.counts[2]
    return float32(learning_rate / (1 - ADAM_DECAYS[0] ** t)), float32(1 / np.sqrt(1 - ADAM_DECAYS[1] ** t))


@compiled()
def _step(layer: Layer, z: Array, rows: Array, errors: Array, rate: float, correction: float) -> None:
    """Move a layer on a batch of inputs z at `rows` [B], whose outputs have errors [B, C]."""
    for c in range(0, layer.weights.shape[0], TILE_OUTPUTS):
        layer.gradient[:] = 0
        for b in range(0, rows.size, TILE_ROWS):
            _add_tile(
                z[rows[b]], z[rows[b + 1]], z[rows[b + 2]], z[rows[b + 3]],
                errors[b : b + TILE_ROWS, c : c + TILE_OUTPUTS], layer.gradient,
            )  # fmt: skip
        for k in range(TILE_OUTPUTS):
            _adam(layer.weights[c + k], layer.mean[c + k], layer.square[c + k], layer.gradient[k], rate, correction)


@compiled()
def _turn_into_errors(logits: Array, rows: Array, labels: Array, n_real: int, size: int, n_classes: int) -> None:
    """Replace logits by the gradient of the mean cross-entropy of a batch of `size`; rows past `n_real` have none."""
    share = float32(1) / float32(size)
    for b in range(logits.shape[0]):
        if b >= n_real:
            logits[b, :] = 0
            continue
        highest, total = logits[b, :n_classes].max(), float32(0)
        for c in range(n_classes):
            logits[b, c] = np.exp(logits[b, c] - highest)
            total += logits[b, c]
        for c in range(n_classes):
            logits[b, c] *= share / total
        logits[b, labels[rows[b]]] -= share
        logits[b, n_classes:] = 0


@compiled()
def _total_loss(logits: Array, rows: Array, labels: Array, n_real: int, n_classes: int) -> float:
    """Return the summed cross-entropy of the first `n_real` rows."""
    loss = 0.0
    for b in range(n_real):
        highest, total = logits[b, :n_classes].max(), float32(0)
        for c in range(n_classes):
            total += np.exp(logits[b, c] - highest)
        loss += np.log(total) + highest - logits[b, labels[rows[b]]]
    return loss


@compiled()
def _take(positions: Array, first: int, n: int, rows: Array) -> Array:
    """Return n positions from the `first` on, in whole tiles: the last is repeated. `rows` is room for them."""
    taken = rows[: -(-n // TILE_ROWS) * TILE_ROWS]
    for b in range(taken.size):
        taken[b] = positions[first + min(b, n - 1)]
    return taken


@compiled()
def _end_epoch(
    state: TrainingState, settings: LoopSettings, logits: Array, rows: Array, labels: Array, n_real: int,
    layers: tuple[Layer, Layer],
) -> bool:  # fmt: skip
    """Count an epoch by its validation logits, keep the layers if they are the best; return whether training stops."""
    loss = _total_loss(logits, rows, labels, n_real, settings.n_classes) / n_real
    state.counts[0] += 1
    if loss < state.losses[0]:
        state.losses[0] = loss
        for layer in layers:
            for c in range(layer.weights.shape[0]):
                for d in range(layer.weights.shape[1]):
                    layer.best[c, d] = layer.weights[c, d]
    if loss < state.losses[1] - settings.min_delta:
        state.losses[1] = loss
        state.counts[1] = 0
    else:
        state.counts[1] += 1
    return state.counts[1] >= settings.patience or state.counts[0] >= settings.max_epochs


@compiled()
def train_linear(
    settings: LoopSettings, layer: Layer, state: TrainingState, z: Array, labels: Array, validation: Array,
    orders: Array,
) -> bool:  # fmt: skip
    """Train a linear probe epoch by epoch until it stops or the orders are used up; return whether it has stopped.

    Args:
        settings: How to train.
        layer: Changed in place.
        state: Changed in place.
        z: Standardised features of all clips, padded, float32 [N, D].
        labels: Classes of all clips, int64 [N].
        validation: Positions of the validation clips.
        orders: Positions of the training clips in each epoch's order, int64 [epochs, n].
    """
    room = np.empty(max(settings.batch_size, validation.size) + TILE_ROWS, np.int64)
    logits = np.empty((room.size, layer.weights.shape[0]), np.float32)
    for epoch in range(orders.shape[0]):
        for first in range(0, orders.shape[1], settings.batch_size):
            size = min(settings.batch_size, orders.shape[1] - first)
            rows = _take(orders[epoch], first, size, room)
            errors = logits[: rows.size]
            write_outputs(z, rows, layer.weights, errors)
            _turn_into_errors(errors, rows, labels, size, size, settings.n_classes)
            rate, correction = _next_rate(state, settings.learning_rate)
            _step(layer, z, rows, errors, rate, correction)
        rows = _take(validation, 0, validation.size, room)
        write_outputs(z, rows, layer.weights, logits)
        if _end_epoch(state, settings, logits, rows, labels, validation.size, (layer, layer)):
            return True
    return False


@compiled()
def train_mlp(
    settings: LoopSettings, hidden: Layer, last: Layer, state: TrainingState, z: Array, labels: Array,
    validation: Array, orders: Array,
) -> bool:  # fmt: skip
    """Train a probe with one hidden layer; the rest is as `train_linear`."""
    room = np.empty(max(settings.batch_size, validation.size) + TILE_ROWS, np.int64)
    before = np.zeros((room.size, hidden.weights.shape[0]), np.float32)
    logits = np.empty((room.size, last.weights.shape[0]), np.float32)
    units = np.zeros((room.size, last.weights.shape[1]), np.float32)
    all_rows = np.arange(room.size)
    kept = float32(1 - settings.learning_rate * settings.weight_decay)
    for epoch in range(orders.shape[0]):
        for first in range(0, orders.shape[1], settings.batch_size):
            size = min(settings.batch_size, orders.shape[1] - first)
            rows = _take(orders[epoch], first, size, room)
            batch_rows, errors, hidden_errors = all_rows[: rows.size], logits[: rows.size], before[: rows.size]
            write_outputs(z, rows, hidden.weights, hidden_errors)
            rectify(hidden_errors, units, settings.n_hidden)
            write_outputs(units, batch_rows, last.weights, errors)
            _turn_into_errors(errors, rows, labels, size, size, settings.n_classes)
            _turn_into_hidden_errors(hidden_errors, errors, last.weights, settings)
            rate, correction = _next_rate(state, settings.learning_rate)
            if kept < 1:
                _shrink(hidden.weights, settings.width, kept)
                _shrink(last.weights, settings.n_hidden, kept)
            _step(last, units, batch_rows, errors, rate, correction)
            _step(hidden, z, rows, hidden_errors, rate, correction)
        rows = _take(validation, 0, validation.size, room)
        write_outputs(z, rows, hidden.weights, before)
        rectify(before[: rows.size], units, settings.n_hidden)
        write_outputs(units, all_rows[: rows.size], last.weights, logits)
        if _end_epoch(state, settings, logits, rows, labels, validation.size, (hidden, last)):
            return True
    return False


@compiled()
def rectify(before: Array, units: Array, n_hidden: int) -> None:
    """Write rectified units into units [B, H + 1 or more], and a 1 behind them, whose weight is the bias."""
    for b in range(before.shape[0]):
        for h in range(n_hidden):
            units[b, h] = max(before[b, h], float32(0))
        units[b, n_hidden] = 1


@compiled()
def _turn_into_hidden_errors(before: Array, errors: Array, weights: Array, settings: LoopSettings) -> None:
    """Replace what units were before rectifying [B, H] by the gradient of the loss, from that of the logits [B, C]."""
    for b in range(before.shape[0]):
        for h in range(settings.n_hidden):
            total = float32(0)
            for c in range(settings.n_classes):
                total += errors[b, c] * weights[c, h]
            before[b, h] = total if before[b, h] > 0 else float32(0)


@compiled()
def _shrink(weights: Array, width: int, kept: float) -> None:
    """Decoupled weight decay (Loshchilov & Hutter 2019) of all but the bias."""
    for c in range(weights.shape[0]):
        for d in range(width):
            weights[c, d] *= kept


@compiled()
def train_layer_sum(
    settings: LoopSettings, shares: Layer, layer: Layer, state: TrainingState, z: Array, labels: Array,
    validation: Array, orders: Array,
) -> bool:  # fmt: skip
    """Train a linear probe on softmax(shares [1, L]) @ layers; z is [N, L * D], the rest is as `train_linear`.

    A tile of clips goes forward and backward before the next one: its layers are read from memory once a step.
    """
    n_layers, width = shares.weights.shape[1], layer.weights.shape[1]
    room = np.empty(max(settings.batch_size, validation.size) + TILE_ROWS, np.int64)
    errors, all_rows = np.empty((room.size, layer.weights.shape[0]), np.float32), np.arange(room.size)
    sums = np.empty((room.size, width), np.float32)
    portions, sum_error = np.empty(n_layers, np.float32), np.empty(width, np.float32)
    for epoch in range(orders.shape[0]):
        for first in range(0, orders.shape[1], settings.batch_size):
            size = min(settings.batch_size, orders.shape[1] - first)
            rows = _take(orders[epoch], first, size, room)
            write_portions(shares.weights[0], portions)
            by_portion = shares.gradient[0]
            by_portion[:] = 0
            for b in range(0, rows.size, TILE_ROWS):
                tile = slice(b, b + TILE_ROWS)
                sum_layers(z, rows[tile], portions, sums[tile])
                write_outputs(sums, all_rows[tile], layer.weights, errors[tile])
                n_real = min(TILE_ROWS, size - b)
                _turn_into_errors(errors[tile], rows[tile], labels, n_real, size, settings.n_classes)
                for k in range(b, b + n_real):
                    _add_by_portion(z[rows[k]], errors[k], layer.weights, sum_error, by_portion)
            along = float32(0)
            for i in range(n_layers):
                along += portions[i] * by_portion[i]
            for i in range(n_layers):
                by_portion[i] = portions[i] * (by_portion[i] - along)
            rate, correction = _next_rate(state, settings.learning_rate)
            _adam(shares.weights[0], shares.mean[0], shares.square[0], by_portion, rate, correction)
            _step(layer, sums, all_rows[: rows.size], errors, rate, correction)
        write_portions(shares.weights[0], portions)
        rows = _take(validation, 0, validation.size, room)
        sum_layers(z, rows, portions, sums)
        write_outputs(sums, all_rows[: rows.size], layer.weights, errors)
        if _end_epoch(state, settings, errors, rows, labels, validation.size, (shares, layer)):
            return True
    return False


@compiled()
def write_portions(shares: Array, portions: Array) -> None:
    """Write the softmax of shares [L]."""
    highest, total = shares.max(), float32(0)
    for i in range(shares.size):
        portions[i] = np.exp(shares[i] - highest)
        total += portions[i]
    for i in range(shares.size):
        portions[i] /= total


@compiled()
def sum_layers(z: Array, rows: Array, portions: Array, sums: Array) -> None:
    """Write the sums [B, D] of the layers of the clips at `rows` [B]."""
    width = sums.shape[1]
    for b in range(rows.size):
        total = sums[b]
        total[:] = 0
        for i in range(portions.size):
            layer, portion = z[rows[b], i * width : (i + 1) * width], portions[i]
            for d in range(width):
                total[d] += portion * layer[d]


@compiled()
def _add_by_portion(layers: Array, errors: Array, weights: Array, sum_error: Array, by_portion: Array) -> None:
    """Add a clip's gradient by the portions [L]; layers [L * D], errors of its logits [C], room for one of its sum."""
    width = sum_error.size
    sum_error[:] = 0
    for c in range(weights.shape[0]):
        error, slopes = errors[c], weights[c]
        for d in range(width):
            sum_error[d] += error * slopes[d]
    for i in range(by_portion.size):
        layer, total = layers[i * width : (i + 1) * width], float32(0)
        for d in range(width):
            total += layer[d] * sum_error[d]
        by_portion[i] += total
