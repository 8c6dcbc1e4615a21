"""How probes that learn step by step are set up: options, standardised features, initial weights, batch orders, checks.

Everything random about a probe's training is drawn here from its seed: any implementation trains the same probe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ser_probe.analysis.inputs import check_features
from ser_probe.analysis.probes.families import Folds
from ser_probe.errors import AnalysisError
from ser_probe.runtime import derive_seed

ADAM_DECAYS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


@dataclass(frozen=True)
class ProbeOptions:
    """How a probe is trained. The defaults are those of Study E's linear softmax probes.

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


def check_training(
    x: np.ndarray, labels: np.ndarray, folds: Folds, *, n_classes: int, seeds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features and the labels as int64 [S, N], after checking that probes can be trained and stopped.

    Raises:
        AnalysisError: If shapes differ, features are not finite, a fold has no training or no validation clips, or a
            label of theirs is not in [0, C).
    """
    x, labels = check_features(x, "The probes' features", ndim=3), np.asarray(labels)
    expected = (len(seeds), x.shape[1])
    if labels.shape != expected or folds.parts.shape != (len(folds.names), x.shape[1]):
        raise AnalysisError(
            "Labels and folds do not fit the features",
            expected=f"labels of shape {expected} and parts of shape {(len(folds.names), x.shape[1])}",
            found=f"labels of shape {labels.shape} and parts of shape {folds.parts.shape}",
        )
    for fold, name in enumerate(folds.names):
        for part, clips in (("training", folds.train(fold)), ("validation", folds.validation(fold))):
            if not len(clips):
                raise AnalysisError(
                    f"A fold has no {part} clips",
                    where=f"fold {name}",
                    expected="clips to train on, and clips whose loss says when to stop",
                    fix="take a division with a validation part, or a family that needs none",
                )
            part_labels = labels[:, clips]
            if part_labels.min() < 0 or part_labels.max() >= n_classes:
                raise AnalysisError(
                    f"Labels of {part} clips are not classes",
                    where=f"fold {name}",
                    expected=f"0 to {n_classes - 1}",
                    found=f"{part_labels.min()} to {part_labels.max()}",
                )
    # In C order whatever the order given: compiled code is compiled for one.
    return x, np.array(labels, dtype=np.int64, order="C")


def initial_weights(seed: int, width: int, n_outputs: int, *, use: str = "probe weights") -> torch.Tensor:
    """Return weights and bias (last row) [D + 1, C], uniform in +-1 / sqrt(D) as torch's linear layer draws them.

    Args:
        seed: The probe's.
        width: D.
        n_outputs: C.
        use: Keeps layers of one probe apart.
    """
    generator = torch.Generator().manual_seed(derive_seed(use, seed))
    bound = 1 / np.sqrt(width)
    return torch.rand(width + 1, n_outputs, generator=generator) * (2 * bound) - bound


def epoch_orders(seed: int, n: int) -> Iterator[torch.Tensor]:
    """Yield the order of the training clips [N], epoch by epoch."""
    generator = torch.Generator().manual_seed(derive_seed("probe batches", seed))
    while True:
        yield torch.randperm(n, generator=generator)


def standardise(x: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return features with mean 0 and variance 1 over the training clips; constant features become 0.

    Args:
        x: Features of shape [..., N, D].
        training: Which clips are training clips, bool [N] or positions.

    Returns:
        float32 of the same shape.
    """
    mean, scale = standardisation(x, training)
    return ((x - mean) * scale).astype(np.float32)


def standardisation(x: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what to subtract and what to multiply by, float64 [..., 1, D], to standardise on the training clips.

    Constant features are multiplied by 0.
    """
    known = x[..., training, :].astype(np.float64)
    mean, deviation = known.mean(axis=-2, keepdims=True), known.std(axis=-2, keepdims=True)
    # Below float32's resolution of the mean a deviation is rounding; dividing by it would make features of noise.
    constant = deviation <= np.finfo(np.float32).eps * np.abs(mean)
    return mean, np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation))


def in_raw_units(weights: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return weights [..., D + 1, C] for standardised features as weights for raw ones: [x, 1] @ weights is the same.

    Args:
        weights: The bias is the last row.
        mean: What standardising subtracts, [1, D].
        scale: What it multiplies by, [1, D].
    """
    slopes = weights[..., :-1, :] * scale.T
    bias = weights[..., -1:, :] - mean @ slopes
    return np.concatenate([slopes, bias], axis=-2).astype(np.float32)
