"""Many linear softmax probes trained at once, each as if it were alone.

A probe is a representation and a seed. The seed fixes the initial weights and the order of the mini-batches; every
probe has its own Adam state, its own best weights, and stops by itself. Gradients are written out, since a softmax
layer's are two products, and the bias is the weight of a column of ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ser_probe.runtime import derive_seed

# Weights, two Adam moments, gradient and best weights of the probes of one chunk should stay in the processor's cache.
_CHUNK_BYTES = 4 * 2**20
_ADAM_DECAYS = (0.9, 0.999)
_ADAM_EPSILON = 1e-8


@dataclass(frozen=True)
class ProbeOptions:
    """How a linear softmax probe is trained. The defaults are Study E's.

    Args:
        learning_rate: Adam's.
        batch_size: Clips in a mini-batch; the last one of an epoch may be smaller.
        max_epochs: Epochs after which training ends at the latest.
        min_delta: By how much the validation loss (mean cross-entropy in nats) must fall to count as better.
        patience: Epochs without such a fall after which training ends.
    """

    learning_rate: float = 1e-2
    batch_size: int = 16
    max_epochs: int = 1000
    min_delta: float = 0.025
    patience: int = 5


@dataclass(frozen=True)
class FittedProbes:
    """Trained probes of R representations and S seeds.

    Args:
        weights: float32 [R, S, D + 1, C], the bias in the last row, of the epoch with the lowest validation loss.
        n_epochs: Epochs trained, int [R, S].
        validation_loss: The lowest validation loss, float32 [R, S].
    """

    weights: np.ndarray
    n_epochs: np.ndarray
    validation_loss: np.ndarray


def fit_softmax_probes(
    train: torch.Tensor,
    train_labels: torch.Tensor,
    validation: torch.Tensor,
    validation_labels: torch.Tensor,
    *,
    n_classes: int,
    seeds: Sequence[int],
    options: ProbeOptions,
    chunk_bytes: int = _CHUNK_BYTES,
) -> FittedProbes:
    """Train one probe per representation and seed.

    Args:
        train: Standardised features, float32 [R, N, D], on the device to train on.
        train_labels: Classes, int64 [S, N]: each seed may have labels of its own (shuffled ones).
        validation: Standardised features, float32 [R, M, D].
        validation_labels: Classes, int64 [S, M]; one row [M] serves all seeds.
        n_classes: C.
        seeds: S seeds.
        options: How to train.
        chunk_bytes: Size of the state of the probes that are trained at the same time; it changes no result.
    """
    train, validation = _with_ones(train), _with_ones(validation)
    validation_labels = validation_labels.expand(len(seeds), -1)
    n_representations, _, width = train.shape
    probes = [(r, s) for r in range(n_representations) for s in range(len(seeds))]
    at_once = max(1, chunk_bytes // (5 * 4 * width * n_classes))
    shape = (n_representations, len(seeds))
    fitted = FittedProbes(
        np.empty((*shape, width, n_classes), np.float32), np.empty(shape, int), np.empty(shape, np.float32)
    )
    for start in range(0, len(probes), at_once):
        chunk = torch.tensor(probes[start : start + at_once], device=train.device)
        state = _train(
            train, train_labels, validation, validation_labels, chunk[:, 0], chunk[:, 1], seeds, n_classes, options
        )
        rows = tuple(chunk.T.cpu().numpy())
        fitted.weights[rows] = state.best.cpu().numpy()
        fitted.n_epochs[rows] = state.n_epochs.cpu().numpy()
        fitted.validation_loss[rows] = state.lowest.cpu().numpy()
    return fitted


def initial_weights(seed: int, width: int, n_classes: int) -> torch.Tensor:
    """Return weights and bias (last row) [D + 1, C], uniform in +-1 / sqrt(D) as torch's linear layer draws them."""
    generator = torch.Generator().manual_seed(derive_seed("probe weights", seed))
    bound = 1 / np.sqrt(width)
    return torch.rand(width + 1, n_classes, generator=generator) * (2 * bound) - bound


def epoch_orders(seed: int, n: int) -> Iterator[torch.Tensor]:
    """Yield the order of the training clips [N], epoch by epoch."""
    generator = torch.Generator().manual_seed(derive_seed("probe batches", seed))
    while True:
        yield torch.randperm(n, generator=generator)


