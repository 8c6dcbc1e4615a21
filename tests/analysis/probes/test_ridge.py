"""Ridge by one decomposition a fold equals scikit-learn's, fitted one by one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from ser_probe.analysis.probes.families import TEST, TRAIN, UNUSED, Folds
from ser_probe.analysis.probes.ridge import (
    DEFAULT_STRENGTHS,
    Division,
    Dual,
    Primal,
    decompose,
    fit_ridge,
    fit_targets,
    held_out_error,
)
from ser_probe.analysis.probes.tuning import inner_folds
from ser_probe.errors import AnalysisError

# Two exact solutions of well-posed systems in float64.
EXACT = 1e-9
# What is returned is float32.
FLOAT32 = 2e-6
STRENGTHS = (0.1, 3.0, 100.0, 3000.0)
N = 96


def _data(rng: np.random.Generator, width: int, n_targets: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features on very different scales, targets that need different strengths, 8 speakers of unequal size."""
    groups = np.array([f"s{g}" for g in rng.integers(0, 8, N)])
    x = rng.standard_normal((2, N, width)) * rng.uniform(0.1, 30, width) + rng.uniform(-50, 50, width)
    noise = np.array([0.1, 2, 20])[:n_targets]
    signal = StandardScaler().fit_transform(x[0]) @ rng.standard_normal((width, n_targets)) / np.sqrt(width)
    return x, 100 + 5 * (signal + noise * rng.standard_normal((N, n_targets))), groups


def _folds(groups: np.ndarray) -> Folds:
    codes = np.unique(groups, return_inverse=True)[1]
    parts = np.stack([np.where(codes % 4 == f, TEST, TRAIN) for f in range(3)]).astype(np.int8)
    return Folds(["a", "b", "c"], parts)


def _alone(x: np.ndarray, y: np.ndarray, training: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, float]:
    """Return predictions of all clips and the strength of one target, the usual way."""
    z = StandardScaler().fit(x[training]).transform(x)
    known, own = z[training], y[training]
    errors = []
    for strength in STRENGTHS:
        squares = 0.0
        for kept, left in GroupKFold(5).split(known, groups=groups[training]):
            fitted = Ridge(strength).fit(known[kept], own[kept])
            squares += np.square(own[left] - fitted.predict(known[left])).sum()
        errors.append(squares)
    best = STRENGTHS[int(np.argmin(errors))]
    return Ridge(best).fit(known, own).predict(z), best


@pytest.mark.parametrize("width", [6, 20, 150])
def test_equals_scikit_learn_with_the_strength_searched_for(rng: np.random.Generator, width: int) -> None:
    """With width 6 inner folds have more clips than features, with 150 training parts have fewer."""
    x, y, groups = _data(rng, width)
    folds = _folds(groups)
    probes = fit_ridge(x, y, folds, groups=groups, strengths=STRENGTHS)
    for r in range(2):
        for fold in range(3):
            for k in range(3):
                predictions, best = _alone(x[r], y[:, k], folds.train(fold), groups)
                assert probes.strength[r, fold, k] == best
                np.testing.assert_allclose(probes.predictions[r, fold, :, k], predictions, rtol=FLOAT32)
    assert len(np.unique(probes.strength)) > 1
    raw = np.concatenate([x, np.ones((2, N, 1))], axis=2)
    np.testing.assert_allclose(raw[:, None] @ probes.weights, probes.predictions, rtol=1e-4)


def test_the_features_scale_of_the_whole_training_part_costs_the_choice_nothing(rng: np.random.Generator) -> None:
    """Where inner folds are standardised on their own, the strengths chosen here are as good as the best of theirs."""
    x, y, groups = _data(rng, 20)
    training = _folds(groups).train(0)
    own, targets, speakers = x[0][training], y[training], groups[training]
    errors = np.zeros((len(STRENGTHS), 3))
    for kept, left in GroupKFold(5).split(own, groups=speakers):
        z = StandardScaler().fit(own[kept]).transform(own)
        for number, strength in enumerate(STRENGTHS):
            said = Ridge(strength).fit(z[kept], targets[kept]).predict(z[left])
            errors[number] += np.square(targets[left] - said).sum(axis=0)
    chosen = fit_ridge(x[:1], y, _folds(groups), groups=groups, strengths=STRENGTHS).strength[0, 0]
    reached = errors[np.searchsorted(STRENGTHS, chosen), np.arange(3)]
    assert (reached <= 1.02 * errors.min(axis=0)).all()


