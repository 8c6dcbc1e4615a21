"""Logistic probes solved together equal scikit-learn's, fitted one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from ser_probe.analysis.probes.families import TEST, TRAIN, ClassProbes, Folds
from ser_probe.analysis.probes.logistic import ABSENT_BIAS, fit_logistic
from ser_probe.analysis.probes.logistic_solver import Problems, solve
from ser_probe.errors import AnalysisError

# How far above the minimum an objective may be, as a share of it; asked for is 1e-8.
SAME_OBJECTIVE = 1e-6
# Logits of two fits of objectives that close.
SAME_LOGITS = 5e-3
STRENGTHS = (0.3, 10.0, 300.0)
N, C = 120, 3


def _data(rng: np.random.Generator, width: int, n_classes: int = C) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features on very different scales, 10 speakers of unequal size; classes overlap more in the second."""
    codes, labels = rng.integers(0, 10, N), rng.integers(0, n_classes, N)
    clear = np.array([0.5, 0.05])[:, None, None]
    latent = rng.standard_normal((2, N, width)) + clear * rng.standard_normal((2, n_classes, width))[:, labels]
    latent += rng.standard_normal((10, width))[codes]
    return latent * rng.uniform(0.1, 30, width) + rng.uniform(-50, 50, width), labels, codes


def _folds(groups: np.ndarray, n_folds: int = 2) -> Folds:
    codes = np.unique(groups, return_inverse=True)[1]
    parts = np.stack([np.where(codes % 4 == f, TEST, TRAIN) for f in range(n_folds)]).astype(np.int8)
    return Folds([f"fold-{f}" for f in range(n_folds)], parts)


def _alone(x: np.ndarray, y: np.ndarray, strength: float) -> LogisticRegression:
    return LogisticRegression(C=1 / strength, tol=1e-8, max_iter=20_000).fit(x, y)


def _objective(z: np.ndarray, y: np.ndarray, logits: np.ndarray, weights: np.ndarray, strength: float) -> float:
    own = log_softmax(logits, axis=1)[np.arange(len(z)), y]
    return float(-own.sum() + strength / 2 * np.square(weights).sum())


@pytest.mark.parametrize("width", [8, 200])
def test_equals_scikit_learn_with_the_strength_searched_for(rng: np.random.Generator, width: int) -> None:
    x, y, groups = _data(rng, width)
    folds = _folds(groups)
    probes = fit_logistic(x, y[None], folds, groups=groups, n_classes=C, strengths=STRENGTHS)
    for r in range(2):
        for fold in range(2):
            training = folds.train(fold)
            scaler = StandardScaler().fit(x[r][training])
            z = scaler.transform(x[r])
            known, own = z[training], y[training]
            losses = np.zeros(len(STRENGTHS))
            for kept, left in GroupKFold(5).split(known, groups=groups[training]):
                for number, strength in enumerate(STRENGTHS):
                    said = _alone(known[kept], own[kept], strength).predict_log_proba(known[left])
                    losses[number] -= said[np.arange(len(left)), own[left]].sum()
            best = STRENGTHS[int(np.argmin(losses))]
            assert probes.strength[r, fold, 0] == best
            alone = _alone(known, own, best)
            logits = probes.logits[r, fold, 0].astype(np.float64)
            weights = probes.weights[r, fold, 0, :-1] * scaler.scale_[:, None]
            least = _objective(known, own, alone.decision_function(known), alone.coef_, best)
            assert _objective(known, own, logits[training], weights, best) <= least * (1 + SAME_OBJECTIVE)
            np.testing.assert_array_equal(logits.argmax(axis=1), alone.predict(z))
            np.testing.assert_allclose(log_softmax(logits, axis=1), alone.predict_log_proba(z), atol=SAME_LOGITS)
    assert len(np.unique(probes.strength)) > 1


@pytest.mark.parametrize("strength", [1e-2, 1.0, 1e3])
@pytest.mark.parametrize("width", [8, 200])
def test_gradient_is_zero_and_objective_least(rng: np.random.Generator, width: int, strength: float) -> None:
    """Also where the classes can be separated and the penalty is weak: few clips in many features."""
    x, y, groups = _data(rng, width)
    probes = fit_logistic(x[:1], y[None], _whole(), groups=groups, n_classes=C, strengths=(strength,), tolerance=1e-11)
    scaler = StandardScaler().fit(x[0])
    z = scaler.transform(x[0])
    weights = probes.weights[0, 0, 0, :-1] * scaler.scale_[:, None]
    logits = probes.logits[0, 0, 0].astype(np.float64)
    error = np.exp(log_softmax(logits, axis=1)) - np.eye(C)[y]
    np.testing.assert_allclose(z.T @ error + strength * weights, 0, atol=2e-3)
    np.testing.assert_allclose(error.sum(axis=0), 0, atol=1e-3)
    alone = _alone(z, y, strength)
    least = _objective(z, y, alone.decision_function(z), alone.coef_, strength)
    assert _objective(z, y, logits, weights, strength) == pytest.approx(least, rel=SAME_OBJECTIVE)


