"""Procrustes distance against scipy's rotation; the angle is a metric."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial

from ser_probe.analysis.similarity.measures import compare_two

ROUTES = 1e-10


@pytest.mark.parametrize(("n", "width"), [(30, 5), (12, 40)])
def test_it_is_what_remains_after_scipys_rotation(rng: np.random.Generator, n: int, width: int) -> None:
    x = rng.standard_normal((n, width)) + 3
    y = x @ rng.standard_normal((width, width)) + rng.standard_normal((n, width))
    a, b = ((z - z.mean(axis=0)) / np.linalg.norm(z - z.mean(axis=0)) for z in (x, y))
    rotation, scale = scipy.linalg.orthogonal_procrustes(b, a)
    assert compare_two("procrustes", x, y) == pytest.approx(((a - b @ rotation) ** 2).sum() / 2, abs=ROUTES)
    assert compare_two("procrustes", x, y) == pytest.approx(1 - scale, abs=ROUTES)
    # scipy's own disparity also fits a scale: 1 - scale^2.
    assert scipy.spatial.procrustes(x, y)[2] == pytest.approx(1 - scale**2, abs=ROUTES)
    assert compare_two("angular_shape", x, y) == pytest.approx(np.arccos(scale), abs=1e-8)


def test_widths_may_differ(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((20, 6)), rng.standard_normal((20, 3))
    padded = np.hstack([y, np.zeros((20, 3))])
    assert compare_two("procrustes", x, y) == pytest.approx(compare_two("procrustes", x, padded), abs=ROUTES)


def test_unrelated_clips_in_many_dimensions_come_out_alike(rng: np.random.Generator) -> None:
    """Why the distance needs a baseline: the rotation is fitted on the clips that it is measured on."""
    few = compare_two("procrustes", *rng.standard_normal((2, 50, 200)))
    many = compare_two("procrustes", *rng.standard_normal((2, 2000, 5)))
    assert few < 0.2
    assert many > 0.8


def test_the_angle_is_a_metric(rng: np.random.Generator) -> None:
    # Near and far ones, so that triangles are flat and pointed.
    shapes = [rng.standard_normal((15, 4))]
    for size in (0.1, 0.3, 1, 3, 10):
        shapes.append(shapes[-1] + size * rng.standard_normal((15, 4)))
    between = np.array([[compare_two("angular_shape", x, y) for y in shapes] for x in shapes])
    np.testing.assert_allclose(between, between.T, atol=1e-9)
    np.testing.assert_allclose(np.diag(between), 0, atol=1e-7)
    assert (between[~np.eye(len(shapes), dtype=bool)] > 0.01).all()
    for i, j, k in itertools.permutations(range(len(shapes)), 3):
        assert between[i, k] <= between[i, j] + between[j, k] + 1e-9
    # What the halved square of Ding et al. is not: some detour is shorter.
    squared = 1 - np.cos(between)
    assert any(squared[i, k] > squared[i, j] + squared[j, k] + 1e-6 for i, j, k in itertools.permutations(range(6), 3))
