"""Representational similarity analysis: do the same pairs of clips lie far apart in both?

Source: Kriegeskorte, Mur & Bandettini 2008. Each representation has a matrix of dissimilarities of all pairs of clips
(RDM): 1 less the correlation of the two clips' features, or their Euclidean distance. `rsa` is the Spearman correlation
of the two matrices' entries above the diagonal, which asks for the same order only; `rsa_pearson` the Pearson one.

- Range [-1, 1]; 1 for equal representations; 0 on average (exactly so over all permutations) for unrelated clips.
- With `rdm: correlation`, unchanged by scaling of either side, by another order of the features, and by a constant that
  is added to, or a factor on, all features of one clip; not by rotation, nor by a shift that differs between features.
- With `rdm: euclidean`, unchanged by shift, rotation and isotropic scaling.
- Intervals leave out a speaker's rows and columns; Spearman's ranks are those among all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats

from ser_probe.analysis.similarity.kernels import Kernel, correlation_distance, distance
from ser_probe.analysis.similarity.options import Options, PairValues
from ser_probe.analysis.similarity.pair_matrices import PairMatrices
from ser_probe.analysis.similarity.pair_products import pair_products
from ser_probe.analysis.similarity.pair_statistics import Pairs, measure_by_kernel
from ser_probe.analysis.similarity.sources import Prepared, Sides
from ser_probe.errors import AnalysisError


def rsa_measures(names: Sequence[str], sides: Sides, options: Options) -> dict[str, PairValues]:
    """Compute `rsa` and `rsa_pearson` of all pairs at once; `options.rdm` says what is dissimilar.

    Ranking all pairs of N clips takes N^2 log N steps a representation. Where the ranks of all representations do not
    fit into `options.memory_bytes`, they are ranked once more for each block of rows.
    """
    first, second = sides.prepare(options.groups)
    kernel = correlation_distance() if options.rdm == "correlation" else distance()
    values = {}
    if "rsa" in names:
        ranked = RankMatrices(first, kernel, options)
        others = ranked if second is first else RankMatrices(second, kernel, options)
        pairs = Pairs(ranked, others, pair_products(ranked, others, options.memory_bytes, options.progress))
        values["rsa"] = pairs.values("mean", options.intervals)
    if "rsa_pearson" in names:
        values |= measure_by_kernel(kernel, {"rsa_pearson": "mean"}, (first, second), options)
    return {name: values[name] for name in names}


class RankMatrices(PairMatrices):
    """Pair matrices whose entries are the ranks of a kernel's among all pairs, from -1/2 to 1/2, ties averaged."""

    def __init__(self, prepared: Prepared, kernel: Kernel, options: Options) -> None:
        count, n = len(prepared), prepared.n
        self.kept: dict[int, np.ndarray] = {}
        self.keeps = count * n * n * prepared.dtype.itemsize <= options.memory_bytes
        super().__init__(prepared, kernel, "mean", options.progress)

    def features(self, index: int) -> np.ndarray:
        """Return all ranks of one representation [N, N], with 0 on the diagonal."""
        if index in self.kept:
            return self.kept[index]
        features, n = super().features(index), self.prepared.n
        entries = features @ features.T
        assert self.kernel.entries is not None
        norms = np.einsum("ij,ij->i", features, features)
        self.kernel.entries(entries, norms[:, None], norms[None, :], 0.0)
        above = np.triu_indices(n, 1)
        values = entries[above]
        if np.ptp(values) <= 100 * np.finfo(values.dtype).eps * np.abs(values).max():
            raise AnalysisError(
                f"All pairs of clips are alike by {self.kernel.name}, so their ranks mean nothing",
                where=self.prepared.names[index],
                found=f"{len(values)} pairs at {float(values[0]):.6g}",
                fix="use another measure",
            )
        ranks = scipy.stats.rankdata(values)
        entries[above] = (ranks - ranks.mean()) / len(ranks)
        entries.T[above] = entries[above]
        np.fill_diagonal(entries, 0)
        if self.keeps:
            self.kept[index] = entries
        return entries

    def fill(self, index: int, features: np.ndarray, rows: slice, columns: slice, out: np.ndarray) -> None:
        """Copy a part of one matrix into an array [rows, columns]."""
        out[:] = features[rows, columns]

    def _margins(self, index: int) -> None:
        ranks = self.features(index)
        self.sums[index] = ranks.sum(axis=1, dtype=np.float64)
        # A scale by which `Pairs` tells variation from rounding; Spearman's statistic has no diagonal.
        self.diagonal[index] = 1.0
        if self.by_set is not None:
            self.by_set[index] = np.add.reduceat(ranks, self.starts[:-1], axis=0)
