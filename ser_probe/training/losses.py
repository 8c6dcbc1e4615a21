"""Losses of fine-tuning and the scores that validation is measured by.

Outputs are what the head gives: logits of classes, or z-scores of numeric targets (`models.targets`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ser_probe.models.targets import CLASSES, Targets

_NO_SPREAD = 1e-8
"""Added to the spread of a batch in the concordance: of one clip, or of equal ones, it is 0. Targets have spread 1."""


@dataclass(frozen=True)
class Loss:
    """A loss over a batch.

    Args:
        measure: Outputs [B, K] and targets (see `prepare_targets`) -> a scalar, in float32 or better.
    """

    measure: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar: a mean over its clips, but for the concordance."""
        return self.measure(outputs.float() if outputs.dtype != torch.float64 else outputs, targets)


def make_loss(
    name: str, targets: Targets, train: np.ndarray, *, class_weights: bool = False, label_smoothing: float = 0.0
) -> Loss:
    """Return the loss of a training run.

    Args:
        name: `cross_entropy`, `mse` or `ccc`.
        targets: What is predicted.
        train: Targets of the training clips, for the weights of the classes: int [N], or shares [N, K].
        class_weights: Weigh clips by the inverse frequency of their class, N / (K n_c); of a distribution by its mean.
            Each class then counts alike, and the mean weight of the training clips is 1.
        label_smoothing: Share of the target, in [0, 1), that is spread over all classes (Szegedy et al. 2016).
    """
    if name == "cross_entropy":
        weights = inverse_frequencies(train, len(targets.names)) if class_weights else None
        return Loss(lambda outputs, goal: cross_entropy(outputs, goal, weights, label_smoothing))
    return Loss({"mse": mean_squared_error, "ccc": concordance_loss}[name])


def inverse_frequencies(targets: np.ndarray, n_classes: int) -> Tensor:
    """Return N / (K n_c) of each class, float32 [K].

    Args:
        targets: Classes int [N], or shares of the classes [N, K]; every class occurs.
        n_classes: K.
    """
    counts = np.bincount(targets, minlength=n_classes) if targets.ndim == 1 else targets.sum(axis=0)
    return torch.from_numpy(len(targets) / (n_classes * counts)).float()


def cross_entropy(outputs: Tensor, shares: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Return the mean over clips of w_i * -sum_c q_ic log softmax(outputs)_ic.

    q is the target spread by `smoothing`, w_i the weight of the clip's target before that. With one-hot targets this
    is the usual cross-entropy; with distributions of votes its value and gradient differ from those of the
    Kullback-Leibler divergence by a constant and by nothing.

    Args:
        outputs: Logits [B, K].
        shares: Targets [B, K], rows sum to 1.
        weights: Weights of the classes [K]; None: 1.
        smoothing: In [0, 1).
    """
    spread = (1 - smoothing) * shares + smoothing / shares.shape[1]
    losses = -(spread * outputs.log_softmax(dim=1)).sum(dim=1)
    if weights is not None:
        losses = losses * (shares @ weights.to(shares))
    return losses.mean()


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over clips and targets of the squared error; both [B, K]."""
    return (outputs - targets).square().mean()


def concordance_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return 1 minus the mean over targets of Lin's concordance correlation in the batch (Lin 1989); both [B, K].

    It is no mean over clips: the value of a batch depends on which clips are together, a single clip teaches nothing,
    and batches that are accumulated or on several devices count by themselves.
    """
    centred, goal = outputs - outputs.mean(dim=0), targets - targets.mean(dim=0)
    covariance = (centred * goal).mean(dim=0)
    spread = centred.square().mean(dim=0) + goal.square().mean(dim=0)
    distance = (outputs.mean(dim=0) - targets.mean(dim=0)).square()
    return 1 - (2 * covariance / (spread + distance + _NO_SPREAD)).mean()


def prepare_targets(targets: Targets, values: np.ndarray) -> Tensor:
    """Return what a loss compares outputs with, float32 [B, K].

    Args:
        targets: What is predicted.
        values: Classes int [B], shares [B, K], or z-scores [B, K].
    """
    if targets.kind == CLASSES:
        return torch.eye(len(targets.names))[torch.as_tensor(values, dtype=torch.int64)]
    return torch.as_tensor(values, dtype=torch.float32)


def score(targets: Targets, outputs: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Return the scores of all validation clips at once.

    Args:
        targets: What is predicted.
        outputs: The head's outputs, [N, K].
        true: As `prepare_targets` returns them, [N, K].

    Returns:
        Of classes and distributions (whose largest share is the label) accuracy, UAR, macro and weighted F1; of numbers
        the concordance correlation, mean over targets (0 for a constant target), and the root mean squared error in
        units of the training clips' standard deviation.
    """
    if targets.is_numeric:
        return _score_numbers(outputs.astype(np.float64), true.astype(np.float64))
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    label, predicted = true.argmax(axis=1), outputs.argmax(axis=1)
    return {
        "accuracy": float(accuracy_score(label, predicted)),
        "uar": float(recall_score(label, predicted, labels=np.unique(label), average="macro", zero_division=0)),
        "macro_f1": float(f1_score(label, predicted, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(label, predicted, average="weighted", zero_division=0)),
    }


def _score_numbers(outputs: np.ndarray, true: np.ndarray) -> dict[str, float]:
    centred, goal = outputs - outputs.mean(axis=0), true - true.mean(axis=0)
    distance = (outputs.mean(axis=0) - true.mean(axis=0)) ** 2
    spread = (centred**2).mean(axis=0) + (goal**2).mean(axis=0) + distance
    concordance = np.where(spread > 0, 2 * (centred * goal).mean(axis=0) / np.where(spread > 0, spread, 1), 0.0)
    return {"ccc": float(concordance.mean()), "rmse": float(np.sqrt(((outputs - true) ** 2).mean()))}
