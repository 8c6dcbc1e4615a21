"""What remains between two representations after the best rotation: `procrustes`, and as an angle, `angular_shape`.

Source of `procrustes`: Ding, Denain & Steinhardt 2021, equation 4, halved: with both centred and scaled to Frobenius
norm 1, min over rotations Q of |A - B Q|^2 / 2 = 1 - |A' B|_*, the nuclear norm.

- A distance, in [0, 1]; 0 for equal representations, 1 where no feature of one covaries with any of the other.
- Unchanged by shift, rotation and isotropic scaling of either side; not by other linear maps.
- The rotation is fitted on the clips that are measured: unrelated clips with few clips against dimensions come out far
  below 1. The baseline, where permutations are drawn, says how far.

Source of `angular_shape`: Williams, Kunz, Kornblith & Linderman 2021, equation 5: arccos |A' B|_* of the same A and B.

- Range [0, pi/2] rad; 0 for equal representations. Unchanged by what leaves `procrustes` unchanged.
- A metric, as `procrustes` is not: no detour is shorter (the triangle inequality), so that representations can be
  clustered or laid out by it.
- Near 0 it turns rounding of 1e-16 into 1e-8 rad.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ser_probe.analysis.similarity.options import Options, PairValues, pair_values
from ser_probe.analysis.similarity.side_by_side import in_order
from ser_probe.analysis.similarity.sources import Sides
from ser_probe.runtime import SILENT, Progress

_DOUBLE: np.dtype[np.floating] = np.dtype(np.float64)


def shape_measures(names: Sequence[str], sides: Sides, options: Options) -> dict[str, PairValues]:
    """Compute `procrustes` and `angular_shape` of the pairs asked for: a singular value decomposition each."""
    similarity = nuclear_norms(sides, options.progress)
    made = {"procrustes": lambda: 1 - similarity, "angular_shape": lambda: np.arccos(similarity)}
    return {name: pair_values(made[name]()) for name in names}


def nuclear_norms(sides: Sides, progress: Progress = SILENT) -> np.ndarray:
    """Return |A' B|_* of centred A and B of Frobenius norm 1, in [0, 1], for the pairs asked for [R, S]."""
    first, second = sides.prepare()
    norms = np.full((len(first), len(second)), np.nan)
    asked = sides.pairs(symmetric=True)
    progress.start("nuclear norms", len(asked), "pairs of representations")
    for i, pairs in itertools.groupby(asked, key=lambda pair: pair[0]):
        left = _reduced(first.rows(i, _DOUBLE))

        def norm(j: int, left: np.ndarray = left) -> float:
            right = _reduced(second.rows(j, _DOUBLE))
            return float(np.linalg.svd(left.T @ right, compute_uv=False).sum())

        columns = [j for _, j in pairs]
        for j, value in in_order(norm, columns, len(columns) * left.size, waiting=len(columns)):
            norms[i, j] = min(value, 1.0)
            if sides.second is None:
                norms[j, i] = norms[i, j]
            progress.advance()
    progress.finish()
    return norms


def _reduced(features: np.ndarray) -> np.ndarray:
    """Return features [N, min(N, D)] with the same inner products of clips: a nuclear norm sees no rotation."""
    n, width = features.shape
    if width <= n:
        return features
    triangle: np.ndarray = np.asarray(np.linalg.qr(features.T, mode="r"))
    return triangle.T
