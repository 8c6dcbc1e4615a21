"""Anisotropy: against all pairs one by one, its closed forms, its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group

from ser_probe.analysis.geometry.isotropy import anisotropy_left_out, mean_pair_cosine, unit_vectors
from ser_probe.errors import AnalysisError

ROUNDING = 1e-10


def anisotropy(x: np.ndarray) -> float:
    units = unit_vectors(x)
    return float(mean_pair_cosine(units.sum(axis=0)[None], np.array([len(units)]))[0])


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((40, 6)) + 0.7


def test_it_is_the_mean_cosine_over_pairs(x: np.ndarray) -> None:
    assert anisotropy(x) == pytest.approx(1 - pdist(x, "cosine").mean(), abs=ROUNDING)


def test_left_out_speakers(x: np.ndarray) -> None:
    codes = np.arange(40) % 3
    expected = [anisotropy(x[codes != group]) for group in range(3)]
    np.testing.assert_allclose(anisotropy_left_out(unit_vectors(x), codes, 3), expected, atol=ROUNDING)
    assert np.isnan(anisotropy_left_out(unit_vectors(x[:3]), np.array([0, 0, 1]), 2)[0])


def test_invariant_to_rotation_and_to_each_clips_scale(x: np.ndarray, rng: np.random.Generator) -> None:
    turned = x @ ortho_group.rvs(6, random_state=1) * rng.uniform(0.1, 10, (40, 1))
    assert anisotropy(turned) == pytest.approx(anisotropy(x), abs=ROUNDING)


def test_a_common_vector_changes_it(x: np.ndarray) -> None:
    assert anisotropy(x + 50) > 0.99
    assert anisotropy(x) < 0.6


def test_no_bias_from_few_clips(rng: np.random.Generator) -> None:
    """Of unrelated directions it is 0 on average, with 3 clips as with 100; with the diagonal it would be 1/3."""
    values = [anisotropy(rng.standard_normal((3, 20))) for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20
    assert anisotropy(np.array([[1.0, 0], [-1, 0]])) == pytest.approx(-1)
    assert anisotropy(np.ones((5, 3))) == pytest.approx(1)


def test_faults(x: np.ndarray) -> None:
    with pytest.raises(AnalysisError, match="The features are one clip"):
        anisotropy(x[:1])
    x[7] = 0
    with pytest.raises(AnalysisError, match="A vector of zeros has no direction") as raised:
        anisotropy(x)
    assert raised.value.where == "The features, clip 7"
