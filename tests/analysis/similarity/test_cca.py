"""Canonical correlations against scikit-learn and scipy; why they are measured on held-out speakers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from ser_probe.analysis.similarity.cca import FEW, REFUSED, correlate, wachter_mean, whiten
from ser_probe.analysis.similarity.folds import held_out_folds
from ser_probe.analysis.similarity.measures import compare_two, measure_pairs
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.sources import Sides
from ser_probe.errors import AnalysisError

ROUTES = 1e-8
SKLEARN = 1e-4  # its power iterations stop there
SPEAKERS = np.repeat(list("abcdefgh"), 15)


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = rng.standard_normal((120, 5)) * np.arange(1, 6) + 2
    return x, x @ rng.standard_normal((5, 4)) + 4 * rng.standard_normal((120, 4))


def _angles(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Canonical correlations by scipy: cosines of the angles between the column spaces of centred features."""
    return np.cos(scipy.linalg.subspace_angles(x - x.mean(axis=0), y - y.mean(axis=0)))


def test_in_sample_values_are_scipys_and_scikit_learns(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    expected = _angles(x, y)
    assert compare_two("cca_mean_insample", x, y) == pytest.approx(expected.mean(), abs=ROUTES)
    assert compare_two("cca_mean_squared_insample", x, y) == pytest.approx((expected**2).mean(), abs=ROUTES)
    a, b = CCA(n_components=4, max_iter=5000, tol=1e-12).fit_transform(x, y)
    by_sklearn = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(4)]
    assert compare_two("cca_mean_insample", x, y) == pytest.approx(np.mean(by_sklearn), abs=SKLEARN)


def test_svcca_is_cca_of_scikit_learns_components(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    components = [PCA(0.9, svd_solver="full").fit_transform(z) for z in (x, y)]
    assert components[0].shape[1] < 5
    expected = _angles(*components).mean()
    assert compare_two("svcca_insample", x, y, Options(variance=0.9)) == pytest.approx(expected, abs=ROUTES)


def test_pwcca_weighs_by_the_first_sides_features(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = (z - z.mean(axis=0) for z in pair)
    covariances = [z.T @ z for z in (x, y)]
    inverse = [scipy.linalg.fractional_matrix_power(c, -0.5) for c in covariances]
    left, correlations, _ = np.linalg.svd(inverse[0] @ x.T @ y @ inverse[1], full_matrices=False)
    directions = x @ inverse[0] @ left
    weights = np.abs(directions.T @ x).sum(axis=1)  # Morcos et al. 2018, section 3
    expected = (weights * correlations).sum() / weights.sum()
    assert compare_two("pwcca_insample", *pair) == pytest.approx(expected, abs=ROUTES)


def test_held_out_values_are_fitted_without_the_speakers_they_are_measured_on(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    x, y = pair
    fold_of, total = held_out_folds(SPEAKERS, 120, 4, seed=3), 0.0
    for fold in range(4):
        fit, test = fold_of != fold, fold_of == fold
        assert not set(SPEAKERS[fit]) & set(SPEAKERS[test])
        scaled = [StandardScaler().fit(z[fit]) for z in (x, y)]
        model = CCA(n_components=4, max_iter=5000, tol=1e-12, scale=False)
        model.fit(*(scale.transform(z[fit]) for scale, z in zip(scaled, (x, y), strict=True)))
        a, b = model.transform(*(scale.transform(z[test]) for scale, z in zip(scaled, (x, y), strict=True)))
        total += test.sum() * np.mean([np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(4)])
    found = compare_two("cca_mean", x, y, Options(groups=SPEAKERS, folds=4, seed=3))
    assert found == pytest.approx(total / 120, abs=10 * SKLEARN)


def test_unrelated_data_correlate_in_sample_and_not_held_out(rng: np.random.Generator) -> None:
    names = ["cca_mean", "cca_mean_squared", "cca_mean_insample", "cca_mean_squared_insample"]
    values, baselines = [], []
    for _ in range(12):
        x, y = rng.standard_normal((80, 20)), rng.standard_normal((80, 10))
        found = measure_pairs(names, Sides([x], [y]), Options(folds=4))
        values.append([found[name].value[0, 0] for name in names])
        baselines.append([found[name].baseline[0, 0] for name in names])
    mean, error = np.mean(values, axis=0), np.std(values, axis=0) / np.sqrt(12)
    assert (np.abs(mean[:2]) < 0.05).all()
    assert mean[2] > 0.4
    assert baselines[0][3] == pytest.approx(20 / 79)
    np.testing.assert_allclose(mean[2:], baselines[0][2:], atol=4 * max(error[2:]))


def test_the_limit_law_has_the_exact_mean_square(rng: np.random.Generator) -> None:
    # One direction among many: its correlation is the root of a beta variable, whose mean is known.
    assert wachter_mean(0.2, 0.3) < np.sqrt(0.3)
    simulated = np.mean([
        np.linalg.svd(np.linalg.qr(x)[0].T @ np.linalg.qr(y)[0], compute_uv=False).mean()
        for x, y in ((rng.standard_normal((200, 40)), rng.standard_normal((200, 60))) for _ in range(10))
    ])  # fmt: skip
    assert wachter_mean(0.2, 0.3) == pytest.approx(simulated, abs=0.01)


def test_few_clips_are_flagged_and_fewer_refused(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 45, 20))
    wide = rng.standard_normal((45, 60))
    found = measure_pairs(["cca_mean_insample", "svcca"], Sides([x], [y[:, :8], y[:, :12], wide]), Options(folds=5))
    assert found["cca_mean_insample"].flag.tolist() == [["", "", REFUSED]]
    assert np.isnan(found["cca_mean_insample"].value).tolist() == [[False, False, True]]
    # Held out, fewer clips are left to fit on: 36 < 2 * 20.
    assert found["svcca"].flag.tolist() == [[FEW, FEW, REFUSED]]
    components = Options(folds=5, components=6)
    held_out = measure_pairs(["cca_mean"], Sides([x], [wide]), components)["cca_mean"]
    assert held_out.flag.tolist() == [[""]]
    assert np.isfinite(held_out.value).all()


def test_components_that_are_rounding_are_left_out(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 3))
    twice = np.hstack([x, x @ rng.standard_normal((3, 4))]).astype(np.float32)
    everything = np.arange(40)
    assert whiten(twice, everything, everything).fitted.shape == (40, 3)
    assert correlate(*(whiten(z, everything, everything) for z in (x, twice)), in_sample=True)["cca_mean"] == (
        pytest.approx(1, abs=1e-6)
    )


def test_one_speaker_has_nothing_held_out(pair: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(AnalysisError, match="Held-out values need at least 2 speakers"):
        compare_two("cca_mean", *pair, Options(groups=np.repeat("a", 120)))
    assert compare_two("cca_mean_insample", *pair, Options(groups=np.repeat("a", 120))) > 0
