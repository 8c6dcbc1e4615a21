"""A learned sum of the layers of a checkpoint, as SUPERB's downstream models take it, and a linear probe on the sum.

Which layers does a probe choose that may mix them? The weights answer, with two cautions. They are not importances:
neighbouring layers say nearly the same, and how the weight is shared among them is decided by little (compare seeds).
And a weight means something only if the layers have one scale: SUPERB's toolkit can normalise each hidden state before
the sum; here each feature of each layer is standardised on the training clips, as for every other family, so that a
layer of large values does not count for more than its weight says.

Source: Yang et al. 2021, "SUPERB: Speech processing Universal PERformance Benchmark", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from scipy.special import softmax

from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.analysis.probes.probe_state import TILE_WIDTH, Layer, new_course, new_layer, new_rules, padded
from ser_probe.analysis.probes.side_by_side import outputs_of, standardise_into, train_to_end
from ser_probe.analysis.probes.stacked import Clips, Stack, output_error, train_stacked
from ser_probe.analysis.probes.training import ProbeOptions, check_training, initial_weights, standardisation
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
    device: str | torch.device = "cpu",
    progress: Progress = SILENT,
) -> ClassProbes:
    """Train linear softmax probes on a learned sum of layers: one per fold and seed.

    The weights of the sum are the softmax of L free numbers, all 0 at first, that are trained together with the probe.

    Args:
        x: Raw features of the L layers of one checkpoint [L, N, D]; each fold standardises them on its training clips.
        labels: Classes in [0, C), int [S, N].
        folds: F ways to divide the clips, each with validation clips.
        n_classes: C.
        seeds: S seeds, each of initial weights of the probe and of batch orders.
        options: How to train; as Study E's linear probes by default.
        device: Where to train. The standardised features of a fold are held there, [N, L, D] in float32.
        progress: Advanced by one per fold; the caller starts and finishes it.

    Returns:
        Logits [1, F, S, N, C] of all clips and the weights of the layers [1, F, S, L], which sum to 1, both of the
        epoch with the lowest validation loss. They are invariant to shifts and scalings of the features of a layer.

    Raises:
        AnalysisError: If shapes differ, features are not finite, a fold has no training or no validation clips, or a
            label of theirs is not in [0, C).
    """
    x, labels = check_training(x, labels, folds, n_classes=n_classes, seeds=seeds)
    device, shape = torch.device(device), (1, len(folds.names), len(seeds))
    logits = np.empty((*shape, x.shape[1], n_classes), np.float32)
    layer_weights, n_epochs = np.empty((*shape, len(x))), np.empty(shape, int)
    train = _train_side_by_side if device.type == "cpu" else partial(_train_batched, device=device)
    for fold in range(len(folds.names)):
        fitted = train(
            x, labels, folds.train(fold), folds.validation(fold), n_classes, seeds, options or ProbeOptions()
        )
        logits[0, fold], layer_weights[0, fold], n_epochs[0, fold] = fitted
        progress.advance()
    return ClassProbes(logits, None, n_epochs, np.full(shape, np.nan), layer_weights)


Fitted = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of one fold: logits [S, N, C], weights of the layers [S, L], epochs [S]."""


def _train_side_by_side(
    x: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    n_classes: int,
    seeds: Sequence[int],
    options: ProbeOptions,
) -> Fitted:
    """Train each seed's probe by itself in compiled code, a thread a core; all read the same features."""
    from ser_probe.analysis.probes.softmax_loop import sum_layers, train_layer_sum, write_portions

    n_layers, n_clips, width = x.shape
    own_width = padded(width + 1, TILE_WIDTH)
    z = np.zeros((n_clips, n_layers * own_width), np.float32)
    for _ in run_side_by_side(lambda i: standardise_into(z, i * own_width, x[i], train), range(n_layers)):
        pass
    rules = new_rules(options, n_classes, width)
    logits = np.empty((len(seeds), n_clips, n_classes), np.float32)
    weights, n_epochs = np.empty((len(seeds), n_layers)), np.empty(len(seeds), int)
    starts = [initial_weights(seed, width, n_classes).numpy() for seed in seeds]

    def work(s: int) -> None:
        shares = Layer(*(np.zeros((1, n_layers), np.float32) for _ in Layer._fields))
        layer, course = new_layer(starts[s]), new_course()
        fit = partial(train_layer_sum, rules, shares, layer, course, z, labels[s], validation)
        train_to_end(train, seeds[s], fit)
        portions, sums = np.empty(n_layers, np.float32), np.empty((n_clips, own_width), np.float32)
        write_portions(shares.best[0], portions)
        sum_layers(z, np.arange(n_clips), portions, sums)
        logits[s] = outputs_of(sums, layer.best, n_classes)
        weights[s] = softmax(shares.best[0].astype(np.float64))
        n_epochs[s] = course.counts[0]

    for _ in run_side_by_side(work, range(len(seeds))):
        pass
    return logits, weights, n_epochs


def _train_batched(
    x: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    n_classes: int,
    seeds: Sequence[int],
    options: ProbeOptions,
    device: torch.device,
) -> Fitted:
    """Train the probes of all seeds in batched products of torch."""
    z = np.empty((1, x.shape[1], x.shape[0], x.shape[2]), np.float32)  # the layers of a clip side by side
    for layer, features in enumerate(x):
        mean, scale = standardisation(features, train)
        z[0, :, layer] = (features - mean) * scale
    clips = Clips(*(torch.from_numpy(array).to(device) for array in (z, labels, train, validation)))
    probes = torch.stack([initial_weights(seed, x.shape[2], n_classes) for seed in seeds])
    start = [torch.zeros(len(seeds), len(x)), probes[:, :-1].contiguous(), probes[:, -1].clone()]
    trained = train_stacked(_LayerSum(), [each.to(device) for each in start], clips, seeds, options)
    shares, slopes, biases = (parameter[0] for parameter in trained.parameters)
    portions = shares.softmax(dim=-1)
    logits = torch.stack([portions[s] @ clips.z[0] @ slopes[s] + biases[s] for s in range(len(seeds))])
    return logits.cpu().numpy(), shares.double().softmax(dim=-1).cpu().numpy(), trained.n_epochs[0].cpu().numpy()


class _LayerSum:
    """softmax(shares) @ layers, then a softmax layer; gradients written out. Features are [P, B, L, D]."""

    def logits(self, parameters: Stack, x: torch.Tensor) -> torch.Tensor:
        return self._outputs(parameters, self._sum(parameters[0].softmax(dim=-1), x))

    def gradient(self, parameters: Stack, x: torch.Tensor, labels: torch.Tensor) -> Stack:
        weights = parameters[0].softmax(dim=-1)
        layers_sum = self._sum(weights, x)
        error = output_error(self._outputs(parameters, layers_sum), labels)
        sum_error = torch.bmm(error, parameters[1].transpose(1, 2))
        by_weight = (x @ sum_error[..., None]).squeeze(-1).sum(dim=1)
        by_share = weights * (by_weight - (weights * by_weight).sum(dim=-1, keepdim=True))
        return [by_share, torch.bmm(layers_sum.transpose(1, 2), error), error.sum(dim=1)]

    @staticmethod
    def _sum(weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return (weights[:, None, None, :] @ x).squeeze(2)

    @staticmethod
    def _outputs(parameters: Stack, layers_sum: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(parameters[2][:, None], layers_sum, parameters[1])