def test_separable_classes_and_almost_no_penalty_stay_finite(
    rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    x, y, groups = _data(rng, 200)
    probes = fit_logistic(x[:1], y[None], _whole(), groups=groups, n_classes=C, strengths=(1e-8,))
    assert np.isfinite(probes.logits).all()
    np.testing.assert_array_equal(probes.logits[0, 0, 0].argmax(axis=1), y)
    assert not caplog.records


def test_two_classes_have_scikit_learns_penalty(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 8, n_classes=2)
    z = StandardScaler().fit_transform(x[0])
    probes = fit_logistic(x[:1], y[None], _whole(), groups=groups, n_classes=2, strengths=(10.0,))
    log_odds = np.diff(probes.logits[0, 0, 0], axis=1)[:, 0]
    np.testing.assert_allclose(log_odds, _alone(z, y, 10.0).decision_function(z), atol=SAME_LOGITS)


def test_weights_are_in_the_units_of_the_raw_features(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 200)
    probes = fit_logistic(x, y[None], _folds(groups), groups=groups, n_classes=C, strengths=(10.0,))
    raw = np.concatenate([x, np.ones((2, N, 1))], axis=2)
    np.testing.assert_allclose(raw[:, None] @ probes.weights[:, :, 0], probes.logits[:, :, 0], atol=1e-3)


def test_scale_and_shift_of_features_change_nothing(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 20)
    plain, moved = (
        fit_logistic(features, y[None], _folds(groups), groups=groups, n_classes=C, strengths=STRENGTHS)
        for features in (x, x * rng.uniform(0.01, 100, 20) - 7)
    )
    np.testing.assert_array_equal(moved.strength, plain.strength)
    np.testing.assert_allclose(moved.logits, plain.logits, atol=SAME_LOGITS)


def test_a_rotation_of_standardised_features_changes_nothing_and_a_stretch_does(rng: np.random.Generator) -> None:
    """Whitened features stay standardised under a rotation."""
    x, y, groups = _data(rng, 10)
    white = np.linalg.qr(x[0] - x[0].mean(axis=0))[0]
    turn = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    plain, turned, stretched = (
        fit_logistic(z[None], y[None], _whole(), groups=groups, n_classes=C, strengths=(10.0,)).logits
        for z in (white, white @ turn, white @ (turn * np.linspace(1, 9, 10)[:, None]))
    )
    np.testing.assert_allclose(turned, plain, atol=SAME_LOGITS)
    assert np.abs(stretched - plain).max() > 10 * SAME_LOGITS


def test_rows_of_labels_together_equal_one_by_one(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, groups = _data(rng, 20)
    rows = np.stack([y, rng.permutation(y), (y == 1).astype(int)])
    together = _fit(x, rows, groups)
    monkeypatch.setattr("ser_probe.analysis.probes.logistic._CHUNK_BYTES", 1)  # a problem at a time
    alone = [_fit(x, row[None], groups) for row in rows]
    for s in range(3):
        np.testing.assert_array_equal(together.strength[:, :, s], alone[s].strength[:, :, 0])
        np.testing.assert_allclose(together.logits[:, :, s], alone[s].logits[:, :, 0], atol=SAME_LOGITS)
    assert (together.strength[:, :, 1] == max(STRENGTHS)).all()  # shuffled labels have nothing to fit


def test_order_of_clips_does_not_matter(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 20)
    folds, order = _folds(groups), rng.permutation(N)
    plain = _fit(x, y[None], groups)
    mixed = fit_logistic(
        x[:, order], y[None, order], Folds(folds.names, folds.parts[:, order]), groups=groups[order], n_classes=C,
        strengths=STRENGTHS,
    )  # fmt: skip
    np.testing.assert_array_equal(mixed.strength, plain.strength)
    np.testing.assert_allclose(mixed.logits, plain.logits[..., order, :], atol=SAME_LOGITS)


def test_clips_that_do_not_train_have_no_say(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 20)
    other = _folds(groups).parts[0] != TRAIN
    x2, y2 = x.copy(), y.copy()
    x2[:, other] *= 1000
    y2[other] = -1
    plain, moved = (_fit(features, labels[None], groups, 1) for features, labels in ((x, y), (x2, y2)))
    np.testing.assert_array_equal(moved.weights, plain.weights)
    np.testing.assert_array_equal(moved.strength, plain.strength)


def test_a_class_without_training_clips_is_not_predicted(rng: np.random.Generator) -> None:
    """The others are fitted as if it did not exist; in inner folds too."""
    x, y, groups = _data(rng, 20)
    fourth = np.where(_folds(groups).parts[0] == TEST, C, y)
    probes, plain = _fit(x, fourth[None], groups, 1, n_classes=C + 1), _fit(x, y[None], groups, 1)
    np.testing.assert_allclose(probes.logits[..., :C], plain.logits, atol=SAME_LOGITS)
    np.testing.assert_array_equal(probes.logits[..., C], ABSENT_BIAS)
    np.testing.assert_array_equal(probes.strength, plain.strength)
    # A class that one speaker alone has is absent from an inner fold's training part.
    rare = np.where((groups == 1) & (y == 2), 2, np.minimum(y, 1))
    assert np.isfinite(_fit(x, rare[None], groups).logits).all()


def test_fits_that_do_not_converge_are_counted(rng: np.random.Generator, caplog: pytest.LogCaptureFixture) -> None:
    x, y, groups = _data(rng, 200)
    probes = fit_logistic(x, y[None], _folds(groups), groups=groups, n_classes=C, strengths=(1e-3,), max_iterations=3)
    assert "logistic regression: 4 of 4 fits" in caplog.text
    assert "did not converge in 3 iterations" in caplog.text
    assert np.isfinite(probes.logits).all()
    caplog.clear()
    _fit(x, y[None], groups)
    assert not caplog.records


def test_one_training_speaker_is_warned_of(rng: np.random.Generator, caplog: pytest.LogCaptureFixture) -> None:
    x, y, _ = _data(rng, 8)
    fit_logistic(x, y[None], _whole(), groups=np.zeros(N), n_classes=C, strengths=STRENGTHS)
    assert "training clips are of one speaker" in caplog.text


def test_constant_features_have_no_weight(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 20)
    with_constant = np.concatenate([x, np.full((2, N, 1), 0.1)], axis=2)
    probes = _fit(with_constant, y[None], groups)
    assert (probes.weights[..., -2, :] == 0).all()
    np.testing.assert_allclose(probes.logits, _fit(x, y[None], groups).logits, atol=SAME_LOGITS)
    nothing = _fit(np.ones((1, N, 4)), y[None], groups)  # nothing to go by: the classes' frequencies
    training = _folds(groups).train(0)
    shares = np.bincount(y[training], minlength=C) / len(training)
    np.testing.assert_allclose(log_softmax(nothing.logits[0, 0, 0], axis=1), np.tile(np.log(shares), (N, 1)), atol=1e-3)


def test_refuses_what_it_cannot_fit(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 5)
    folds = _folds(groups)
    with pytest.raises(AnalysisError, match="single class"):
        fit_logistic(x, np.zeros((1, N), int), folds, groups=groups, n_classes=C)
    with pytest.raises(AnalysisError, match="NaN or infinite"):
        fit_logistic(np.where(x == x[0, 3, 0], np.nan, x), y[None], folds, groups=groups, n_classes=C)
    with pytest.raises(AnalysisError, match="do not describe the same clips"):
        fit_logistic(x, y[None, 1:], folds, groups=groups, n_classes=C)
    with pytest.raises(AnalysisError, match="strengths to choose among"):
        fit_logistic(x, y[None], folds, groups=groups, n_classes=C, strengths=(-1.0, 1.0))


def test_a_start_at_the_solution_is_seen_as_solved(rng: np.random.Generator) -> None:
    scores, labels = rng.standard_normal((N, 6)), rng.integers(0, C, (1, N))
    problems = Problems(labels, np.ones((1, N), bool), np.array([5.0]), C)
    first = solve(scores, problems, tolerance=1e-10, max_iterations=200)
    again = solve(scores, problems, tolerance=1e-8, max_iterations=200, start=first.weights)
    assert first.converged.all()
    assert first.n_iterations[0] > 3
    assert again.n_iterations[0] <= 1


def _whole() -> Folds:
    return Folds(["all"], np.full((1, N), TRAIN, np.int8))


def _fit(x: np.ndarray, rows: np.ndarray, groups: np.ndarray, n_folds: int = 2, n_classes: int = C) -> ClassProbes:
    return fit_logistic(x, rows, _folds(groups, n_folds), groups=groups, n_classes=n_classes, strengths=STRENGTHS)
