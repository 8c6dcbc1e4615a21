"""Probes with one hidden layer equal torch's own layers and optimiser, and read what a linear probe cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ser_probe.analysis import threads
from ser_probe.analysis.probes import mlp
from ser_probe.analysis.probes.families import TEST, TRAIN, VALIDATION, ClassProbes, Folds
from ser_probe.analysis.probes.mlp import MLP_OPTIONS, fit_mlp, initial_parameters
from ser_probe.analysis.probes.softmax import fit_softmax
from ser_probe.analysis.probes.training import ProbeOptions, epoch_orders, standardise
from ser_probe.errors import AnalysisError
from ser_probe.runtime import SILENT

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


def _alone(x: np.ndarray, y: np.ndarray, folds: Folds, s: int, weight_decay: float) -> tuple[np.ndarray, int]:
    """Return logits of all clips and epochs of one probe, the usual torch way."""
    z, labels = torch.from_numpy(standardise(x, folds.train(0))), torch.from_numpy(y)
    net = torch.nn.Sequential(torch.nn.Linear(D, H), torch.nn.ReLU(), torch.nn.Linear(H, C))
    w1, b1, w2, b2 = (parameter[s].clone() for parameter in initial_parameters(SEEDS, D, H, C))
    net.load_state_dict({"0.weight": w1.T, "0.bias": b1, "2.weight": w2.T, "2.bias": b2})
    named = dict(net.named_parameters())
    groups = [
        {"params": [named["0.weight"], named["2.weight"]], "weight_decay": weight_decay},
        {"params": [named["0.bias"], named["2.bias"]], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=FAST.learning_rate)
    lowest, to_beat, waited, logits = np.inf, np.inf, 0, np.empty(0)
    train, validation = torch.from_numpy(folds.train(0)), folds.validation(0)
    for epoch, order in enumerate(epoch_orders(SEEDS[s], len(train)), start=1):
        for batch in train[order].split(FAST.batch_size):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(net(z[batch]), labels[batch]).backward()
            adam.step()
        with torch.no_grad():
            out = net(z)
            loss = float(torch.nn.functional.cross_entropy(out[validation], labels[validation]))
        if loss < lowest:
            lowest, logits = loss, out.numpy()
        waited = 0 if loss < to_beat - FAST.min_delta else waited + 1
        to_beat = loss if waited == 0 else to_beat
        if waited == FAST.patience:
            return logits, epoch
    raise AssertionError("epochs never end")


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_together_equals_alone(x: np.ndarray, labels: np.ndarray, folds: Folds, weight_decay: float) -> None:
    probes = _fit(x, labels, folds, weight_decay=weight_decay)
    assert (probes.strength == weight_decay).all()
    for r in range(2):
        for s in range(2):
            logits, n_epochs = _alone(x[r], labels[s], folds, s, weight_decay)
            assert probes.n_epochs[r, 0, s] == n_epochs
            np.testing.assert_allclose(probes.logits[r, 0, s], logits, atol=SAME_LOGITS)


@pytest.mark.parametrize("options", [FAST, replace(FAST, batch_size=7, max_epochs=4)])
def test_compiled_and_batched_agree(x: np.ndarray, labels: np.ndarray, folds: Folds, options: ProbeOptions) -> None:
    loop = _fit(x, labels, folds, options, weight_decay=0.1)
    given = mlp._Given(x, labels, folds, C, SEEDS, H, 0.1, options, SILENT)
    batched = mlp._fit_batched(given, torch.device("cpu"))
    np.testing.assert_array_equal(loop.n_epochs, batched.n_epochs)
    np.testing.assert_array_equal(loop.strength, batched.strength)
    np.testing.assert_allclose(loop.logits, batched.logits, atol=SAME_LOGITS)
    np.testing.assert_array_equal(loop.logits.argmax(-1), batched.logits.argmax(-1))


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
