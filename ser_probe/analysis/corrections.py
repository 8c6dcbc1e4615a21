"""Corrections of p-values for how many comparisons are made."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values corrected for their number (Holm 1979): the chance of any false positive stays at the level.

    Args:
        p: P-values [R] in [0, 1]; NaN for a test that was not made, which counts for nothing.

    Returns:
        Corrected p-values [R], none below its own p, in the same order of size; NaN where p is.
    """
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.minimum(1, p[order] * np.arange(len(order), 0, -1))
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.maximum.accumulate(steps)
    return corrected
