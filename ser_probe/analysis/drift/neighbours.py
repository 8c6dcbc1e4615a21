"""Whether clips keep their nearest neighbours."""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.drift.ratios import ClipRatio, mean_of

DEFAULT_NEIGHBOURS = 10
_BLOCK_BYTES = 64 * 2**20


def nearest(x: np.ndarray, k: int) -> np.ndarray:
    """Return the k nearest other clips of each clip by Euclidean distance, positions [N, k] in no order.

    Args:
        x: Features, [N, D].
        k: Neighbours, from 1 to N - 1.
    """
    centred = x - x.mean(axis=0)
    squares, n = np.einsum("nd,nd->n", centred, centred), len(x)
    found = np.empty((n, k), np.int64)
    rows = max(1, _BLOCK_BYTES // (8 * n))
    for start in range(0, n, rows):
        block = slice(start, min(start + rows, n))
        # Less the clip's own square, which all its distances share.
        distances = squares[None, :] - 2 * (centred[block] @ centred.T)
        distances[np.arange(block.stop - start), np.arange(start, block.stop)] = np.inf
        found[block] = np.argpartition(distances, k - 1, axis=1)[:, :k]
    return found


def knn_overlap(before: np.ndarray, after: np.ndarray) -> ClipRatio:
    """Return the share of a clip's k nearest neighbours that are still among its k nearest (Huh et al. 2024).

    In [0, 1]; 1 where all are. For unrelated features it is k / (N - 1) on average. Unchanged by a shift, rotation or
    isotropic scaling of either side. It looks at the near only: what happens between far clips does not count.

    The interval takes a clip's neighbours as the clip's own: leaving a speaker out leaves the others' as they are.

    Args:
        before: Neighbours of each clip, [N, k].
        after: The same after, [N, k].
    """
    kept = (before[:, :, None] == after[:, None, :]).any(axis=2)
    return mean_of(kept.mean(axis=1))
