"""Two nearest neighbours: manifolds of known dimension, the law that it rests on, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import ortho_group

from ser_probe.analysis.geometry.intrinsic_dimension import neighbour_ratios, two_nn, two_nn_mle
from ser_probe.errors import AnalysisError

N = 2000
# The spread of both estimates at this N is 3 %; in five dimensions the cube's border takes a few % off.
WITHIN = 0.12


def ratios_of(x: np.ndarray) -> np.ndarray:
    """Return the ratios by another route than the pass over pairs: a k-d tree."""
    return neighbour_ratios(cKDTree(x).query(x, k=3)[0][:, 1:])


@pytest.mark.parametrize("estimate", [two_nn, two_nn_mle])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_cube_in_a_larger_space(rng: np.random.Generator, d: int, estimate: object) -> None:
    x = rng.random((N, d)) @ ortho_group.rvs(20, random_state=1)[:d] * 30 + 4
    assert callable(estimate)
    assert estimate(ratios_of(x)) == pytest.approx(d, rel=WITHIN)


@pytest.mark.parametrize("estimate", [two_nn, two_nn_mle])
def test_a_bent_sheet_has_two_dimensions(rng: np.random.Generator, estimate: object) -> None:
    """A roll spans three dimensions for any linear measure."""
    turn, height = 1.5 * np.pi * (1 + 2 * rng.random(N)), 20 * rng.random(N)
    x = np.stack([turn * np.cos(turn), height, turn * np.sin(turn)], axis=1)
    assert callable(estimate)
    assert estimate(ratios_of(x)) == pytest.approx(2, rel=WITHIN)


def test_the_law_itself(rng: np.random.Generator) -> None:
    """mu drawn from its distribution 1 - mu^-d: the maximum-likelihood estimate has no bias, also of few clips."""
    d, n = 7.0, 12
    drawn = [rng.random(n) ** (-1 / d) for _ in range(2000)]
    mle = [two_nn_mle(mu) for mu in drawn]
    assert np.mean(mle) == pytest.approx(d, abs=4 * np.std(mle) / np.sqrt(len(mle)))
    assert two_nn(rng.random(20_000) ** (-1 / d)) == pytest.approx(d, rel=0.03)


def test_the_fit_by_hand() -> None:
    mu = np.exp(np.array([0.4, 0.1, 0.2, 0.9]))
    x, y = np.array([0.1, 0.2, 0.4]), -np.log(1 - np.array([0.25, 0.5, 0.75]))
    assert two_nn(mu, discarded=0.0) == pytest.approx((x @ y) / (x @ x)), "the last ratio has no finite F"
    assert two_nn_mle(mu) == pytest.approx(3 / 1.6)


def test_discarding_bounds_the_say_of_large_ratios(rng: np.random.Generator) -> None:
    mu = rng.random(200) ** (-1 / 5.0)
    disturbed = np.sort(mu)
    disturbed[-10:] *= 50
    assert two_nn(disturbed) == pytest.approx(two_nn(mu))
    assert two_nn_mle(disturbed) < 0.7 * two_nn_mle(mu)


def test_copies_are_left_out(rng: np.random.Generator) -> None:
    x = rng.random((300, 2))
    copied = ratios_of(np.concatenate([x, x[:20]]))
    assert len(copied) == 280
    assert np.isfinite(two_nn(copied))


def test_limits() -> None:
    assert np.isnan(two_nn(np.array([1.5, 2.0])))
    assert np.isnan(two_nn_mle(np.array([1.5, 2.0])))
    assert two_nn(np.ones(5)) == two_nn_mle(np.ones(5)) == np.inf
    with pytest.raises(AnalysisError, match="The discarded share of ratios must leave some"):
        two_nn(np.array([1.5, 2.0, 3.0]), discarded=1.0)