@pytest.mark.parametrize("width", [20, 150])
@pytest.mark.parametrize("strength", [1e-2, 1e4])
def test_a_fit_is_exact_in_float64(rng: np.random.Generator, width: int, strength: float) -> None:
    x, y, groups = _data(rng, width)
    training = _folds(groups).train(0)
    fit = fit_targets(x[0], Division(np.arange(3), training, y[training], None), np.array([strength]))
    scaler = StandardScaler().fit(x[0][training])
    z = scaler.transform(x[0])
    alone = Ridge(strength).fit(z[training], y[training])
    np.testing.assert_allclose(fit.predictions, alone.predict(z), rtol=EXACT)
    np.testing.assert_allclose(fit.weights[:-1] * scaler.scale_[:, None], alone.coef_.T, rtol=1e-6, atol=EXACT)
    # The gradient of |y - Zw - b|^2 + strength |w|^2 is 0.
    weights = fit.weights[:-1] * scaler.scale_[:, None]
    residuals = y[training] - fit.predictions[training]
    np.testing.assert_allclose(z[training].T @ residuals, strength * weights, atol=1e-7 * np.abs(y).max())
    np.testing.assert_allclose(residuals.sum(axis=0), 0, atol=1e-9)


def test_two_ways_of_leaving_clips_out_agree(rng: np.random.Generator) -> None:
    """By the leverage of the clips that leave, and by the cross-product of those that stay."""
    z = StandardScaler().fit_transform(rng.standard_normal((60, 12)))
    y = rng.standard_normal((60, 2))
    y -= y.mean(axis=0)
    solver = decompose(z, y)
    assert isinstance(solver, Primal)
    own = np.arange(7)
    for strength in (0.5, 500.0):
        by_leverage = np.linalg.solve(solver.leverage(own, strength), solver.residuals(y, strength)[own])
        np.testing.assert_allclose(y[own] - solver.predict_held_out(y, own, strength), by_leverage, rtol=EXACT)
    squares, basis = np.linalg.eigh(z @ z.T)
    dual = Dual(z, basis, np.maximum(squares, 0), basis.T @ y)
    inner = np.arange(60) % 5
    np.testing.assert_allclose(held_out_error(dual, y, inner, 5.0), held_out_error(solver, y, inner, 5.0), rtol=1e-7)


def test_scale_and_shift_of_features_and_targets(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 20)
    folds = _folds(groups)
    plain = fit_ridge(x, y, folds, groups=groups, strengths=STRENGTHS)
    moved = fit_ridge(x * rng.uniform(0.01, 100, 20) - 7, y * 40 + 3, folds, groups=groups, strengths=STRENGTHS)
    np.testing.assert_array_equal(moved.strength, plain.strength)
    np.testing.assert_allclose(moved.predictions, plain.predictions * 40 + 3, rtol=FLOAT32)


def test_a_rotation_of_standardised_features_changes_nothing_and_a_stretch_does(rng: np.random.Generator) -> None:
    """Whitened features stay standardised under a rotation."""
    _, y, groups = _data(rng, 10)
    whole = Folds(["all"], np.full((1, N), TRAIN, np.int8))
    white = np.linalg.qr(StandardScaler(with_std=False).fit_transform(rng.standard_normal((N, 10))))[0]
    turn = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    plain, turned, stretched = (
        fit_ridge(z[None], y, whole, groups=groups, strengths=(30.0,)).predictions
        for z in (white, white @ turn, white @ (turn * np.linspace(1, 9, 10)[:, None]))
    )
    np.testing.assert_allclose(turned, plain, rtol=FLOAT32)
    assert np.abs(stretched - plain).max() > 1e-2


def test_order_of_clips_and_targets_does_not_matter(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 20)
    folds, order = _folds(groups), rng.permutation(N)
    plain = fit_ridge(x, y, folds, groups=groups, strengths=STRENGTHS)
    shuffled = Folds(folds.names, folds.parts[:, order])
    mixed = fit_ridge(x[:, order], y[order][:, [2, 0, 1]], shuffled, groups=groups[order], strengths=STRENGTHS)
    np.testing.assert_array_equal(mixed.strength, plain.strength[..., [2, 0, 1]])
    np.testing.assert_allclose(mixed.predictions, plain.predictions[:, :, order][..., [2, 0, 1]], rtol=FLOAT32)


def test_clips_that_do_not_train_have_no_say(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 20)
    folds = _folds(groups)
    plain = fit_ridge(x[:1], y, folds, groups=groups, strengths=STRENGTHS)
    other = folds.parts[0] != TRAIN
    x2, y2 = x[:1].copy(), y.copy()
    x2[:, other] *= 1000
    y2[other] = -1e6
    moved = fit_ridge(x2, y2, folds, groups=groups, strengths=STRENGTHS)
    np.testing.assert_array_equal(moved.strength[:, 0], plain.strength[:, 0])
    np.testing.assert_array_equal(moved.weights[:, 0], plain.weights[:, 0])
    unused = folds.parts.copy()
    unused[0, other] = UNUSED
    again = fit_ridge(x[:1], y, Folds(folds.names, unused), groups=groups, strengths=STRENGTHS)
    np.testing.assert_array_equal(again.predictions[:, 0], plain.predictions[:, 0])


