from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.probes.rotation import rotate

# Orthogonal transforms of a few hundred terms in float64.
EXACT = 1e-10


@pytest.mark.parametrize(
    ("n", "width", "axes"),
    [(30, 200, 30), (200, 30, 30), (280, 300, 300), (300, 500, 300)],
    ids=["few clips", "few features", "subspace", "few clips, subspace"],
)
def test_products_and_norms_are_kept_exactly(rng: np.random.Generator, n: int, width: int, axes: int) -> None:
    z = rng.standard_normal((n, width)) * np.arange(1, width + 1) ** -0.8
    rotation = rotate(z)
    assert rotation.scores.shape == (n, axes)
    weights = rng.standard_normal((axes, 3))
    restored = rotation.restore(weights)
    np.testing.assert_allclose(z @ restored, rotation.scores @ weights, atol=EXACT)
    np.testing.assert_allclose(restored.T @ restored, weights.T @ weights, rtol=EXACT, atol=EXACT)
    # All that the clips span is there: the squares of the singular values, of which the first come first.
    np.testing.assert_allclose(rotation.scores @ rotation.scores.T, z @ z.T, atol=EXACT)
    squares = np.linalg.svd(z, compute_uv=False)[:10] ** 2
    np.testing.assert_allclose(np.square(rotation.scores[:, :10]).sum(axis=0), squares, rtol=1e-3)


def test_axes_are_uncorrelated_where_all_are_found(rng: np.random.Generator) -> None:
    scores = rotate(rng.standard_normal((200, 30)) @ rng.standard_normal((30, 30))).scores
    cross = scores.T @ scores
    np.testing.assert_allclose(cross, np.diag(np.diag(cross)), atol=1e-9 * cross.max())
    assert (np.diff(np.diag(cross)) < 0).all()


@pytest.mark.parametrize("n", [40, 400])
def test_features_of_little_variance_are_no_fault(rng: np.random.Generator, n: int) -> None:
    nothing, one, copies = np.zeros((n, 300)), np.zeros((n, 300)), np.repeat(rng.standard_normal((n, 20)), 15, axis=1)
    one[:, 3] = np.arange(n) - n / 2
    for z in (nothing, one, copies):
        rotation = rotate(z)
        np.testing.assert_allclose(rotation.scores @ rotation.scores.T, z @ z.T, rtol=EXACT, atol=1e-8)
        weights = rng.standard_normal((rotation.scores.shape[1], 2))
        np.testing.assert_allclose(z @ rotation.restore(weights), rotation.scores @ weights, rtol=EXACT, atol=1e-8)
