"""Linear CKA, biased and debiased, of all pairs of many representations at once.

Source: Kornblith et al. 2019 (CKA); Song et al. 2007, equation 4 (unbiased HSIC), which is the U-centred inner
product of Szekely & Rizzo 2014. With K = XX', L = YY' and CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)):

- biased HSIC is the inner product of the doubly centred K and L. It is positive for independent data, the more so
  the fewer clips there are against dimensions; its baseline says by how much.
- unbiased HSIC leaves out what a clip has in common with itself (the diagonal). Its expectation on independent
  clips is 0, and its CKA lies in [-1, 1], at most a little below 0 in practice.

Invariant to shift, rotation and isotropic scaling of either side; not to other linear maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser_probe.analysis.similarity.kernels import linear
from ser_probe.analysis.similarity.options import MEMORY_BYTES, Options, PairValues
from ser_probe.analysis.similarity.pair_statistics import Statistic, measure_by_kernel
from ser_probe.analysis.similarity.sources import Sides, Source

_STATISTICS: dict[str, Statistic] = {"cka_debiased": "u", "cka": "double"}


def cka_pairs(
    representations: Sequence[Source],
    others: Sequence[Source] | None = None,
    *,
    groups: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    other_names: Sequence[str] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> dict[str, PairValues]:
    """Compute the linear CKA of every representation with every other one.

    Each Gram matrix is computed once, in blocks of rows right of the diagonal; a block of all of them times a block
    of all the others, each flattened, gives the inner products of all pairs in one matrix product. Features in
    float32, as caches hold them, are multiplied in float32 and added up in float64: the values are within 1e-6 of
    those in float64. Intervals leave one speaker out at a time; the products are kept by speaker, so that a left-out
    speaker's share is subtracted and not recomputed.

    An interval is about the speakers at hand. Two clips of one speaker have the speaker in common, which is part of
    the value, and more so with fewer speakers (simulated: 0.43 with 6 speakers where many have 0.37; the intervals
    then cover the latter in 90 to 96 of 100 studies).

    Args:
        representations: R arrays of shape [N, D], or functions that read one; widths may differ.
        others: S arrays of shape [N, D']; by default the representations themselves.
        groups: Each clip's speaker, of shape [N]; without it no intervals.
        names: What messages call the representations.
        other_names: What messages call the others.
        memory_bytes: Memory for one block of rows of all Gram matrices.

    Returns:
        `cka_debiased` by unbiased HSIC and `cka` by biased HSIC. Their baseline, the value to expect if the clips of
        the two had nothing to do with each other, is 0 and the exact mean over all permutations of the clips.

    Raises:
        AnalysisError: If there are fewer than 4 clips, NaN, or features that do not vary.
    """
    sides = Sides(representations, others, names, other_names)
    options = Options(groups=groups, intervals=groups is not None, memory_bytes=memory_bytes)
    return cka_measures(list(_STATISTICS), sides, options)


def cka_measures(names: Sequence[str], sides: Sides, options: Options) -> dict[str, PairValues]:
    """Compute `cka_debiased` and `cka` of all pairs, as `cka_pairs` does."""
    return measure_by_kernel(
        linear(), {name: _STATISTICS[name] for name in names}, sides.prepare(options.groups), options
    )