def standardise(x: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return features with mean 0 and variance 1 over the training clips; constant features become 0.

    Args:
        x: Features of shape [..., N, D].
        training: Which clips are training clips, bool [N].

    Returns:
        float32 of the same shape.
    """
    known = x[..., training, :].astype(np.float64)
    mean, deviation = known.mean(axis=-2, keepdims=True), known.std(axis=-2, keepdims=True)
    # Below float32's resolution of the mean a deviation is rounding; dividing by it would make features of noise.
    constant = deviation <= np.finfo(np.float32).eps * np.abs(mean)
    scale = np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation))
    return ((x - mean) * scale).astype(np.float32)


def _with_ones(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, x.new_ones(*x.shape[:-1], 1)], dim=-1)


@dataclass
class _State:
    """Best weights, epochs and lowest validation loss of the probes of a chunk."""

    best: torch.Tensor
    n_epochs: torch.Tensor
    lowest: torch.Tensor


def _train(
    train: torch.Tensor,
    train_labels: torch.Tensor,
    validation: torch.Tensor,
    validation_labels: torch.Tensor,
    which: torch.Tensor,
    seed_index: torch.Tensor,
    seeds: Sequence[int],
    n_classes: int,
    options: ProbeOptions,
) -> _State:
    """Train the probes (which[p], seed_index[p]) until each has stopped."""
    device, (_, n, width) = train.device, train.shape
    own_seeds = torch.unique(seed_index).tolist()
    orders = {s: epoch_orders(seeds[s], n) for s in own_seeds}
    initial = {s: initial_weights(seeds[s], width - 1, n_classes) for s in own_seeds}
    weights = torch.stack([initial[s] for s in seed_index.tolist()]).to(device)
    adam = _Adam(weights, options.learning_rate)
    infinite = torch.full((len(which),), torch.inf, device=device)
    state = _State(weights.clone(), torch.zeros_like(which), infinite.clone())
    to_beat, waited, running = infinite.clone(), torch.zeros_like(which), torch.arange(len(which), device=device)
    for epoch in range(1, options.max_epochs + 1):
        order = torch.zeros(len(seeds), n, dtype=torch.int64)
        for s in own_seeds:
            order[s] = next(orders[s])
        own_order = order.to(device)[seed_index[running]]
        own_labels = train_labels[seed_index[running]].gather(1, own_order)
        offset = which[running, None] * n
        for start in range(0, n, options.batch_size):
            batch = slice(start, start + options.batch_size)
            x = train.view(-1, width)[own_order[:, batch] + offset]
            adam.step(_gradient(adam.weights, x, own_labels[:, batch]))
        loss = _losses(adam.weights, validation, validation_labels[seed_index[running]], which[running])
        lower = loss < state.lowest[running]
        state.best[running[lower]] = adam.weights[lower]
        state.lowest[running[lower]] = loss[lower]
        state.n_epochs[running] = epoch
        better = loss < to_beat[running] - options.min_delta
        to_beat[running[better]] = loss[better]
        waited[running] = torch.where(better, 0, waited[running] + 1)
        keep = waited[running] < options.patience
        if not keep.all():
            running = running[keep]
            adam.keep(keep)
        if not len(running):
            break
    return state


def _gradient(weights: torch.Tensor, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the gradient [P, D, C] of the mean cross-entropy of x [P, B, D] with labels [P, B]."""
    error = torch.bmm(x, weights).softmax(dim=-1)
    error.scatter_add_(2, labels[:, :, None], error.new_full((*labels.shape, 1), -1.0))
    return torch.bmm(x.transpose(1, 2), error.div_(labels.shape[1]))


def _losses(weights: torch.Tensor, x: torch.Tensor, labels: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of each probe [P], with its labels [P, M], on its own representation's clips."""
    logits = torch.bmm(x[which], weights)
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(dim=1)


class _Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) for probes that start together and leave one by one."""

    def __init__(self, weights: torch.Tensor, learning_rate: float) -> None:
        self.weights, self.learning_rate, self.steps = weights, learning_rate, 0
        self.mean, self.square = torch.zeros_like(weights), torch.zeros_like(weights)

    def step(self, gradient: torch.Tensor) -> None:
        self.steps += 1
        decay_mean, decay_square = _ADAM_DECAYS
        self.mean.lerp_(gradient, 1 - decay_mean)
        self.square.mul_(decay_square).addcmul_(gradient, gradient, value=1 - decay_square)
        correction = np.sqrt(1 - decay_square**self.steps)
        scale = torch.sqrt(self.square, out=gradient).div_(correction).add_(_ADAM_EPSILON)
        self.weights.addcdiv_(self.mean, scale, value=-self.learning_rate / (1 - decay_mean**self.steps))

    def keep(self, which: torch.Tensor) -> None:
        self.weights, self.mean, self.square = self.weights[which], self.mean[which], self.square[which]
