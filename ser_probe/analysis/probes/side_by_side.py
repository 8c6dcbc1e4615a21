"""Compiled training on all cores: a thread holds one representation's standardised features and trains its seeds.

Everything of a probe is computed by one thread, so that no result depends on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
import torch

from ser_probe.analysis.probes.families import Folds
from ser_probe.analysis.probes.probe_state import TILE_ROWS, TILE_WIDTH, padded
from ser_probe.analysis.probes.training import epoch_orders
from ser_probe.analysis.threads import run_side_by_side
from ser_probe.runtime import Progress

_ORDERS_AT_ONCE = 8  # epochs; most probes stop within ten
_MANY_TASKS = 16  # with this many representations and folds the cores stay busy without dividing up the seeds


@dataclass(frozen=True)
class ThreadTask:
    """What one thread works on.

    Args:
        r: A representation.
        fold: A fold.
        seeds: Which of the seeds.
        z: Standardised features of all clips with a column of ones, padded, float32 [N, D].
        mean: What was subtracted, float64 [1, D].
        scale: What was multiplied by, float64 [1, D].
        train: Positions of the training clips.
        validation: Positions of the validation clips.
    """

    r: int
    fold: int
    seeds: range
    z: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    train: np.ndarray
    validation: np.ndarray


def for_each_task(
    x: np.ndarray, folds: Folds, n_seeds: int, work: Callable[[ThreadTask], None], progress: Progress
) -> None:
    """Call `work` for all representations, folds and seeds, a thread a core.

    Args:
        x: Raw features [R, N, D].
        folds: F divisions.
        n_seeds: S; the seeds of a representation and fold are shared out only where these are few.
        work: What to do with a task; it must let other threads run.
        progress: Advanced by one per representation and fold.
    """
    at_once = n_seeds if len(x) * len(folds.names) >= _MANY_TASKS else 1
    seeds = [range(first, min(first + at_once, n_seeds)) for first in range(0, n_seeds, at_once)]

    def run(task: tuple[int, int, range]) -> None:
        r, fold, own_seeds = task
        train, validation = folds.train(fold), folds.validation(fold)
        z = np.zeros((x.shape[1], padded(x.shape[2] + 1, TILE_WIDTH)), np.float32)
        mean, scale = standardise_into(z, 0, x[r], train)
        work(ThreadTask(r, fold, own_seeds, z, mean, scale, train, validation))

    for (_, _, own_seeds), _ in run_side_by_side(run, product(range(len(x)), range(len(folds.names)), seeds)):
        progress.advance(len(own_seeds) / n_seeds)


def standardise_into(
    z: np.ndarray, first: int, features: np.ndarray, train: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Write standardised features [N, D] and a column of ones into z from a column on; return mean and scale [1, D]."""
    from ser_probe.analysis.probes.standardise_loop import standardise_rows

    mean, scale = np.empty(features.shape[1]), np.empty(features.shape[1])
    raw = np.ascontiguousarray(features, dtype=np.float64 if features.dtype == np.float64 else np.float32)
    standardise_rows(raw, train, z, first, mean, scale)
    return mean[None], scale[None]


def train_to_end(train: np.ndarray, seed: int, train_epochs: Callable[[np.ndarray], bool]) -> None:
    """Hand a probe the orders of its training clips, some epochs at a time, until it says that it has stopped."""
    orders = epoch_orders(seed, len(train))
    while not train_epochs(train[torch.stack(list(islice(orders, _ORDERS_AT_ONCE))).numpy()]):
        pass


def whole_tiles(n_clips: int) -> np.ndarray:
    """Return the positions of all clips in whole tiles; the last is repeated."""
    return np.minimum(np.arange(padded(n_clips, TILE_ROWS)), n_clips - 1)


def outputs_of(z: np.ndarray, weights: np.ndarray, n_outputs: int) -> np.ndarray:
    """Return a layer's outputs [N, C] for all clips."""
    from ser_probe.analysis.probes.softmax_loop import write_outputs

    rows = whole_tiles(len(z))
    outputs = np.empty((len(rows), len(weights)), np.float32)
    write_outputs(z, rows, weights, outputs)
    return outputs[: len(z), :n_outputs]
