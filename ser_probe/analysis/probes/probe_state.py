"""What compiled training works on: padded layers, the state of a training, and its settings. No numba here.

Arrays are padded with zeros: rows to a multiple of TILE_ROWS, outputs to one of TILE_OUTPUTS, width (with a column of
ones for the bias) to one of TILE_WIDTH. A padded output has no error, so its weights stay zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ser_probe.analysis.probes.training import ProbeOptions

TILE_ROWS, TILE_OUTPUTS, TILE_WIDTH = 4, 3, 16


class Layer(NamedTuple):
    """A linear layer in training, C outputs by D inputs, both padded, D with the bias.

    Args:
        weights: float32 [C, D].
        mean: Adam's first moment [C, D].
        square: Adam's second moment [C, D].
        best: The weights of the lowest validation loss [C, D].
        gradient: Room for the gradient of a tile of outputs [TILE_OUTPUTS, D].
    """

    weights: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    best: np.ndarray
    gradient: np.ndarray


class TrainingState(NamedTuple):
    """How far the training of a probe has come.

    Args:
        losses: The lowest validation loss, and the loss to beat: float64 [2].
        counts: Epochs trained, epochs waited, Adam steps: int64 [3].
    """

    losses: np.ndarray
    counts: np.ndarray


class LoopSettings(NamedTuple):
    """The options of training, as `training.ProbeOptions` has them, and true sizes without pads."""

    learning_rate: float
    batch_size: int
    min_delta: float
    patience: int
    max_epochs: int
    n_classes: int
    width: int
    n_hidden: int = 0
    weight_decay: float = 0.0


def new_state() -> TrainingState:
    """Return the state of a training before its first step."""
    return TrainingState(np.full(2, np.inf), np.zeros(3, np.int64))


def new_layer(weights: np.ndarray) -> Layer:
    """Return a layer before its first step, from weights [D + 1, C] with the bias in the last row."""
    width, n_outputs = weights.shape
    shape = (padded(n_outputs, TILE_OUTPUTS), padded(width, TILE_WIDTH))
    start = np.zeros(shape, np.float32)
    start[:n_outputs, :width] = weights.T
    moments_and_best = (np.zeros(shape, np.float32), np.zeros(shape, np.float32), start.copy())
    return Layer(start, *moments_and_best, np.empty((TILE_OUTPUTS, shape[1]), np.float32))


def loop_settings(
    options: ProbeOptions, n_classes: int, width: int, *, n_hidden: int = 0, weight_decay: float = 0.0
) -> LoopSettings:
    """Return options as settings, numbers in the types that the compiled code was compiled for."""
    return LoopSettings(
        float(options.learning_rate), int(options.batch_size), float(options.min_delta), int(options.patience),
        int(options.max_epochs), int(n_classes), int(width), int(n_hidden), float(weight_decay),
    )  # fmt: skip


def padded(size: int, tile: int) -> int:
    """Return the smallest multiple of a tile that holds a size."""
    return -(-size // tile) * tile
