"""Standardising in compiled code: one pass for the mean, one for the deviation, one to write; no array of float64."""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.probes.compiled import compiled


@compiled()
def standardise_rows(
    x: np.ndarray, train: np.ndarray, z: np.ndarray, first: int, mean: np.ndarray, scale: np.ndarray
) -> None:
    """Write standardised features and a column of ones into z; `training.standardise` in compiled code.

    Args:
        x: Raw features [N, D].
        train: Positions of the training clips.
        z: float32 [N, ...], zeros; columns `first` to `first` + D + 1 are written.
        first: A column of z.
        mean: float64 [D], written.
        scale: float64 [D], written: the reciprocal of the deviation, 0 of a constant feature.
    """
    width = x.shape[1]
    mean[:] = 0
    for row in train:
        for d in range(width):
            mean[d] += x[row, d]
    for d in range(width):
        mean[d] /= train.size
    scale[:] = 0
    for row in train:
        for d in range(width):
            scale[d] += (x[row, d] - mean[d]) ** 2
    resolution = np.finfo(np.float32).eps
    for d in range(width):
        deviation = np.sqrt(scale[d] / train.size)
        scale[d] = 0.0 if deviation <= resolution * abs(mean[d]) else 1 / deviation
    for row in range(x.shape[0]):
        for d in range(width):
            z[row, first + d] = (x[row, d] - mean[d]) * scale[d]
        z[row, first + width] = 1
