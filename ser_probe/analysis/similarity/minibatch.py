"""Linear CKA from minibatches, for more clips than pair matrices can be made of: `cka_minibatch`.

Source: Nguyen, Raghu & Kornblith 2021, equation 3: the unbiased HSICs of minibatches are averaged, each of the three
before the ratio is taken. Every HSIC is unbiased at any batch size, so the value estimates the same as `cka_debiased`,
with more variance, in time that grows with the clips and not with their square.

- Range [-1, 1] (a little beyond for tiny batches, cut off); 1 for equal representations; 0 on average for unrelated.
- Unchanged by shift, rotation and isotropic scaling of either side.
- No interval over speakers: batches mix them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser_probe.analysis.similarity.options import Options, PairValues, pair_values
from ser_probe.analysis.similarity.side_by_side import for_each
from ser_probe.analysis.similarity.sources import MIN_CLIPS, Prepared, Sides
from ser_probe.errors import AnalysisError


def minibatch_measures(names: Sequence[str], sides: Sides, options: Options) -> dict[str, PairValues]:
    """Compute `cka_minibatch` of all pairs at once, in batches of `options.batch` clips drawn by `options.seed`."""
    if options.batch < MIN_CLIPS:
        raise AnalysisError("A minibatch needs at least 4 clips", found=f"batch {options.batch}", fix="try batch 256")
    first, second = sides.prepare()
    shape = (len(first), len(second))
    cross, own_first, own_second = np.zeros(shape), np.zeros(shape[0]), np.zeros(shape[1])
    batches = _batches(first.n, options)
    size = len(batches[0])
    width = shape[0] + (0 if second is first else shape[1])
    at_once = max(1, int(options.memory_bytes // (width * size**2 * first.dtype.itemsize)))
    progress = options.progress
    progress.start("minibatch CKA", len(batches), "minibatches")
    for low in range(0, len(batches), at_once):
        group = batches[low : low + at_once]
        left = _u_centred_grams(first, group)
        right = left if second is first else _u_centred_grams(second, group)
        for batch in range(len(group)):
            weight = 1 / (size * (size - 3))
            cross += weight * (left[:, batch] @ right[:, batch].T)
            own_first += weight * np.einsum("ij,ij->i", left[:, batch], left[:, batch])
            own_second += weight * np.einsum("ij,ij->i", right[:, batch], right[:, batch])
            progress.advance()
    progress.finish()
    value = np.clip(cross / np.sqrt(np.outer(own_first, own_second)), -1, 1)
    return {name: pair_values(value, baseline=0.0) for name in names}


def _batches(n: int, options: Options) -> list[np.ndarray]:
    """Return the clips of each batch, all of one size; of each pass the odd clips at the end are left out."""
    rng = np.random.default_rng(options.seed)
    size = min(options.batch, n)
    orders = [rng.permutation(n) for _ in range(options.epochs)]
    return [order[low : low + size] for order in orders for low in range(0, n - size + 1, size)]


def _u_centred_grams(side: Prepared, batches: list[np.ndarray]) -> np.ndarray:
    """Return the U-centred Grams of some batches [R, B, size^2]; each representation is read once."""
    size = len(batches[0])
    grams = np.empty((len(side), len(batches), size, size), side.dtype)

    def fill(index: int) -> None:
        features = side.rows(index)
        for place, batch in enumerate(batches):
            rows = features[batch]
            rows -= rows.mean(axis=0)
            gram = grams[index, place]
            np.matmul(rows, rows.T, out=gram)
            # Rows of a centred Gram sum to 0, so without the diagonal to minus the diagonal.
            norms = gram.diagonal().copy()
            shift = norms / (size - 2) - norms.sum() / (2 * (size - 1) * (size - 2))
            gram += shift[:, None]
            gram += shift[None, :]
            np.fill_diagonal(gram, 0)

    for_each(fill, len(side), grams[0].size)
    return grams.reshape(len(side), len(batches), size * size)
