"""What the compiled families are checked by: a probe at a time, with torch's own layers, gradients and optimiser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.analysis.probes.mlp import initial_hidden_weights
from ser_probe.analysis.probes.training import ProbeOptions, epoch_orders, initial_weights


@dataclass(frozen=True)
class TrainedAlone:
    """A probe of the epoch with the lowest validation loss.

    Args:
        logits: Of all clips [N, C].
        n_epochs: Epochs trained.
        state: The parameters, by name.
    """

    logits: np.ndarray
    n_epochs: int
    state: dict[str, torch.Tensor]


def linear(start: torch.Tensor) -> torch.nn.Linear:
    """Return a layer that starts from weights [D + 1, C] with the bias in the last row."""
    layer = torch.nn.Linear(len(start) - 1, start.shape[1])
    layer.load_state_dict({"weight": start[:-1].T, "bias": start[-1]})
    return layer


def softmax_probe(seed: int, width: int, n_classes: int) -> torch.nn.Module:
    return linear(initial_weights(seed, width, n_classes))


def mlp_probe(seed: int, width: int, n_classes: int, hidden: int) -> torch.nn.Module:
    first, last = initial_hidden_weights(seed, width, hidden), initial_weights(seed, hidden, n_classes)
    return torch.nn.Sequential(linear(first), torch.nn.ReLU(), linear(last))


class LayerSumProbe(torch.nn.Module):
    """A parameter per layer through a softmax, and a linear layer; takes [N, L, D]."""

    def __init__(self, seed: int, n_layers: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.shares = torch.nn.Parameter(torch.zeros(n_layers))
        self.linear = linear(initial_weights(seed, width, n_classes))

    def forward(self, layers: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.einsum("l,bld->bd", self.shares.softmax(dim=0), layers))


def train_alone(
    probe: torch.nn.Module,
    z: np.ndarray,
    labels: np.ndarray,
    folds: Folds,
    fold: int,
    seed: int,
    options: ProbeOptions,
    *,
    weight_decay: float = 0.0,
) -> TrainedAlone:
    """Train a probe on standardised features [N, ...] of a fold; weights decay and biases do not."""
    x, y = torch.from_numpy(z), torch.from_numpy(labels)
    train, validation = torch.from_numpy(folds.train(fold)), torch.from_numpy(folds.validation(fold))
    decaying = {name: name.endswith("weight") for name, _ in probe.named_parameters()}
    groups = [
        {"params": [p for name, p in probe.named_parameters() if decaying[name] == decays], "weight_decay": strength}
        for decays, strength in ((True, weight_decay), (False, 0.0))
    ]
    adam = torch.optim.AdamW(groups, lr=options.learning_rate)
    lowest, to_beat, waited, best = np.inf, np.inf, 0, {}
    for epoch, order in enumerate(epoch_orders(seed, len(train)), start=1):
        for batch in train[order].split(options.batch_size):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(probe(x[batch]), y[batch]).backward()
            adam.step()
        with torch.no_grad():
            loss = float(torch.nn.functional.cross_entropy(probe(x[validation]), y[validation]))
        if loss < lowest:
            lowest, best = loss, {name: value.clone() for name, value in probe.state_dict().items()}
        waited = 0 if loss < to_beat - options.min_delta else waited + 1
        to_beat = loss if waited == 0 else to_beat
        if waited == options.patience or epoch == options.max_epochs:
            probe.load_state_dict(best)
            return TrainedAlone(probe(x).detach().numpy(), epoch, best)
    raise AssertionError("epochs never end")


def assert_same_probe(probes: ClassProbes, place: tuple[int, int, int], alone: TrainedAlone, *, atol: float) -> None:
    """Check the probe of a representation, fold and seed: the same epoch, logits and answers."""
    assert probes.n_epochs[place] == alone.n_epochs
    np.testing.assert_allclose(probes.logits[place], alone.logits, atol=atol)
    np.testing.assert_array_equal(probes.logits[place].argmax(-1), alone.logits.argmax(-1))
