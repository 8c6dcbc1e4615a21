"""What is left of a change once the best rotation, shift and scaling are taken out of it.

Layers are measured side by side in threads, so decompositions are numpy's: scipy's keep all other threads waiting.
"""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.drift.ratios import ClipRatio

# Of the largest singular value: what is smaller is rounding of M'M in float64.
ROUNDING = 1e-8


def procrustes(x: np.ndarray, y: np.ndarray) -> ClipRatio:
    """Return half the squared Procrustes distance of centred features of norm 1 (Ding et al. 2021, equation 4).

    With A = Xc / |Xc| and B = Yc / |Yc| it is the least |A Q - B|^2 / 2 over rotations and reflections Q, which is
    1 - |A'B|_* (nuclear norm), as in the analysis `similarity`. In [0, 1]; 0 where the clips lie to each other as
    before, 1 where nothing is shared. Unchanged by a shift, rotation or isotropic scaling of either side. Unrelated
    features of few clips and many dimensions can be rotated onto each other in part: it is below 1 for them, the more
    so the fewer clips. In float64 it is exact to about 1e-7.

    As a ratio over clips: half of what a clip has left over after the one rotation of all, over the mean of its squared
    norms before and after. A group's value is thus how badly the common rotation fits it. The interval holds the
    rotation at that of all clips, which is right to first order, because the rotation is the best one.

    Args:
        x: Features before, [N, D].
        y: Features of the same clips after, [N, D].
    """
    a, b = _normalised(x), _normalised(y)
    cross = a.T @ b
    squares, vectors = np.linalg.eigh(cross.T @ cross)
    kept = squares > ROUNDING**2 * squares[-1]
    # Q = cross V / s V'; rotated onto b's axes V, a is A cross V / s. The clips' parts need no more than float32: what
    # it rounds off is made up for below, in their sum.
    vectors = vectors[:, kept].astype(np.float32)
    rotation = (cross.astype(np.float32) @ vectors) / np.sqrt(squares[kept]).astype(np.float32)
    shared = np.einsum("nk,nk->n", a.astype(np.float32) @ rotation, b.astype(np.float32) @ vectors, dtype=np.float64)
    energy = np.einsum("nd,nd->n", a, a) + np.einsum("nd,nd->n", b, b)
    shared += (np.sqrt(squares[kept]).sum() - shared.sum()) * energy / energy.sum()
    return ClipRatio(energy / 2 - shared, energy / 2)


def procrustes_value(x: np.ndarray, y: np.ndarray) -> float:
    """Return what `procrustes` is over all clips, without their parts: half the time."""
    cross = _normalised(x).T @ _normalised(y)
    return float(np.clip(1 - root_sum(np.linalg.eigvalsh(cross.T @ cross)), 0, 1))


def root_sum(squares: np.ndarray) -> float:
    """Return the sum of the roots of ascending eigenvalues, those that are rounding left out."""
    return float(np.sqrt(squares[squares > ROUNDING**2 * squares[-1]]).sum())


def _normalised(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=0)
    return centred / np.linalg.norm(centred)


def shared_coordinates(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two in coordinates of the space that their rows span, where that has fewer dimensions than D.

    One rotation for both, so that every measure of two states stays as it is, and costs less.

    Args:
        x: Features before, [N, D].
        y: Features of the same clips after, [N, D].

    Returns:
        Both, of shape [N, min(D, 2 N)].
    """
    if 2 * len(x) >= x.shape[1]:
        return x, y
    rows = np.asarray(np.linalg.qr(np.concatenate([x, y]).T, mode="r")).T
    return rows[: len(x)], rows[len(x) :]
