"""How far maps of the same data that differ only in their seed agree: what in a map comes from the data.

Two maps cannot be compared by their coordinates, which may be rotated, mirrored and rearranged. A map shows which clips
are near each other, so this is compared: each clip's nearest neighbours on both maps. Neighbourhoods that change with
the seed must not be interpreted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.spatial import KDTree

from ser_probe.analysis.inputs import check_lengths
from ser_probe.errors import AnalysisError


def seed_stability(maps: Sequence[Sequence[np.ndarray]], n_neighbors: int) -> list[float]:
    """Return per panel how far maps of several seeds agree on neighbours.

    Args:
        maps: Of each seed the panels, each [N, 2], in the same order.
        n_neighbors: Neighbours compared; those that the maps were made with.

    Returns:
        Per panel the mean over pairs of seeds of `neighbour_agreement`, in [0, 1]; NaN for fewer than two seeds.
    """
    pairs = list(combinations(range(len(maps)), 2))
    if not pairs:
        return [float("nan")] * len(maps[0])
    return [
        float(np.mean([neighbour_agreement(maps[a][panel], maps[b][panel], n_neighbors) for a, b in pairs]))
        for panel in range(len(maps[0]))
    ]


def neighbour_agreement(first_map: np.ndarray, second_map: np.ndarray, n_neighbors: int) -> float:
    """Return the mean Jaccard overlap of the clips' nearest neighbours on two maps.

    Args:
        first_map: Coordinates [N, 2].
        second_map: Coordinates [N, 2] of the same clips.
        n_neighbors: Neighbours k of each clip, itself not counted; below N.

    Returns:
        |shared| / |either|, mean over clips, in [0, 1]: 1 where both name the same neighbours, about k / (2N - k) for
        unrelated maps. Unchanged by shift, scale, rotation and reflection of either map.

    Raises:
        AnalysisError: If the maps are of other clips, or have too few.
    """
    check_lengths(first_map=first_map, second_map=second_map)
    if not 0 < n_neighbors < len(first_map):
        raise AnalysisError(
            "A map has too few clips for so many neighbours",
            expected=f"1 to {len(first_map) - 1} neighbours",
            found=str(n_neighbors),
        )
    first, second = _neighbours(first_map, n_neighbors), _neighbours(second_map, n_neighbors)
    shared = np.array([len(np.intersect1d(a, b, assume_unique=True)) for a, b in zip(first, second, strict=True)])
    return float((shared / (2 * n_neighbors - shared)).mean())


def _neighbours(points: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return the k nearest other clips of each, [N, k]. Of clips on one spot a clip need not be its own nearest."""
    _, nearest = KDTree(points).query(points, k=n_neighbors + 1)
    is_self = nearest == np.arange(len(points))[:, None]
    is_self[~is_self.any(axis=1), -1] = True
    return nearest[~is_self].reshape(len(points), n_neighbors)
