"""Input and output of all families of probes.

Axis letters: R representations, F folds, S seeds, N clips, D width, C classes, K numeric targets.

A family is a function `fit_<family>(x, labels, folds, *, groups, n_classes, seeds, ...) -> ClassProbes` (for numeric
targets `(x, targets, folds, ...) -> NumberProbes`) that trains all R x F x S probes in one call.
Features are standardised inside each fold on its training clips; callers hand in raw features. Callers bound R: a
family may hold arrays of the size of what it returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TRAIN, VALIDATION, TEST, UNUSED = 0, 1, 2, -1
PART_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Folds:
    """Ways to divide the same clips; in each a clip trains, validates, tests or is left out.

    Args:
        names: F names, such as `study` or `fold-0`.
        parts: int8 [F, N]: TRAIN, VALIDATION, TEST or UNUSED. A fold may have no validation clips, if the family
            needs none.
    """

    names: Sequence[str]
    parts: np.ndarray

    def train(self, fold: int) -> np.ndarray:
        """Return the positions of a fold's training clips."""
        return np.flatnonzero(self.parts[fold] == TRAIN)

    def validation(self, fold: int) -> np.ndarray:
        """Return the positions of a fold's validation clips."""
        return np.flatnonzero(self.parts[fold] == VALIDATION)

    def test(self, fold: int) -> np.ndarray:
        """Return the positions of a fold's test clips."""
        return np.flatnonzero(self.parts[fold] == TEST)


@dataclass(frozen=True)
class ClassProbes:
    """Trained classifiers, as their outputs for every clip.

    Args:
        logits: float32 [R, F, S, N, C]; softmax gives the probabilities. k-NN gives the log of its vote shares.
        weights: float32 [R, F, S, D + 1, C] of linear families, in the units of the raw features, the bias in the last
            row, so that logits = [x, 1] @ weights: what is applied to another checkpoint. None for others.
        n_epochs: int [R, F, S]: epochs of iterative families, iterations of convex ones, 0 where there are none.
        strength: float64 [R, F, S]: the chosen regularisation (L2 penalty, or k of k-NN), NaN where there is none.
        layer_weights: float64 [R, F, S, L] of a learned sum of layers, None for others.
    """

    logits: np.ndarray
    weights: np.ndarray | None
    n_epochs: np.ndarray
    strength: np.ndarray
    layer_weights: np.ndarray | None = None


@dataclass(frozen=True)
class NumberProbes:
    """Trained regressions, as their predictions for every clip.

    Args:
        predictions: float32 [R, F, N, K], in the targets' units.
        weights: float32 [R, F, D + 1, K] in raw units, the bias in the last row; None where there is none.
        strength: float64 [R, F, K]: the chosen regularisation.
    """

    predictions: np.ndarray
    weights: np.ndarray | None
    strength: np.ndarray
