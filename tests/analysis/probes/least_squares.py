"""A small family of probes in closed form, to try on what is done with any family."""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.probes.families import ClassProbes, Folds


def fit_least_squares(
    x: np.ndarray,
    labels: np.ndarray,
    folds: Folds,
    *,
    groups: np.ndarray,
    n_classes: int,
    n_seeds: int = 1,
    ridge: float = 1.0,
    sharpness: float = 6.0,
) -> ClassProbes:
    """Fit ridge regression to the indicators of the classes; seeds fit random halves of the training clips."""
    n_folds, width = len(folds.names), x.shape[2]
    weights = np.zeros((len(x), n_folds, n_seeds, width + 1, n_classes))
    for r, own in enumerate(x):
        for fold in range(n_folds):
            for seed in range(n_seeds):
                train = folds.train(fold)
                if n_seeds > 1:
                    train = np.random.default_rng(seed).choice(train, len(train) // 2, replace=False)
                mean, deviation = own[train].mean(axis=0), own[train].std(axis=0) + 1e-12
                z = (own[train] - mean) / deviation
                target = np.eye(n_classes)[labels[train]]
                solved = np.linalg.solve(z.T @ z + ridge * np.eye(width), z.T @ (target - target.mean(axis=0)))
                weights[r, fold, seed, :-1] = sharpness * solved / deviation[:, None]
                weights[r, fold, seed, -1] = sharpness * (target.mean(axis=0) - (mean / deviation) @ solved)
    logits = np.einsum("rnd,rfsdc->rfsnc", x, weights[:, :, :, :-1]) + weights[:, :, :, None, -1]
    shape = weights.shape[:3]
    return ClassProbes(logits.astype(np.float32), weights.astype(np.float32), np.zeros(shape, int), np.ones(shape))
