"""Features turned into axes along which they vary most, so that a diagonal matrix says how curved a loss is.

An iterative fit of standardised features is slow because a few directions carry most of their variance. Turned so that
these directions are axes of their own, each axis can have its own step. The turn is exactly orthogonal, whatever the
quality of the directions found: it changes how fast a penalised fit converges, never what it converges to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Up to this many axes all of them are found exactly; it is cheap there.
_EXACT = 256
# Axes found where there are more: further ones no longer saved iterations on 1024 features of speech models.
_LEADING = 128
_SPARE = 16
_POWER_ITERATIONS = 2


@dataclass(frozen=True)
class Rotation:
    """Features in new axes.

    Args:
        scores: [n, m], the features of the n clips along m axes, all that the clips span; the leading ones first.
        restore: Turns weights [m, c] on the scores into the weights [D, c] on the features that give equal products
            and have equal norms.
    """

    scores: np.ndarray
    restore: Callable[[np.ndarray], np.ndarray]


def rotate(z: np.ndarray) -> Rotation:
    """Turn features [n, D], float64, into axes of which the leading ones are those of greatest variance.

    Where the clips are few the axes are those that the clips span: a penalised fit has no weight across them.
    """
    n, width = z.shape
    if n < 0.8 * width:
        basis, triangle = np.linalg.qr(z.T)
        inner = rotate(triangle.T)
        return Rotation(inner.scores, lambda weights: basis @ inner.restore(weights))
    if width <= _EXACT:
        axes = np.linalg.eigh(z.T @ z)[1][:, ::-1]
        return Rotation(z @ axes, lambda weights: axes @ weights)
    return _turn_leading(z)


def _turn_leading(z: np.ndarray) -> Rotation:
    """Turn by Householder reflections whose first axes are the leading ones, found by subspace iteration.

    Halko, Martinsson & Tropp 2011, algorithm 4.4, in float32: how well the axes are found changes no result.
    """
    rough, rng = z.astype(np.float32), np.random.default_rng(0)
    axes = rough.T @ rng.standard_normal((len(z), _LEADING + _SPARE), dtype=np.float32)
    for _ in range(_POWER_ITERATIONS):
        axes = rough.T @ (rough @ _spread(axes))
    axes = _spread(axes).astype(np.float64)
    along = z @ axes
    leading = axes @ np.linalg.eigh(along.T @ along)[1][:, ::-1]
    reflections, tau = np.linalg.qr(leading, mode="raw")
    # The product of the reflections is I - V T V' (Schreiber & Van Loan 1989), the inverse of T as Puglisi 1992 has it.
    v = np.tril(reflections.T, -1)
    v[np.diag_indices(v.shape[1])] = 1
    inverse = np.triu(v.T @ v, 1) + np.diag(1 / np.maximum(tau, np.finfo(float).tiny))
    t = np.linalg.inv(inverse)
    return Rotation(z - ((z @ v) @ t) @ v.T, lambda weights: weights - v @ (t @ (v.T @ weights)))


def _spread(columns: np.ndarray) -> np.ndarray:
    """Return columns of the same span that are about orthonormal: by a Cholesky factor, at a third of a QR's time."""
    wide = columns.astype(np.float64)
    gram = wide.T @ wide
    # Columns may hang together, or all be zero; the inverse has to fit into float32.
    gram[np.diag_indices_from(gram)] += max(1e-12 * np.trace(gram), 1e-60)
    return columns @ np.linalg.inv(np.linalg.cholesky(gram)).T.astype(columns.dtype)  # type: ignore[no-any-return]
