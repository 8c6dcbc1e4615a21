"""The family of linear softmax probes equals torch's, and nothing but features, labels and seed matters."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from ser_probe.analysis import threads
from ser_probe.analysis.probes import side_by_side
from ser_probe.analysis.probes.families import TEST, TRAIN, VALIDATION, ClassProbes, Folds
from ser_probe.analysis.probes.softmax import fit_softmax
from ser_probe.analysis.probes.training import ProbeOptions, in_raw_units, standardisation, standardise
from ser_probe.errors import AnalysisError
from tests.analysis.probes.oracle_torch import assert_same_probe, softmax_probe, train_alone

N, D, C = 150, 21, 4
SEEDS = (0, 1, 7)
# Two orders of summation in float32, over some hundred Adam steps of 1e-2 each.
SAME_LOGITS = 2e-3


@pytest.fixture
def x(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Four representations from noise to nearly separable, in units far from standard ones."""
    clear = np.array([0, 0.3, 0.6, 1.5])[:, None, None]
    x = clear * rng.standard_normal((C, D))[labels[0]] + rng.standard_normal((4, N, D))
    return (x * rng.uniform(0.1, 10, D) + rng.uniform(-5, 5, D)).astype(np.float32)


@pytest.fixture
def labels(rng: np.random.Generator) -> np.ndarray:
    y = rng.integers(0, C, N)
    return np.stack([y, y, rng.permutation(y)])


@pytest.fixture
def folds(rng: np.random.Generator) -> Folds:
    """Two folds of different sizes: no last batch is full."""
    sizes = [(101, 30, 19), (90, 23, 37)]
    return Folds(
        ["a", "b"], np.stack([rng.permutation(np.repeat([TRAIN, VALIDATION, TEST], s)) for s in sizes]).astype(np.int8)
    )


def _fit(x: np.ndarray, labels: np.ndarray, folds: Folds, **options: float) -> ClassProbes:
    return fit_softmax(x, labels, folds, n_classes=C, seeds=SEEDS, options=ProbeOptions(**options))


@pytest.mark.parametrize("options", [{}, {"max_epochs": 3}, {"batch_size": 7, "patience": 2}, {"batch_size": 500}])
def test_each_probe_is_the_one_of_torch(
    x: np.ndarray, labels: np.ndarray, folds: Folds, options: dict[str, int]
) -> None:
    probes = _fit(x, labels, folds, **options)
    assert probes.weights is not None
    for r, fold in product(range(len(x)), range(2)):
        s = (r + fold) % len(SEEDS)
        z = standardise(x[r], folds.train(fold))
        probe = softmax_probe(SEEDS[s], D, C)
        alone = train_alone(probe, z, labels[s], folds, fold, SEEDS[s], ProbeOptions(**options))
        assert_same_probe(probes, (r, fold, s), alone, atol=SAME_LOGITS)
        mean, scale = standardisation(x[r], folds.train(fold))
        weights = np.vstack([alone.state["weight"].T, alone.state["bias"][None]])
        np.testing.assert_allclose(probes.weights[r, fold, s], in_raw_units(weights, mean, scale), atol=SAME_LOGITS)
    assert len(np.unique(probes.n_epochs)) > 3 or "max_epochs" in options


