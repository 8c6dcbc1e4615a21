"""Probes trained together equal probes trained alone, by torch's own layer, loss and optimiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ser_probe.analysis.probes.softmax import (
    FittedProbes,
    ProbeOptions,
    epoch_orders,
    fit_softmax_probes,
    initial_weights,
    standardise,
)

N_CLASSES = 3
SEEDS = (0, 1, 7)
# Two orders of summation in float32, over some hundred Adam steps of 1e-2 each.
SAME_WEIGHTS = 2e-4


@pytest.fixture
def data(rng: np.random.Generator) -> dict[str, torch.Tensor]:
    centres = rng.standard_normal((N_CLASSES, 12))
    y, y_validation = rng.integers(0, N_CLASSES, 90), rng.integers(0, N_CLASSES, 40)
    # Four representations from noise to nearly separable, so that the probes stop at different epochs.
    clear = np.array([0, 0.3, 1, 2])[:, None, None]
    x = clear * centres[y] + rng.standard_normal((4, 90, 12))
    validation = clear * centres[y_validation] + rng.standard_normal((4, 40, 12))
    return {
        "train": torch.tensor(x, dtype=torch.float32),
        "train_labels": torch.tensor(np.stack([y, y, rng.permutation(y)])),
        "validation": torch.tensor(validation, dtype=torch.float32),
        "validation_labels": torch.tensor(y_validation),
    }


def _fit(data: dict[str, torch.Tensor], chunk_bytes: int = 2**22, **options: float) -> FittedProbes:
    return fit_softmax_probes(
        **data, n_classes=N_CLASSES, seeds=SEEDS, options=ProbeOptions(**options), chunk_bytes=chunk_bytes
    )


def _train_alone(data: dict[str, torch.Tensor], r: int, s: int, options: ProbeOptions) -> tuple[np.ndarray, int, float]:
    """Return weights with the bias below, epochs and lowest validation loss of one probe, the usual torch way."""
    x, y = data["train"][r], data["train_labels"][s]
    layer = torch.nn.Linear(x.shape[1], N_CLASSES)
    start = initial_weights(SEEDS[s], x.shape[1], N_CLASSES)
    layer.weight.data, layer.bias.data = start[:-1].T.contiguous(), start[-1].clone()
    adam = torch.optim.Adam(layer.parameters(), lr=options.learning_rate)
    lowest, to_beat, waited, best = np.inf, np.inf, 0, start
    for epoch, order in enumerate(epoch_orders(SEEDS[s], len(x)), start=1):
        for batch in order.split(options.batch_size):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[batch]), y[batch]).backward()
            adam.step()
        with torch.no_grad():
            logits = layer(data["validation"][r])
            loss = float(torch.nn.functional.cross_entropy(logits, data["validation_labels"]))
        if loss < lowest:
            lowest, best = loss, torch.cat([layer.weight.data.T, layer.bias.data[None]]).clone()
        waited = 0 if loss < to_beat - options.min_delta else waited + 1
        to_beat = loss if waited == 0 else to_beat
        if waited == options.patience or epoch == options.max_epochs:
            return best.numpy(), epoch, lowest
    raise AssertionError("epochs never end")


@pytest.mark.parametrize("max_epochs", [1000, 4])
def test_together_equals_alone(data: dict[str, torch.Tensor], max_epochs: int) -> None:
    fitted = _fit(data, max_epochs=max_epochs)
    for r in range(4):
        for s in range(len(SEEDS)):
            weights, epochs, loss = _train_alone(data, r, s, ProbeOptions(max_epochs=max_epochs))
            assert fitted.n_epochs[r, s] == epochs
            assert fitted.validation_loss[r, s] == pytest.approx(loss, abs=1e-5)
            np.testing.assert_allclose(fitted.weights[r, s], weights, atol=SAME_WEIGHTS)
    assert len(np.unique(fitted.n_epochs)) > 1 or max_epochs == 4


@pytest.mark.parametrize("chunk_bytes", [1, 3000])
def test_chunks_change_nothing(data: dict[str, torch.Tensor], chunk_bytes: int) -> None:
    whole, chunked = _fit(data), _fit(data, chunk_bytes)
    np.testing.assert_array_equal(chunked.n_epochs, whole.n_epochs)
    np.testing.assert_allclose(chunked.weights, whole.weights, atol=SAME_WEIGHTS)


def test_a_seed_repeats_and_another_differs(data: dict[str, torch.Tensor]) -> None:
    first, again = _fit(data), _fit(data)
    np.testing.assert_array_equal(first.weights, again.weights)
    assert np.abs(first.weights[:, 0] - first.weights[:, 1]).max() > 0.01


def test_seeds_fix_weights_and_orders_apart() -> None:
    assert torch.equal(initial_weights(3, 5, 2), initial_weights(3, 5, 2))
    assert initial_weights(3, 100, 2).abs().max() <= 0.1
    orders = epoch_orders(3, 8)
    first, second = next(orders), next(orders)
    assert sorted(first.tolist()) == list(range(8))
    assert not torch.equal(first, second)
    assert torch.equal(first, next(epoch_orders(3, 8)))


def test_patience_counts_epochs_without_a_fall_of_min_delta(data: dict[str, torch.Tensor]) -> None:
    # No fall is ever large enough after the first epoch, which sets the mark.
    assert (_fit(data, min_delta=100, patience=3).n_epochs == 4).all()


def test_longer_training_finds_the_convex_optimum(data: dict[str, torch.Tensor]) -> None:
    """The same loss as scikit-learn's unregularised softmax regression, on data that are not separable."""
    from sklearn.linear_model import LogisticRegression

    noise = {**data, "train": data["train"][:1], "validation": data["train"][:1]}
    noise["validation_labels"] = noise["train_labels"][0]
    fitted = _fit(noise, patience=40, min_delta=1e-5, batch_size=90, max_epochs=3000)
    x, y = noise["train"][0].numpy(), noise["train_labels"][0].numpy()
    exact = LogisticRegression(C=np.inf, max_iter=2000, tol=1e-8).fit(x, y)
    optimum = -np.log(exact.predict_proba(x)[np.arange(len(y)), y]).mean()
    assert fitted.validation_loss[0, 0] == pytest.approx(optimum, abs=1e-4)


def test_standardising_uses_the_training_part_only(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 30, 4)) * 5 + 2
    training = np.arange(30) < 20
    z = standardise(x, training)
    np.testing.assert_allclose(z[:, :20].mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(z[:, :20].std(axis=1), 1, atol=1e-6)
    changed = x.copy()
    changed[:, 20:] += 1000
    np.testing.assert_array_equal(standardise(changed, training)[:, :20], z[:, :20])
    changed[:, :20] *= 2
    assert np.abs(standardise(changed, training)[:, 20:] - z[:, 20:]).max() > 1


def test_constant_features_become_zero() -> None:
    x = np.full((1, 6, 2), 0.1, np.float32)
    x[0, :, 1] = np.arange(6)
    x[0, 5, 0] = 7  # varies on a clip that does not train
    z = standardise(x, np.arange(6) < 5)
    assert (z[0, :, 0] == 0).all()
    assert np.isfinite(z).all()