def test_targets_with_gaps_are_fitted_on_the_clips_they_have(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 20)
    folds = _folds(groups)
    gaps = y.copy()
    gaps[::3, 1] = np.nan
    probes = fit_ridge(x, gaps, folds, groups=groups, strengths=STRENGTHS)
    without = Folds(folds.names, np.where(np.isnan(gaps[:, 1]), UNUSED, folds.parts).astype(np.int8))
    expected = fit_ridge(x, y, without, groups=groups, strengths=STRENGTHS)
    np.testing.assert_allclose(probes.predictions[..., 1], expected.predictions[..., 1], rtol=FLOAT32)
    whole = fit_ridge(x, y, folds, groups=groups, strengths=STRENGTHS)
    np.testing.assert_array_equal(probes.predictions[..., [0, 2]], whole.predictions[..., [0, 2]])
    assert np.abs(probes.predictions[..., 1] - whole.predictions[..., 1]).max() > 0.1
    assert np.isfinite(probes.predictions).all()


def test_constant_features_and_targets(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 20)
    folds = _folds(groups)
    with_constant = np.concatenate([x, np.full((2, N, 1), 0.1)], axis=2)
    with_constant[:, folds.parts[0] == TEST, -1] = 5  # varies only where it is not trained
    y[:, 2] = 7
    probes = fit_ridge(with_constant, y, Folds(["a"], folds.parts[:1]), groups=groups)
    plain = fit_ridge(x, y, Folds(["a"], folds.parts[:1]), groups=groups)
    np.testing.assert_allclose(probes.predictions, plain.predictions, rtol=FLOAT32)
    assert (probes.weights[:, :, -2] == 0).all()
    np.testing.assert_array_equal(probes.predictions[..., 2], 7)
    assert (probes.strength[..., 2] == max(DEFAULT_STRENGTHS)).all()


def test_noise_takes_the_largest_strength_and_clean_targets_a_small_one(rng: np.random.Generator) -> None:
    x, _, groups = _data(rng, 150)
    clean = StandardScaler().fit_transform(x[0])[:, :1] * 3
    y = np.concatenate([clean, rng.standard_normal((N, 1))], axis=1)
    probes = fit_ridge(x[:1], y, _folds(groups), groups=groups, strengths=(1.0, 1e6), keep_weights=False)
    assert (probes.strength[..., 0] == 1).all()
    assert (probes.strength[..., 1] == 1e6).all()
    assert probes.weights is None


def test_one_strength_needs_no_inner_folds(rng: np.random.Generator, caplog: pytest.LogCaptureFixture) -> None:
    x, y, _ = _data(rng, 20)
    fit_ridge(x, y, Folds(["a"], np.zeros((1, N), np.int8)), groups=np.full(N, "one"), strengths=(5.0,))
    assert not caplog.records


def test_inner_folds_have_whole_speakers_and_equal_group_k_fold(rng: np.random.Generator) -> None:
    groups = np.array([f"s{g}" for g in rng.integers(0, 7, 80)])
    own = inner_folds(groups, 5)
    for fold, (_, left) in enumerate(GroupKFold(5).split(groups, groups=groups)):
        np.testing.assert_array_equal(np.flatnonzero(own == fold), left)


def test_refuses_what_it_cannot_fit(rng: np.random.Generator) -> None:
    x, y, groups = _data(rng, 5)
    folds = _folds(groups)
    with pytest.raises(AnalysisError, match="not a table of numbers"):
        fit_ridge(x, y[:, 0], folds, groups=groups)
    with pytest.raises(AnalysisError, match="Targets are infinite"):
        fit_ridge(x, np.where(np.arange(3) == 1, np.inf, y), folds, groups=groups)
    few = np.full_like(y, np.nan)
    few[folds.train(0)[0]] = 1
    with pytest.raises(AnalysisError, match="known for too few training clips"):
        fit_ridge(x, few, folds, groups=groups)
    with pytest.raises(AnalysisError, match="do not describe the same clips"):
        fit_ridge(x, y[:-1], folds, groups=groups)
    broken = x.copy()
    broken[1, 3, 0] = np.nan
    with pytest.raises(AnalysisError, match="NaN or infinite"):
        fit_ridge(broken, y, folds, groups=groups)
    for strengths in ((), (0.0, 1.0), (np.nan,)):
        with pytest.raises(AnalysisError, match="strengths to choose among"):
            fit_ridge(x, y, folds, groups=groups, strengths=strengths)
