"""Whether clips keep their nearest neighbours."""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.drift.ratios import ClipRatio, mean_of

DEFAULT_NEIGHBOURS = 10


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