def test_a_seed_repeats_and_another_differs(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    first, again = _fit(x, labels, folds), _fit(x, labels, folds)
    np.testing.assert_array_equal(first.logits, again.logits)
    assert np.abs(first.logits[:, :, 0] - first.logits[:, :, 1]).max() > 0.01


def test_patience_counts_epochs_without_a_fall_of_min_delta(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    # No fall is ever large enough after the first epoch, which sets the mark.
    assert (_fit(x, labels, folds, min_delta=100, patience=3).n_epochs == 4).all()


def test_longer_training_finds_the_convex_optimum(x: np.ndarray, labels: np.ndarray) -> None:
    """The same loss as scikit-learn's unregularised softmax regression, on data that are not separable."""
    # Every clip twice, to train and to validate: the lowest validation loss is then that of training.
    twice, y = np.concatenate([x[:1], x[:1]], axis=1), labels[0]
    both = Folds(["both"], np.repeat([TRAIN, VALIDATION], N).astype(np.int8)[None])
    options = ProbeOptions(patience=40, min_delta=1e-5, batch_size=N, max_epochs=3000)
    probes = fit_softmax(twice, np.tile(y, (1, 2)), both, n_classes=C, seeds=[0], options=options)
    exact = LogisticRegression(C=np.inf, max_iter=2000, tol=1e-8)
    z = standardise(x[0], np.arange(N))
    optimum = log_loss(y, exact.fit(z, y).predict_proba(z))
    assert log_loss(y, softmax(probes.logits[0, 0, 0, :N], axis=1)) == pytest.approx(optimum, abs=1e-4)


def test_threads_and_neighbours_change_no_bit(
    x: np.ndarray, labels: np.ndarray, folds: Folds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_n_cores", lambda: 1)
    alone = [_fit(x[r : r + 1], labels, folds) for r in range(4)]
    monkeypatch.setattr(threads, "_n_cores", lambda: 3)
    together = _fit(x, labels, folds)
    monkeypatch.setattr(side_by_side, "_MANY_TASKS", 1)  # the seeds of a representation one after the other
    in_turn = _fit(x, labels, folds)
    for probes in (together, in_turn):
        np.testing.assert_array_equal(probes.logits, np.concatenate([one.logits for one in alone]))
        np.testing.assert_array_equal(probes.weights, np.concatenate([one.weights for one in alone]))
        np.testing.assert_array_equal(probes.n_epochs, np.concatenate([one.n_epochs for one in alone]))


def test_weights_apply_to_raw_features(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    probes = _fit(x, labels, folds)
    raw = np.concatenate([x, np.ones((4, N, 1), np.float32)], axis=-1)[:, None, None]
    assert probes.weights is not None
    np.testing.assert_allclose(raw @ probes.weights, probes.logits, atol=SAME_LOGITS)


def test_units_do_not_matter_and_content_does(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    first = _fit(x, labels, folds)
    scaled = _fit(x.astype(np.float64) * 1000 + 7, labels, folds)
    np.testing.assert_array_equal(scaled.n_epochs, first.n_epochs)
    np.testing.assert_allclose(scaled.logits, first.logits, atol=SAME_LOGITS)
    other = _fit(x[:, ::-1], labels, folds)
    assert np.abs(other.logits - first.logits).max() > 1


def test_a_clear_representation_is_read_and_noise_is_not(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    predicted = _fit(x, labels, folds).logits[:, 0, 0].argmax(-1)
    right = (predicted == labels[0])[:, folds.test(0)].mean(axis=1)
    assert right[3] > 0.9
    assert right[0] < 0.5


def test_test_clips_teach_nothing(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    folds = replace(folds, names=["a"], parts=folds.parts[:1])
    first = _fit(x, labels, folds)
    changed, hidden = x.copy(), labels.copy()
    changed[:, folds.test(0)] += 100
    hidden[:, folds.test(0)] = -1
    second = _fit(changed, hidden, folds)
    np.testing.assert_array_equal(second.weights, first.weights)
    np.testing.assert_array_equal(second.n_epochs, first.n_epochs)


def test_shuffled_labels_of_one_seed_leave_the_others(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    first, second = _fit(x, labels, folds), _fit(x, labels[[0, 1, 0]], folds)
    np.testing.assert_array_equal(second.logits[:, :, :2], first.logits[:, :, :2])
    assert np.abs(second.logits[:, :, 2] - first.logits[:, :, 2]).max() > 0.1


def test_read_only_and_half_precision_features_do(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    half = x.astype(np.float16)
    half.setflags(write=False)
    np.testing.assert_array_equal(
        _fit(half, labels, folds).n_epochs, _fit(half.astype(np.float32), labels, folds).n_epochs
    )


def test_one_compilation_serves_whatever_is_given(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    """Compiled code is compiled anew for every order of an array in memory: seconds that nobody expects."""
    from ser_probe.analysis.probes.softmax_loop import train_linear

    first = _fit(x, np.tile(labels[0], (3, 1)), folds)
    n_compiled = len(train_linear.signatures)
    for given in (np.broadcast_to(labels[0], (3, N)), np.asfortranarray(np.tile(labels[0], (3, 1)).astype(np.int16))):
        again = _fit(np.asfortranarray(x), given, folds)
        np.testing.assert_array_equal(again.logits, first.logits)
    assert len(train_linear.signatures) == n_compiled


def test_progress_counts_representations_and_folds(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    class Counter:
        done = 0.0

        def start(self, what: str, total: float, unit: str) -> None: ...
        def finish(self) -> None: ...
        def say(self, message: str) -> None: ...
        def advance(self, amount: float = 1, **fields: object) -> None:
            self.done += amount

    counter = Counter()
    fit_softmax(x, labels, folds, n_classes=C, seeds=SEEDS, progress=counter)
    assert counter.done == pytest.approx(len(x) * len(folds.names))


def test_a_fold_without_validation_is_refused(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    parts = np.where(folds.parts == VALIDATION, TRAIN, folds.parts)
    with pytest.raises(AnalysisError, match="no validation clips"):
        _fit(x, labels, replace(folds, parts=parts))
