"""Mutual k-NN overlap against scikit-learn's neighbours, and its chance level."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from ser_probe.analysis.similarity.measures import compare_two, measure_pairs
from ser_probe.analysis.similarity.mutual_knn import nearest_neighbours, permuted_overlaps
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.sources import Sides
from ser_probe.errors import AnalysisError


def _overlap(x: np.ndarray, y: np.ndarray, k: int, metric: str) -> np.ndarray:
    """Each clip's share of common neighbours [N], by scikit-learn."""
    found = [NearestNeighbors(n_neighbors=k, metric=metric).fit(z).kneighbors(return_distance=False) for z in (x, y)]
    return np.array([len(set(a) & set(b)) / k for a, b in zip(*found, strict=True)])


@pytest.mark.parametrize("nearness", ["cosine", "euclidean"])
def test_neighbours_are_scikit_learns(rng: np.random.Generator, nearness: str) -> None:
    x = rng.standard_normal((70, 5)) + 2
    y = x[:, :3] + rng.standard_normal((70, 3))
    expected = _overlap(x, y, 7, nearness).mean()
    options = Options(neighbours=7, nearness=nearness)  # type: ignore[arg-type]
    assert compare_two("mutual_knn", x, y, options) == pytest.approx(expected, abs=1e-12)
    assert 0.1 < expected < 0.9


def test_a_large_mean_hides_no_neighbours(rng: np.random.Generator) -> None:
    x = rng.standard_normal((30, 5))
    near = np.sort(nearest_neighbours(x, 4, "euclidean"), axis=1)
    np.testing.assert_array_equal(np.sort(nearest_neighbours(x + 1e6, 4, "euclidean"), axis=1), near)


def test_unrelated_clips_share_what_chance_gives(rng: np.random.Generator) -> None:
    options = Options(neighbours=6)
    found = measure_pairs(["mutual_knn"], Sides([rng.standard_normal((31, 4))]), options)["mutual_knn"]
    assert found.baseline[0, 0] == pytest.approx(6 / 30)
    values = [compare_two("mutual_knn", *rng.standard_normal((2, 31, 4)), options) for _ in range(60)]
    assert np.mean(values) == pytest.approx(0.2, abs=3 * np.std(values) / np.sqrt(60))


def test_the_interval_is_over_the_speakers_clips(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 4))
    y = x + rng.standard_normal((40, 4))
    groups = rng.permutation(np.repeat(list("abcd"), [4, 8, 12, 16]))
    (found,) = measure_pairs(["mutual_knn"], Sides([x], [y]), Options(groups=groups, neighbours=5)).values()
    each = _overlap(x, y, 5, "cosine")
    left_out = [each[groups != speaker].mean() for speaker in "abcd"]
    half = 3.182446 * np.sqrt(3 / 4 * ((left_out - np.mean(left_out)) ** 2).sum())
    assert found.value[0, 0] == pytest.approx(each.mean(), abs=1e-12)
    assert found.ci_high[0, 0] == pytest.approx(each.mean() + half, abs=1e-6)


def test_permuted_neighbours_are_those_of_permuted_clips(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 600, 4)), rng.standard_normal((3, 600, 5))
    y[0, :, :4] += x[1]
    orders, options = np.stack([np.arange(600), rng.permutation(600), rng.permutation(600)]), Options(neighbours=6)
    found = permuted_overlaps(Sides(list(x), list(y)), options, orders)
    for order, values in zip(orders, found, strict=True):
        copies = Sides(list(x), [one[order] for one in y])
        (expected,) = measure_pairs(["mutual_knn"], copies, options).values()
        np.testing.assert_allclose(values, expected.value, atol=1e-12)
    assert found[0, 1, 0] > 3 * found[1:, 1, 0].max()


@pytest.mark.parametrize("k", [0, 9, 10])
def test_more_neighbours_than_clips(rng: np.random.Generator, k: int) -> None:
    with pytest.raises(AnalysisError, match="needs more clips than neighbours"):
        compare_two("mutual_knn", *rng.standard_normal((2, 10, 3)), Options(neighbours=k))


def test_a_vector_of_zeros_has_no_direction(rng: np.random.Generator) -> None:
    x = rng.standard_normal((12, 3))
    x[4] = 0
    with pytest.raises(AnalysisError, match="vector of zeros has no direction") as caught:
        compare_two("mutual_knn", x, x, Options(neighbours=3))
    assert caught.value.where == "x, clip 4"
    assert compare_two("mutual_knn", x, x, Options(neighbours=3, nearness="euclidean")) == 1
