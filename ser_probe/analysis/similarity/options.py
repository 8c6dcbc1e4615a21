"""Options of the measures of similarity, and their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ser_probe.runtime import SILENT, Progress

MEMORY_BYTES = 256 * 2**20
"""For the largest working arrays of a measure."""


@dataclass(frozen=True)
class Options:
    """Options of all measures; each uses its own.

    Args:
        groups: Each clip's speaker [N]. Folds share no speaker, and intervals leave out one at a time.
        intervals: Compute intervals where they cost little: CKA, distance correlation, RSA, mutual k-NN.
        rbf_fraction: Bandwidth of the RBF kernel as a share of the median distance between clips.
        rdm: What RSA calls dissimilar: 1 less the correlation of two clips' features, or their distance.
        neighbours: The k of mutual k-NN.
        nearness: Whether neighbours are near by cosine or by distance.
        variance: The share of the variance that the principal components of SVCCA keep.
        components: Principal components that every CCA starts from at most; None for all of them.
        folds: Parts without a common speaker for held-out values.
        batch: Clips of a minibatch.
        epochs: How often the minibatch estimate goes through the clips.
        strengths: Ridge strengths to choose from, as shares of the mean eigenvalue of the features' Gram matrix.
        seed: Seed of folds and minibatches.
        memory_bytes: For the largest working arrays.
        progress: Told of the steps of each long loop.
    """

    groups: np.ndarray | None = field(default=None, repr=False)
    intervals: bool = True
    rbf_fraction: float = 0.8
    rdm: Literal["correlation", "euclidean"] = "correlation"
    neighbours: int = 10
    nearness: Literal["cosine", "euclidean"] = "cosine"
    variance: float = 0.99
    components: int | None = None
    folds: int = 5
    batch: int = 256
    epochs: int = 1
    strengths: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
    seed: int = 0
    memory_bytes: int = MEMORY_BYTES
    progress: Progress = field(default=SILENT, repr=False)


@dataclass(frozen=True)
class PairValues:
    """A measure's values for all pairs, each of shape [R, S]; NaN where there is none.

    Attributes:
        value: The value.
        ci_low: Lower end of its 95 % interval over speakers.
        ci_high: Upper end.
        baseline: What the measure is on average where the two have nothing in common.
        flag: Why a value is missing or must be read with care; empty where there is nothing to say.
    """

    value: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray
    baseline: np.ndarray
    flag: np.ndarray


def pair_values(
    value: np.ndarray,
    *,
    interval: tuple[np.ndarray, np.ndarray] | None = None,
    baseline: np.ndarray | float = np.nan,
    flag: np.ndarray | str = "",
) -> PairValues:
    """Return values with what is known of them; the rest is NaN or empty."""
    low, high = interval or (np.full(value.shape, np.nan), np.full(value.shape, np.nan))
    flags = np.broadcast_to(np.asarray(flag, dtype=object), value.shape)
    return PairValues(value, low, high, np.broadcast_to(np.asarray(baseline, float), value.shape), flags)
