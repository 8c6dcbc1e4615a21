"""Linear predictivity against scikit-learn's ridge, fold by fold, with the strength chosen by leaving speakers out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from ser_probe.analysis.similarity import linear_predictivity
from ser_probe.analysis.similarity.folds import held_out_folds
from ser_probe.analysis.similarity.measures import compare_two, measure_pairs
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.sources import Sides
from ser_probe.errors import AnalysisError

ROUTES = 1e-8
SPEAKERS = np.repeat([f"s{i}" for i in range(9)], [6, 8, 10, 4, 7, 9, 6, 5, 8])
N = len(SPEAKERS)


def _by_scikit_learn(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, folds: int, strengths: tuple[float, ...]
) -> float:
    fold_of, errors, spread = held_out_folds(groups, len(x), folds, seed=0), 0.0, 0.0
    for fold in np.unique(fold_of):
        fit, test = fold_of != fold, fold_of == fold
        # The mean eigenvalue of the centred Gram matrix is its trace over the clips.
        size = ((x[fit] - x[fit].mean(axis=0)) ** 2).sum() / fit.sum()
        models = [Ridge(alpha=strength * size, solver="svd") for strength in strengths]
        inner = [
            ((cross_val_predict(model, x[fit], y[fit], groups=groups[fit], cv=LeaveOneGroupOut()) - y[fit]) ** 2).sum()
            for model in models
        ]
        best = models[int(np.argmin(inner))].fit(x[fit], y[fit])
        errors += ((best.predict(x[test]) - y[test]) ** 2).sum()
        spread += ((y[test] - y[fit].mean(axis=0)) ** 2).sum()
    return 1 - errors / spread


@pytest.mark.parametrize("width", [6, 90])
def test_it_is_scikit_learns_ridge(rng: np.random.Generator, width: int) -> None:
    strengths = (1e-3, 0.1, 10.0)
    x = rng.standard_normal((N, width)) * np.geomspace(5, 0.5, width) + 3
    y = x @ rng.standard_normal((width, 4)) + 8 * rng.standard_normal((N, 4))
    expected = _by_scikit_learn(x, y, SPEAKERS, 3, strengths)
    found = compare_two("linear_predictivity", x, y, Options(groups=SPEAKERS, folds=3, strengths=strengths))
    assert found == pytest.approx(expected, abs=ROUTES)


def test_without_speakers_single_clips_are_left_out(rng: np.random.Generator) -> None:
    x = rng.standard_normal((12, 3))
    y = x + rng.standard_normal((12, 3))
    alone, strengths = np.array([f"{i:02d}" for i in range(12)]), (1e-2, 1.0)
    expected = _by_scikit_learn(x, y, alone, 12, strengths)
    for groups in (alone, None):
        options = Options(groups=groups, folds=12, strengths=strengths)
        assert compare_two("linear_predictivity", x, y, options) == pytest.approx(expected, abs=ROUTES)


def test_it_has_a_direction(rng: np.random.Generator) -> None:
    x = rng.standard_normal((N, 8))
    found = measure_pairs(["linear_predictivity"], Sides([x, x[:, :2]]), Options(groups=SPEAKERS))
    value = found["linear_predictivity"].value
    assert value[0, 1] > 0.99
    assert value[1, 0] < 0.4


def test_the_unrelated_is_not_predicted(rng: np.random.Generator) -> None:
    values = [
        compare_two("linear_predictivity", *rng.standard_normal((2, N, 10)), Options(groups=SPEAKERS)) for _ in "abcde"
    ]
    assert max(values) < 0.02
    assert min(values) > -0.3


def test_two_speakers_leave_one_to_fit_on(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 3))
    options = Options(groups=np.repeat(["a", "b"], 20))
    assert compare_two("linear_predictivity", x, x @ rng.standard_normal((3, 3)), options) > 0.95


def test_too_many_clips_for_matrices_of_pairs(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_predictivity, "MOST_CLIPS", 20)
    with pytest.raises(AnalysisError, match="computed from all pairs of clips, and there are too many"):
        compare_two("linear_predictivity", *rng.standard_normal((2, 21, 3)))
