"""Probes with one hidden layer equal torch's own layers and optimiser, and read what a linear probe cannot."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from ser_probe.analysis import threads
from ser_probe.analysis.probes.families import TEST, TRAIN, VALIDATION, ClassProbes, Folds
from ser_probe.analysis.probes.mlp import MLP_OPTIONS, fit_mlp
from ser_probe.analysis.probes.softmax import fit_softmax
from ser_probe.analysis.probes.training import ProbeOptions, standardise
from ser_probe.errors import AnalysisError
from tests.analysis.probes.oracle_torch import assert_same_probe, mlp_probe, train_alone

N, D, C, H = 120, 13, 3, 10
SEEDS = (0, 5)
# Two orders of summation in float32, over some hundred Adam steps.
SAME_LOGITS = 2e-3
FAST = replace(MLP_OPTIONS, learning_rate=1e-2)


@pytest.fixture
def folds(rng: np.random.Generator) -> Folds:
    parts = rng.permutation(np.repeat([TRAIN, VALIDATION, TEST], [75, 25, 20])).astype(np.int8)
    return Folds(["only"], parts[None])


@pytest.fixture
def labels(rng: np.random.Generator) -> np.ndarray:
    y = rng.integers(0, C, N)
    return np.stack([y, rng.permutation(y)])


@pytest.fixture
def x(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    clear = np.array([0.2, 1])[:, None, None]
    return (3 * (clear * rng.standard_normal((C, D))[labels[0]] + rng.standard_normal((2, N, D))) + 1).astype(
        np.float32
    )


def _fit(x: np.ndarray, labels: np.ndarray, folds: Folds, options: ProbeOptions = FAST, **given: float) -> ClassProbes:
    return fit_mlp(x, labels, folds, n_classes=C, seeds=SEEDS, **{"hidden": H, "options": options, **given})


@pytest.mark.parametrize("weight_decay", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("options", [FAST, replace(FAST, batch_size=7, max_epochs=4)])
def test_each_probe_is_the_one_of_torch(
    x: np.ndarray, labels: np.ndarray, folds: Folds, weight_decay: float, options: ProbeOptions
) -> None:
    probes = _fit(x, labels, folds, options, weight_decay=weight_decay)
    assert (probes.strength == weight_decay).all()
    for r, s in product(range(2), range(2)):
        z, probe = standardise(x[r], folds.train(0)), mlp_probe(SEEDS[s], D, C, H)
        alone = train_alone(probe, z, labels[s], folds, 0, SEEDS[s], options, weight_decay=weight_decay)
        assert_same_probe(probes, (r, 0, s), alone, atol=SAME_LOGITS)


def test_threads_and_neighbours_change_no_bit(
    x: np.ndarray, labels: np.ndarray, folds: Folds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_n_cores", lambda: 1)
    alone = np.concatenate([_fit(x[r : r + 1], labels, folds).logits for r in range(2)])
    monkeypatch.setattr(threads, "_n_cores", lambda: 3)
    np.testing.assert_array_equal(_fit(x, labels, folds).logits, alone)


def test_a_hidden_layer_reads_what_a_linear_probe_cannot(rng: np.random.Generator) -> None:
    """Whether two features have the same sign: no line parts it."""
    x = rng.standard_normal((1, 300, 4)).astype(np.float32)
    y = (x[0, :, 0] * x[0, :, 1] > 0).astype(np.int64)
    folds = Folds(["only"], np.repeat([TRAIN, VALIDATION, TEST], [180, 60, 60]).astype(np.int8)[None])
    right = {}
    for name, fit in {"linear": fit_softmax, "mlp": fit_mlp}.items():
        options = ProbeOptions(learning_rate=1e-2, patience=10)
        probes = fit(x, y[None], folds, n_classes=2, seeds=[0], options=options)
        right[name] = (probes.logits[0, 0, 0].argmax(-1) == y)[folds.test(0)].mean()
    assert right["mlp"] > 0.9
    assert right["linear"] < 0.7


def test_decay_shrinks_what_a_probe_says(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    free, held = (_fit(x, labels, folds, weight_decay=decay) for decay in (0.0, 10.0))
    assert np.abs(held.logits).mean() < 0.5 * np.abs(free.logits).mean()


def test_no_hidden_unit_is_refused(x: np.ndarray, labels: np.ndarray, folds: Folds) -> None:
    with pytest.raises(AnalysisError, match="needs units"):
        _fit(x, labels, folds, hidden=0)
