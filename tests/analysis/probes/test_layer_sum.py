"""A learned sum of layers: its weights find the layer that knows, and follow it wherever it stands."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from ser_probe.analysis import threads
from ser_probe.analysis.probes.families import TEST, TRAIN, VALIDATION, ClassProbes, Folds
from ser_probe.analysis.probes.layer_sum import fit_layer_sum
from ser_probe.analysis.probes.softmax import fit_softmax
from ser_probe.analysis.probes.training import ProbeOptions, standardise
from ser_probe.errors import AnalysisError
from tests.analysis.probes.oracle_torch import LayerSumProbe, assert_same_probe, train_alone

N, D, C, L = 140, 11, 3, 5
KNOWS = 3
SEEDS = (0, 5)
# Two orders of summation in float32, over some hundred Adam steps.
SAME = 2e-3


@pytest.fixture
def folds(rng: np.random.Generator) -> Folds:
    sizes = [(90, 30, 20), (81, 29, 30)]
    parts = [rng.permutation(np.repeat([TRAIN, VALIDATION, TEST], size)) for size in sizes]
    return Folds(["a", "b"], np.stack(parts).astype(np.int8))


@pytest.fixture
def labels(rng: np.random.Generator) -> np.ndarray:
    return np.tile(rng.integers(0, C, N), (2, 1))


@pytest.fixture
def x(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Layers of noise in different units; one knows the label."""
    x = rng.standard_normal((L, N, D))
    x[KNOWS] += 0.6 * rng.standard_normal((C, D))[labels[0]]
    return (x * np.array([1, 100, 0.01, 3, 7])[:, None, None] + 2).astype(np.float32)


def _fit(x: np.ndarray, labels: np.ndarray, folds: Folds, **options: float) -> ClassProbes:
    return fit_layer_sum(x, labels, folds, n_classes=C, seeds=SEEDS, options=ProbeOptions(**options))


@pytest.mark.parametrize("options", [{}, {"batch_size": 7, "max_epochs": 4}])
def test_each_probe_is_the_one_of_torch(
    x: np.ndarray, labels: np.ndarray, folds: Folds, options: dict[str, int]
) -> None:
    probes = _fit(x, labels, folds, **options)
    assert probes.layer_weights is not None
    for fold, s in product(range(2), range(2)):
        z, probe = standardise(x, folds.train(fold)).swapaxes(0, 1), LayerSumProbe(SEEDS[s], L, D, C)
        alone = train_alone(probe, z, labels[s], folds, fold, SEEDS[s], ProbeOptions(**options))
        assert_same_probe(probes, (0, fold, s), alone, atol=SAME)
        weights = alone.state["shares"].softmax(dim=0)
        np.testing.assert_allclose(probes.layer_weights[0, fold, s], weights, atol=SAME)


def test_the_layer_that_knows_has_the_highest_weight(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    weights = _fit(x, labels, folds).layer_weights
    assert weights is not None
    assert weights.shape == (1, 2, 2, L)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-12)
    assert (weights.argmax(axis=-1) == KNOWS).all()
    assert (weights[..., KNOWS] > 2 * np.delete(weights, KNOWS, axis=-1).max(axis=-1)).all()


def test_weights_follow_the_layers(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    order = np.array([3, 0, 4, 1, 2])
    first, second = _fit(x, labels, folds), _fit(x[order], labels, folds)
    assert first.layer_weights is not None
    assert second.layer_weights is not None
    np.testing.assert_allclose(second.layer_weights, first.layer_weights[..., order], atol=SAME)
    np.testing.assert_allclose(second.logits, first.logits, atol=SAME)


def test_the_scale_of_a_layer_does_not_matter(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    first, second = _fit(x, labels, folds), _fit(x * np.array([1, 5, 1, 1e-3, 1])[:, None, None] + 3, labels, folds)
    np.testing.assert_allclose(second.layer_weights, first.layer_weights, atol=SAME)


def test_equal_layers_keep_equal_weights(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    weights = _fit(np.repeat(x[KNOWS : KNOWS + 1], L, axis=0), labels, folds).layer_weights
    np.testing.assert_allclose(weights, 1 / L, atol=1e-6)  # a softmax of float32 zeros, moved by rounding


def test_a_single_layer_is_the_linear_probe(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    one = x[KNOWS : KNOWS + 1]
    alone = fit_softmax(one, labels, folds, n_classes=C, seeds=SEEDS)
    summed = _fit(one, labels, folds)
    np.testing.assert_array_equal(summed.n_epochs, alone.n_epochs)
    np.testing.assert_allclose(summed.logits, alone.logits, atol=SAME)


def test_threads_change_no_bit(
    x: np.ndarray, labels: np.ndarray, folds: Folds, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []
    for n in (1, 3):
        monkeypatch.setattr(threads, "_n_cores", lambda n=n: n)
        fitted.append(_fit(x, labels, folds))
    np.testing.assert_array_equal(fitted[0].logits, fitted[1].logits)
    np.testing.assert_array_equal(fitted[0].layer_weights, fitted[1].layer_weights)


def test_a_fold_without_validation_is_refused(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    parts = np.where(folds.parts == VALIDATION, TRAIN, folds.parts)
    with pytest.raises(AnalysisError, match="no validation clips"):
        _fit(x, labels, Folds(folds.names, parts))
