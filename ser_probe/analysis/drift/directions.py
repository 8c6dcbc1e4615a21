"""Where each clip's vector points and how long it is, before and after: measures without any alignment."""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.drift.ratios import ClipRatio, mean_of
from ser_probe.analysis.inputs import vector_lengths

# Relative to a layer's typical distance to the mean: a clip nearer than that lies at the mean up to rounding.
_ROUNDING = 1e-12


def mean_cosine(x: np.ndarray, y: np.ndarray, names: tuple[str, str] = ("x", "y")) -> ClipRatio:
    """Return the mean over clips of the cosine between a clip's vector before and after.

    In [-1, 1]; 1 where no vector has turned. Rotations and shifts count, the scaling of a vector does not. Where all
    clips share a large common vector, as in many transformer layers, it stays near 1 however the rest moves.

    Args:
        x: Features before, [N, D].
        y: Features of the same clips after, [N, D].
        names: What messages call the two.

    Raises:
        AnalysisError: If a clip's vector is zero.
    """
    lengths_x, lengths_y = vector_lengths(x, names[0]), vector_lengths(y, names[1])
    return mean_of(np.clip(np.einsum("nd,nd->n", x, y) / (lengths_x * lengths_y), -1, 1))


def mean_cosine_centred(x: np.ndarray, y: np.ndarray) -> ClipRatio:
    """Return the mean cosine of vectors counted from the mean vector of their own time.

    In [-1, 1]; 1 where nothing has turned, near 0 on average for unrelated features. Rotations count, shifts and the
    scaling of a centred vector do not. A clip that lies at the mean has no direction there and is left out.

    Args:
        x: Features before, [N, D].
        y: Features of the same clips after, [N, D].
    """
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    lengths_x, lengths_y = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    somewhere = (lengths_x > _ROUNDING * lengths_x.max()) & (lengths_y > _ROUNDING * lengths_y.max())
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.clip(np.einsum("nd,nd->n", x, y) / (lengths_x * lengths_y), -1, 1)
    return mean_of(np.where(somewhere, cosines, np.nan))


def relative_norm_change(x: np.ndarray, y: np.ndarray) -> ClipRatio:
    """Return the mean Euclidean norm after over the one before, less 1.

    Above -1; 0 where the mean length is as it was. Rotations do not count, scaling does, shifts may.

    Args:
        x: Features before, [N, D], not all zero.
        y: Features of the same clips after, [N, D].
    """
    return ClipRatio(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1), 1.0)
