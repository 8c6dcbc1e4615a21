"""The compiled pieces equal numpy's and torch's, and pads stay silent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ser_probe.analysis.probes import softmax_loop as loop
from ser_probe.analysis.probes.probe_state import loop_settings, new_layer, new_state
from ser_probe.analysis.probes.side_by_side import outputs_of
from ser_probe.analysis.probes.training import ProbeOptions, initial_weights

# Sums of some hundred float32 terms of order 1, in another order.
ROUNDING = 1e-4


@pytest.mark.parametrize("n_outputs", [1, 2, 3, 7])
@pytest.mark.parametrize("n_clips", [1, 9, 12])
def test_outputs_are_the_product(rng: np.random.Generator, n_outputs: int, n_clips: int) -> None:
    z = np.zeros((n_clips, 48), np.float32)
    z[:, :40] = rng.standard_normal((n_clips, 40))
    weights = rng.standard_normal((40, n_outputs)).astype(np.float32)
    layer = new_layer(weights)
    np.testing.assert_allclose(outputs_of(z, layer.weights, n_outputs), z[:, :40] @ weights, atol=ROUNDING)
    assert (outputs_of(z, layer.weights, len(layer.weights))[:, n_outputs:] == 0).all()


@pytest.mark.parametrize(("n_classes", "batch_size"), [(2, 5), (6, 16), (7, 64)])
def test_an_epoch_is_the_one_of_torch(rng: np.random.Generator, n_classes: int, batch_size: int) -> None:
    """With batches that do not fill a tile, that leave a smaller last one, and that are larger than the set."""
    z = np.zeros((50, 32), np.float32)
    z[:, :20], z[:, 20] = rng.standard_normal((50, 20)), 1
    labels, validation = rng.integers(0, n_classes, 50), np.arange(37, 50)
    start, order = initial_weights(0, 20, n_classes), rng.permutation(37)
    layer, state = new_layer(start.numpy()), new_state()
    settings = loop_settings(ProbeOptions(batch_size=batch_size), n_classes, 20)
    assert not loop.train_linear(settings, layer, state, z, labels, validation, order[None])
    weights = start.clone().requires_grad_()
    adam, x, y = torch.optim.Adam([weights], lr=1e-2), torch.from_numpy(z[:, :21]), torch.from_numpy(labels)
    for batch in torch.from_numpy(order).split(batch_size):
        adam.zero_grad()
        torch.nn.functional.cross_entropy(x[batch] @ weights, y[batch]).backward()
        adam.step()
    loss = float(torch.nn.functional.cross_entropy(x[37:] @ weights, y[37:]).detach())
    np.testing.assert_allclose(layer.weights[:n_classes, :21].T, weights.detach().numpy(), atol=ROUNDING)
    np.testing.assert_array_equal(layer.best, layer.weights)
    assert state.losses.tolist() == pytest.approx([loss, loss], abs=1e-5)
    assert state.counts.tolist() == [1, 0, -(-37 // batch_size)]
    # The pads never learn: neither classes that are none, nor width that is none.
    assert (layer.weights[n_classes:] == 0).all()
    assert (layer.weights[:, 21:] == 0).all()


def test_blocks_of_orders_change_nothing(rng: np.random.Generator) -> None:
    z = np.zeros((40, 16), np.float32)
    z[:, :10], z[:, 10] = rng.standard_normal((40, 10)), 1
    labels, orders = rng.integers(0, 3, 40), np.stack([rng.permutation(30) for _ in range(6)])
    weights = []
    for size in (1, 4, 6):
        layer, state = new_layer(initial_weights(0, 10, 3).numpy()), new_state()
        for first in range(0, 6, size):
            settings = loop_settings(ProbeOptions(), 3, 10)
            loop.train_linear(settings, layer, state, z, labels, np.arange(30, 40), orders[first : first + size])
        weights.append(layer.weights)
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_array_equal(weights[0], weights[2])
