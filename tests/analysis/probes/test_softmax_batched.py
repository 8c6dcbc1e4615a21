"""Probes trained together equal probes trained alone, by torch's own layer, loss and optimiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ser_probe.analysis.probes.softmax_batched import train_softmax
from ser_probe.analysis.probes.stacked import Clips, Trained
from ser_probe.analysis.probes.training import ProbeOptions, epoch_orders, initial_weights

N_CLASSES = 3
SEEDS = (0, 1, 7)
# Two orders of summation in float32, over some hundred Adam steps of 1e-2 each.
SAME_WEIGHTS = 2e-4


N_TRAIN, N_VALIDATION = 90, 40


@pytest.fixture
def clips(rng: np.random.Generator) -> Clips:
    y = rng.integers(0, N_CLASSES, N_TRAIN + N_VALIDATION)
    # Four representations from noise to nearly separable, so that the probes stop at different epochs.
    clear = np.array([0, 0.3, 1, 2])[:, None, None]
    x = clear * rng.standard_normal((N_CLASSES, 12))[y] + rng.standard_normal((4, len(y), 12))
    shuffled = np.concatenate([rng.permutation(y[:N_TRAIN]), y[N_TRAIN:]])
    train, validation = torch.arange(N_TRAIN), torch.arange(N_TRAIN, len(y))
    return Clips(torch.tensor(x, dtype=torch.float32), torch.tensor(np.stack([y, y, shuffled])), train, validation)


def _fit(clips: Clips, at_once: int | None = None, **options: float) -> Trained:
    return train_softmax(clips, SEEDS, ProbeOptions(**options), n_classes=N_CLASSES, at_once=at_once)


def _train_alone(clips: Clips, r: int, s: int, options: ProbeOptions) -> tuple[np.ndarray, int, float]:
    """Return weights with the bias below, epochs and lowest validation loss of one probe, the usual torch way."""
    x, y = clips.z[r, :N_TRAIN], clips.labels[s, :N_TRAIN]
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
            logits = layer(clips.z[r, N_TRAIN:])
            loss = float(torch.nn.functional.cross_entropy(logits, clips.labels[s, N_TRAIN:]))
        if loss < lowest:
            lowest, best = loss, torch.cat([layer.weight.data.T, layer.bias.data[None]]).clone()
        waited = 0 if loss < to_beat - options.min_delta else waited + 1
        to_beat = loss if waited == 0 else to_beat
        if waited == options.patience or epoch == options.max_epochs:
            return best.numpy(), epoch, lowest
    raise AssertionError("epochs never end")


@pytest.mark.parametrize("max_epochs", [1000, 4])
def test_together_equals_alone(clips: Clips, max_epochs: int) -> None:
    fitted = _fit(clips, max_epochs=max_epochs)
    for r, s in [(0, 0), (0, 1), (1, 2), (2, 0), (2, 1), (3, 2)]:
        weights, epochs, loss = _train_alone(clips, r, s, ProbeOptions(max_epochs=max_epochs))
        assert fitted.n_epochs[r, s] == epochs
        assert float(fitted.lowest[r, s]) == pytest.approx(loss, abs=1e-5)
        np.testing.assert_allclose(fitted.parameters[0][r, s], weights, atol=SAME_WEIGHTS)
    assert len(np.unique(fitted.n_epochs)) > 1 or max_epochs == 4


@pytest.mark.parametrize("at_once", [1, 5])
def test_chunks_change_nothing(clips: Clips, at_once: int) -> None:
    whole, chunked = _fit(clips), _fit(clips, at_once)
    np.testing.assert_array_equal(chunked.n_epochs, whole.n_epochs)
    np.testing.assert_allclose(chunked.parameters[0], whole.parameters[0], atol=SAME_WEIGHTS)


def test_a_seed_repeats_and_another_differs(clips: Clips) -> None:
    first, again = _fit(clips), _fit(clips)
    np.testing.assert_array_equal(first.parameters[0], again.parameters[0])
    assert np.abs((first.parameters[0][:, 0] - first.parameters[0][:, 1]).numpy()).max() > 0.01


def test_patience_counts_epochs_without_a_fall_of_min_delta(clips: Clips) -> None:
    # No fall is ever large enough after the first epoch, which sets the mark.
    assert (_fit(clips, min_delta=100, patience=3).n_epochs == 4).all()


def test_longer_training_finds_the_convex_optimum(clips: Clips) -> None:
    """The same loss as scikit-learn's unregularised softmax regression, on data that are not separable."""
    from sklearn.linear_model import LogisticRegression

    train = torch.arange(N_TRAIN)
    noise = Clips(clips.z[:1], clips.labels, train, train)
    fitted = _fit(noise, patience=40, min_delta=1e-5, batch_size=90, max_epochs=3000)
    x, y = noise.z[0, :N_TRAIN].numpy(), noise.labels[0, :N_TRAIN].numpy()
    exact = LogisticRegression(C=np.inf, max_iter=2000, tol=1e-8).fit(x, y)
    optimum = -np.log(exact.predict_proba(x)[np.arange(len(y)), y]).mean()
    assert float(fitted.lowest[0, 0]) == pytest.approx(optimum, abs=1e-4)
