"""Controls of a probe's score: shuffled labels, and the most frequent class, which needs no features.

Both reach what a probe can reach without reading the label from a layer. A score is informative as far as it is above
them: the difference to the shuffled labels is the selectivity (Hewitt & Liang 2019).
"""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.probes.families import Folds
from ser_probe.runtime import derive_seed

_TRIES = 100  # shuffles of whole speakers that are tried until every training part has every class


def shuffle_values(values: np.ndarray, groups: np.ndarray, seed: int, folds: Folds | None = None) -> np.ndarray:
    """Return a target's values shuffled so that they mean nothing and stay as frequent.

    Within each speaker, so that how often a speaker has a label does not change. Where every speaker has one value
    only (a target such as gender), that would change nothing, and whole speakers swap their values instead.

    Args:
        values: Classes or numbers, [N].
        groups: Each clip's speaker, [N].
        seed: Another seed gives another shuffle.
        folds: The divisions; speakers are swapped until every training part has every class, if that can be.
    """
    rng = np.random.default_rng(derive_seed("shuffled labels", seed))
    shuffled = values.copy()
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    if any((values[clips] != values[clips[0]]).any() for clips in members):
        for clips in members:
            shuffled[clips] = values[rng.permutation(clips)]
        return shuffled
    firsts = np.array([values[clips[0]] for clips in members])
    for _ in range(_TRIES):
        for clips, value in zip(members, rng.permutation(firsts), strict=True):
            shuffled[clips] = value
        if folds is None or _all_trained(shuffled, folds):
            break
    return shuffled


def majority_answers(values: np.ndarray, folds: Folds, n_classes: int) -> np.ndarray:
    """Return each fold's most frequent training class (the first of equals), int [F]."""
    return np.array([
        np.bincount(values[folds.train(fold)], minlength=n_classes).argmax() for fold in range(len(folds.names))
    ])  # fmt: skip


def _all_trained(values: np.ndarray, folds: Folds) -> bool:
    if values.dtype.kind == "f":
        return True
    n = len(np.unique(values))
    return all(len(np.unique(values[folds.train(fold)])) == n for fold in range(len(folds.names)))
