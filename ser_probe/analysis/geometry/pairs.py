"""All that is computed from distances between clips, in one pass over them: the [N, N] matrix is never held.

- the unbiased participation ratio (from sums of squared distances and of their squares);
- each clip's two nearest neighbours;
- the silhouette by label, speaker or any other factor, and by permuted ones.

Each also without one block of speakers at a time, so that the jackknife costs no second pass. Time grows with N^2 D,
memory with N times the number of blocks and classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.geometry.silhouettes import Clusters, PermutedClusters, permuted_sums, silhouette_sums

MEMORY_BYTES = 128 * 2**20
# An unbiased estimate of the squared participation ratio's parts needs four different clips.
_MIN_UNBIASED = 4


@dataclass(frozen=True)
class Scatter:
    """Sums over pairs of clips of squared distances s_ij, for a set of clips.

    Args:
        n: Number of clips.
        total: Sum of s_ij over ordered pairs.
        of_rows: Sum over clips of the square of the clip's sum of s_ij.
        of_squares: Sum of s_ij^2 over ordered pairs.
    """

    n: int
    total: float
    of_rows: float
    of_squares: float


@dataclass(frozen=True)
class PairSums:
    """What the pass over all pairs found; index 0 is all clips, index 1 + b all but those of block b.

    Args:
        scatters: 1 + B of them.
        nearest: Of each clip the two smallest distances, [1 + B, N, 2]; NaN rows for the clips of the left-out block.
        silhouettes: Mean silhouette by factor, [1 + B].
        permuted: Mean silhouette of each permuted copy, by factor, [P].
    """

    scatters: Sequence[Scatter]
    nearest: np.ndarray
    silhouettes: Mapping[str, np.ndarray]
    permuted: Mapping[str, np.ndarray]


def sum_pairs(
    rows: np.ndarray,
    blocks: np.ndarray,
    factors: Mapping[str, np.ndarray] | None = None,
    permuted: Mapping[str, np.ndarray] | None = None,
    *,
    memory_bytes: int = MEMORY_BYTES,
) -> PairSums:
    """Pass once over all Euclidean distances between clips.

    Args:
        rows: Features, float64 [N, D]; centred, so that differences of squares keep their digits.
        blocks: Each clip's jackknife block, int in [0, B), [N]; all 0 for none.
        factors: Each clip's class by factor, int [N], for silhouettes.
        permuted: Permuted classes by factor, int [P, N].
        memory_bytes: Memory for the distances that are held at a time.
    """
    n, n_blocks = len(rows), int(blocks.max()) + 1
    order = np.argsort(blocks, kind="stable")
    rows, blocks = rows[order], blocks[order]
    starts = np.searchsorted(blocks, np.arange(n_blocks + 1))
    members = (blocks[:, None] == np.arange(n_blocks)).astype(np.float64)
    clusters = {name: Clusters.of(codes[order], blocks, n_blocks) for name, codes in (factors or {}).items()}
    shuffled = {name: PermutedClusters.of(codes[:, order]) for name, codes in (permuted or {}).items()}
    norms = np.einsum("nd,nd->n", rows, rows)
    by_block = np.empty((n, n_blocks))
    squares = np.zeros((n_blocks, n_blocks))
    nearest = np.full((1 + n_blocks, n, 2), np.nan)
    sums = {name: np.zeros(1 + n_blocks) for name in clusters}
    null = {name: np.zeros(len(copies.codes)) for name, copies in shuffled.items()}
    step = max(1, memory_bytes // (8 * 4 * n))
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        at = np.arange(part.stop - part.start), np.arange(part.start, part.stop)
        squared = np.maximum(norms[part, None] + norms - 2 * (rows[part] @ rows.T), 0)
        squared[at] = 0
        by_block[part] = squared @ members
        squares += members[part].T @ (squared**2 @ members)
        distances = np.sqrt(squared, out=squared)
        for name, classes in clusters.items():
            sums[name] += silhouette_sums(distances, part, classes)
        for name, copies in shuffled.items():
            null[name] += permuted_sums(distances, part, copies)
        distances[at] = np.inf
        nearest[:, part] = _nearest(distances, starts, blocks[part])
    counts = np.diff(starts)
    unsorted = np.empty_like(nearest)
    unsorted[:, order] = nearest
    return PairSums(
        scatters=_scatters(by_block, squares, blocks, counts),
        nearest=unsorted,
        silhouettes={name: _means(sums[name], classes) for name, classes in clusters.items()},
        permuted={name: values / n for name, values in null.items()},
    )


def participation_ratio_unbiased(scatter: Scatter) -> float:
    """Return the participation ratio from unbiased estimates of both its parts, at least about 1.

    Both are averages over sets of different clips (U-statistics), so that few clips do not make it small:
    tr(C)^2 over pairs of disjoint pairs, 4 tr(C)^2 = E[s_ij s_kl]; tr(C^2) is a quarter of the U-centred squared
    distance matrix's inner product with itself (Szekely & Rizzo 2014, equation 3.1, with squared distances). A ratio
    of unbiased estimates is not quite unbiased itself, and with few clips not precise.

    Returns:
        NaN for fewer than 4 clips, or where the estimate of tr(C^2) is not positive.
    """
    n = scatter.n
    if n < _MIN_UNBIASED:
        return float("nan")
    distinct = scatter.total**2 - 4 * scatter.of_rows + 2 * scatter.of_squares
    squared_trace = distinct / (4 * n * (n - 1) * (n - 2) * (n - 3))
    inner = scatter.of_squares - 2 / (n - 2) * scatter.of_rows + scatter.total**2 / ((n - 1) * (n - 2))
    trace_of_square = inner / (4 * n * (n - 3))
    return float(squared_trace / trace_of_square) if trace_of_square > 0 and squared_trace > 0 else float("nan")


def participation_ratio_of(scatter: Scatter) -> float:
    """Return the plain participation ratio of the sample covariance from the same sums; NaN below 2 clips."""
    n = scatter.n
    trace = scatter.total / 2
    of_square = (scatter.of_squares - 2 / n * scatter.of_rows + scatter.total**2 / n**2) / 4 if n else 0.0
    return float((trace / n) ** 2 / of_square) if of_square > 0 else float("nan")


def _nearest(distances: np.ndarray, starts: np.ndarray, own_blocks: np.ndarray) -> np.ndarray:
    """Return the two smallest distances of each row, over all columns and without each block, [1 + B, rows, 2]."""
    n_blocks = len(starts) - 1
    best = np.full((n_blocks, len(distances), 2), np.inf)
    for block in range(n_blocks):
        columns = distances[:, starts[block] : starts[block + 1]]
        width = min(2, columns.shape[1])
        best[block, :, :width] = np.sort(np.partition(columns, width - 1, axis=1)[:, :width], axis=1)
    nearest = np.full((1 + n_blocks, len(distances), 2), np.nan)
    nearest[0] = _two_smallest(best)
    for block in range(n_blocks if n_blocks > 1 else 0):
        others = own_blocks != block
        nearest[1 + block, others] = _two_smallest(np.delete(best, block, axis=0)[:, others])
    return nearest


def _two_smallest(best: np.ndarray) -> np.ndarray:
    pairs = np.moveaxis(best, 0, 1).reshape(best.shape[1], 2 * len(best))
    return np.sort(np.partition(pairs, 1, axis=1)[:, :2], axis=1)


def _scatters(by_block: np.ndarray, squares: np.ndarray, blocks: np.ndarray, counts: np.ndarray) -> list[Scatter]:
    n, sums = int(counts.sum()), by_block.sum(axis=1)
    scatters = [Scatter(n, float(sums.sum()), float((sums**2).sum()), float(squares.sum()))]
    for block in range(len(counts)):
        kept = (sums - by_block[:, block])[blocks != block]
        of_squares = squares.sum() - 2 * squares[block].sum() + squares[block, block]
        scatters.append(Scatter(n - int(counts[block]), float(kept.sum()), float((kept**2).sum()), float(of_squares)))
    return scatters


def _means(sums: np.ndarray, clusters: Clusters) -> np.ndarray:
    """Return mean silhouettes; NaN where fewer than two classes remain."""
    counts = clusters.counts.sum(axis=1)[:, None] - np.concatenate(
        [np.zeros((len(clusters.counts), 1)), clusters.counts], axis=1
    )
    total, present = counts.sum(axis=0), (counts > 0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(present >= 2, sums / total, np.nan)
