"""Agreement of maps: the same whatever a map is turned by, chance for unrelated ones, between for the rest."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn.neighbors import NearestNeighbors

from ser_probe.analysis.projection_stability import neighbour_agreement, seed_stability
from ser_probe.errors import AnalysisError

N, K = 200, 10


@pytest.fixture
def points(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N, 2))


def test_a_map_agrees_with_itself_however_it_lies(points: np.ndarray) -> None:
    turn = np.array([[0.6, -0.8], [-0.8, -0.6]])
    assert neighbour_agreement(points, points, K) == 1
    assert neighbour_agreement(points, 7 * points @ turn + [3, -50], K) == 1


def test_unrelated_maps_agree_by_chance_only(points: np.ndarray, rng: np.random.Generator) -> None:
    found = [neighbour_agreement(points, rng.standard_normal((N, 2)), K) for _ in range(20)]
    # Two random sets of K of the other N - 1 clips.
    shared = np.arange(K + 1)
    by_chance = (scipy.stats.hypergeom.pmf(shared, N - 1, K, K) * shared / (2 * K - shared)).sum()
    assert np.mean(found) == pytest.approx(by_chance, rel=0.1)
    assert by_chance == pytest.approx(K / (2 * N - K), rel=0.1)


def test_noise_lowers_it_step_by_step(points: np.ndarray, rng: np.random.Generator) -> None:
    noise = rng.standard_normal((N, 2))
    found = [neighbour_agreement(points, points + size * noise, K) for size in (0.01, 0.1, 0.3, 3)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.9
    assert found[-1] < 0.1


def test_another_route(points: np.ndarray, rng: np.random.Generator) -> None:
    """scikit-learn's neighbours, set by set."""
    other = points + 0.2 * rng.standard_normal((N, 2))
    each = [set_of(points), set_of(other)]
    by_hand = np.mean([len(a & b) / len(a | b) for a, b in zip(*each, strict=True)])
    assert neighbour_agreement(points, other, K) == pytest.approx(by_hand)


def set_of(points: np.ndarray) -> list[set[int]]:
    return [set(row) for row in NearestNeighbors(n_neighbors=K).fit(points).kneighbors(return_distance=False)]


def test_clips_on_one_spot(rng: np.random.Generator) -> None:
    same = np.zeros((30, 2))
    assert 0 <= neighbour_agreement(same, rng.standard_normal((30, 2)), 5) <= 1


def test_panels_of_several_seeds(points: np.ndarray, rng: np.random.Generator) -> None:
    near, far = points + 0.01 * rng.standard_normal((N, 2)), rng.standard_normal((N, 2))
    stable, unstable = seed_stability([[points, points], [near, far], [points, near]], K)
    pairs = [(points, near), (points, points), (near, points)]
    assert stable == pytest.approx(np.mean([neighbour_agreement(a, b, K) for a, b in pairs]))
    assert unstable < 0.5 < stable
    assert np.isnan(seed_stability([[points]], K)).all()


def test_maps_that_cannot_be_compared(points: np.ndarray) -> None:
    with pytest.raises(AnalysisError, match="do not describe the same clips"):
        neighbour_agreement(points, points[:-1], K)
    for n_neighbors in (0, N):
        with pytest.raises(AnalysisError, match="too few clips for so many neighbours"):
            neighbour_agreement(points, points, n_neighbors)
