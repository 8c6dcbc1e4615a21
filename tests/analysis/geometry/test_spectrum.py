"""Measures of the spectrum: closed forms, what leaves them unchanged, what changes them, and IsoScore by its steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import ortho_group

from ser_probe.analysis.geometry.spectrum import (
    centred,
    effective_rank,
    eigenvalues,
    isoscore,
    isotropic_features,
    participation_ratio,
    rankme,
    variance_shares,
)
from ser_probe.errors import AnalysisError

ROUNDING = 1e-9
MEASURES: dict[str, Callable[[np.ndarray], float]] = {
    "participation_ratio": participation_ratio,
    "effective_rank": effective_rank,
    "rankme": rankme,
    "isoscore": lambda values: isoscore(values, 12),
}


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((60, 12)) * np.linspace(3, 0.2, 12) + 5


def of(x: np.ndarray, measure: str) -> float:
    return MEASURES[measure](eigenvalues(centred(x)))


@pytest.mark.parametrize("shape", [(60, 12), (12, 60)])
def test_eigenvalues_are_those_of_the_covariance(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    x = rng.standard_normal(shape)
    values = eigenvalues(centred(x))
    whole = np.linalg.eigvalsh(np.cov(x, rowvar=False))[::-1]
    assert len(values) == min(shape[0] - 1, shape[1])
    np.testing.assert_allclose(values, whole[: len(values)], atol=ROUNDING)
    assert values.sum() == pytest.approx(x.var(axis=0, ddof=1).sum())
    assert variance_shares(values).sum() == pytest.approx(1)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_k_equal_directions_count_k(k: int) -> None:
    values = np.r_[np.full(k, 2.5), np.zeros(8 - k)]
    assert participation_ratio(values) == pytest.approx(k)
    assert effective_rank(values) == pytest.approx(k)
    assert rankme(values) == pytest.approx(k)


def test_two_directions_by_hand() -> None:
    values = np.array([3.0, 1.0])
    assert participation_ratio(values) == pytest.approx(16 / 10)
    assert effective_rank(values) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    roots = np.sqrt(values) / np.sqrt(values).sum()
    assert rankme(values) == pytest.approx(np.exp(-(roots * np.log(roots)).sum()))


def test_order_of_the_measures(x: np.ndarray) -> None:
    """Renyi entropies fall with their order, and roots are more even than what they are roots of."""
    assert of(x, "participation_ratio") < of(x, "effective_rank") < of(x, "rankme") < 12


def test_isotropic_clips_reach_the_known_ceiling() -> None:
    """Marchenko and Pastur: the sample eigenvalues of white noise have mean 1 and variance D / N."""
    n, width, within = 400, 100, 0.02
    found = participation_ratio(eigenvalues(centred(isotropic_features(n, width))))
    assert found == pytest.approx(width / (1 + width / n), rel=within)
    np.testing.assert_array_equal(isotropic_features(4, 3, seed=1), isotropic_features(4, 3, seed=1))
    assert not np.array_equal(isotropic_features(4, 3, seed=1), isotropic_features(4, 3, seed=2))


@pytest.mark.parametrize("measure", MEASURES)
def test_invariances(x: np.ndarray, measure: str) -> None:
    value, rotation = of(x, measure), ortho_group.rvs(12, random_state=1)
    assert of(7 * x @ rotation + 100, measure) == pytest.approx(value, rel=ROUNDING)


@pytest.mark.parametrize("measure", MEASURES)
def test_stretching_one_direction_changes_all(x: np.ndarray, measure: str) -> None:
    stretched = x.copy()
    stretched[:, 0] *= 10
    assert of(stretched, measure) < 0.7 * of(x, measure)


def test_isoscore_by_the_papers_steps(x: np.ndarray) -> None:
    """Rudman et al. 2022, algorithm 1: reorient, normalise the diagonal, distance, defect, fraction, rescale."""
    covariance = np.cov(x, rowvar=False)
    _, axes = np.linalg.eigh(covariance)
    diagonal = np.diag(np.cov(x @ axes, rowvar=False))
    n = len(diagonal)
    normalised = np.sqrt(n) * diagonal / np.linalg.norm(diagonal)
    defect = np.linalg.norm(normalised - np.ones(n)) / np.sqrt(2 * (n - np.sqrt(n)))
    fraction = (n - defect**2 * (n - np.sqrt(n))) ** 2 / n**2
    assert of(x, "isoscore") == pytest.approx((n * fraction - 1) / (n - 1), rel=ROUNDING)


def test_isoscore_of_one_dimension() -> None:
    with pytest.raises(AnalysisError, match="IsoScore compares directions"):
        isoscore(np.array([1.0]), 1)


def test_too_few_clips(x: np.ndarray) -> None:
    with pytest.raises(AnalysisError, match="The layer are too few clips to have a shape") as raised:
        centred(x[:2], "The layer")
    assert raised.value.found == 2
    assert centred(x[:3]).shape == (3, 12)


def test_constant_features() -> None:
    """Also where the constant is not one in binary, and float32 rounds its mean."""
    constant = np.full((1000, 4), np.float32(0.1)) * np.array([1, 3, 1e4, 7], np.float32)
    with pytest.raises(AnalysisError, match="do not vary: all clips have the same"):
        centred(constant)
    constant[0, 0] += np.float32(1e-8)
    with pytest.raises(AnalysisError, match="do not vary"):
        centred(constant)
    constant[0, 0] += 0.1
    assert of(np.c_[constant, np.zeros((1000, 8))], "participation_ratio") == pytest.approx(1)


def test_nan(x: np.ndarray) -> None:
    x[4, 2] = np.nan
    with pytest.raises(AnalysisError, match="The features hold NaN or infinite values") as raised:
        centred(x)
    assert raised.value.where == "clips 4"
