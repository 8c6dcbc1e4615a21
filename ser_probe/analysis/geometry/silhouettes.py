"""How much nearer clips lie to their own class than to the next one. Works on blocks of rows of a distance matrix.

The silhouette (Rousseeuw 1987, as scikit-learn defines it) of a clip is (b - a) / max(a, b), where a is its mean
Euclidean distance to the other clips of its class and b the smallest of its mean distances to another class; 0 for a
clip that is alone in its class. In [-1, 1]; about 0 or a little below where classes do not differ. Invariant to shift,
rotation and isotropic scaling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ser_probe.errors import AnalysisError

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Clusters:
    """The classes of clips, by the jackknife block that the clips are in.

    Args:
        codes: Each clip's class, int in [0, C), [N].
        blocks: Each clip's block, int in [0, B), [N].
        counts: Clips of each class in each block, [C, B].
        columns: One-hot of (class, block), float64 [N, C * B].
    """

    codes: np.ndarray
    blocks: np.ndarray
    counts: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, codes: np.ndarray, blocks: np.ndarray, n_blocks: int) -> Clusters:
        """Return the classes of these clips."""
        n_classes = int(codes.max()) + 1
        cells = codes * n_blocks + blocks
        counts = np.bincount(cells, minlength=n_classes * n_blocks).reshape(n_classes, n_blocks)
        return cls(codes, blocks, counts, (cells[:, None] == np.arange(n_classes * n_blocks)).astype(np.float64))


def silhouette_sums(distances: np.ndarray, part: slice, clusters: Clusters) -> np.ndarray:
    """Return the sum over these rows of their silhouettes, with all clips and without each block, [1 + B].

    Args:
        distances: Distances [n, N] of rows `part` to all clips, 0 of a clip to itself.
        part: Which rows.
        clusters: The classes of all N clips.
    """
    n_blocks = clusters.counts.shape[1]
    codes, blocks = clusters.codes[part], clusters.blocks[part]
    sums = (distances @ clusters.columns).reshape(len(distances), -1, n_blocks)
    total, counts = sums.sum(axis=2), clusters.counts.sum(axis=1)
    totals = np.zeros(1 + n_blocks)
    totals[0] = _silhouettes(total, counts, codes).sum()
    for block in range(n_blocks if n_blocks > 1 else 0):
        others = blocks != block
        kept = (total - sums[:, :, block])[others]
        totals[1 + block] = _silhouettes(kept, counts - clusters.counts[:, block], codes[others]).sum()
    return totals


@dataclass(frozen=True)
class PermutedClusters:
    """Several permutations of the same classes.

    Args:
        codes: Each clip's class, int in [0, C), [P, N].
        counts: Clips of each class, the same in all permutations, [C].
        columns: One-hot of (permutation, class), float64 [N, P * C]: one product serves all.
    """

    codes: np.ndarray
    counts: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, codes: np.ndarray) -> PermutedClusters:
        """Return these permutations [P, N]."""
        n_classes = int(codes.max()) + 1
        one_hot = (codes.T[:, :, None] == np.arange(n_classes)).astype(np.float64)
        return cls(codes, np.bincount(codes[0], minlength=n_classes), one_hot.reshape(codes.shape[1], -1))


def permuted_sums(distances: np.ndarray, part: slice, clusters: PermutedClusters) -> np.ndarray:
    """Return the sum over these rows of their silhouettes, by permutation [P]."""
    sums = (distances @ clusters.columns).reshape(len(distances), len(clusters.codes), -1)
    return np.array([
        _silhouettes(sums[:, index], clusters.counts, codes[part]).sum() for index, codes in enumerate(clusters.codes)
    ])  # fmt: skip


def check_classes(codes: np.ndarray, what: str) -> None:
    """Check that classes can be compared with each other.

    Raises:
        AnalysisError: If there is one class only, or a class for each clip.
    """
    n_classes = len(np.unique(codes))
    if not 2 <= n_classes < len(codes):
        raise AnalysisError(
            f"{what} needs at least two classes, and fewer classes than clips",
            found=f"{n_classes} classes of {len(codes)} clips",
        )


def _silhouettes(sums: np.ndarray, counts: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return silhouettes from each clip's sums of distances to classes [n, C] of so many clips [C]."""
    at = np.arange(len(codes)), codes
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / counts
        within = sums[at] / (counts[codes] - 1)
        means[:, counts == 0] = np.inf
        means[at] = np.inf
        between = means.min(axis=1, initial=np.inf)
        values = (between - within) / np.maximum(np.maximum(within, between), _TINY)
    return np.where((counts[codes] > 1) & np.isfinite(between), values, 0.0)
