"""Do all clips point the same way? The mean cosine between two different clips (Ethayarajh 2019, section 3.2).

In [-1 / (N - 1), 1]: about 0 where directions are uniform, 1 where all clips point the same way. The paper averages
over sampled pairs; this is the average over all pairs, from the length of the sum of the unit vectors. A clip's cosine
of 1 with itself is left out, so that the value does not depend on N. Invariant to rotation and to the scale of each
clip; not to shifts: a vector that all clips share is what it measures.
"""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.inputs import check_features, vector_lengths
from ser_probe.errors import AnalysisError


def unit_vectors(x: np.ndarray, what: str = "The features") -> np.ndarray:
    """Return each clip's direction, float64 [N, D].

    Raises:
        AnalysisError: If a clip's vector is zero, or there are fewer than 2 clips, or NaN.
    """
    wide = check_features(x, what).astype(np.float64)
    if len(wide) < 2:
        raise AnalysisError(f"{what} are one clip, and a cosine needs two", found=f"{len(wide)} clip")
    return wide / vector_lengths(wide, what)[:, None]


def anisotropy_left_out(units: np.ndarray, codes: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the anisotropy without each speaker, [G]; NaN where fewer than 2 clips remain.

    Args:
        units: Unit vectors [N, D].
        codes: Each clip's speaker, int in [0, G), [N].
        n_groups: G.
    """
    sums = (codes == np.arange(n_groups)[:, None]).astype(np.float64) @ units
    counts = np.bincount(codes, minlength=n_groups)
    return mean_pair_cosine(sums.sum(axis=0) - sums, len(units) - counts)


def mean_pair_cosine(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean cosine over pairs of different clips from sums [..., D] of so many unit vectors [...]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = ((sums**2).sum(axis=-1) - counts) / (counts * (counts - 1.0))
    return np.where(counts >= 2, np.minimum(values, 1.0), np.nan)
