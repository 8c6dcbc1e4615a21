"""The layer of the encoder that a head uses, or the weighted sum of all layers.

Layers are used as the encoder makes them: for a single layer no other is kept, and a sum is built step by step. A block
that layer drop skips in training makes no layer: the layer before stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ser_probe.errors import ConfigError
from ser_probe.models.forward import LayerCallback

FINAL, WEIGHTED, WEIGHTED_RAW = "final", "weighted", "weighted-raw"
LAYER_CHOICES = (FINAL, WEIGHTED, WEIGHTED_RAW)
"""The choices besides the number of a layer."""

Encode = Callable[[LayerCallback | None], Tensor]
"""Runs the encoder, calls back with its layers, and returns layer `final`, as `run_encoder` does."""

Pool = Callable[[Tensor], Tensor]


class LayerMixing(nn.Module):
    """Takes one layer, or the weighted sum of all that are stored. Weights begin equal, at 1 / L.

    Args:
        layers: `final`; the number of a layer; `weighted`, the sum under the softmax of learned numbers; or
            `weighted-raw`, the sum under learned weights as they are.
        names: The model's stored layers, `backbone.layer_names`, length L.

    Raises:
        ConfigError: If the model has no such layer.
    """

    def __init__(self, layers: str | int, names: Sequence[str]) -> None:
        super().__init__()
        numbers = [name for name in names if name != FINAL]
        if layers not in LAYER_CHOICES and not (isinstance(layers, int) and str(layers) in numbers):
            raise ConfigError(
                "The model has no such layer for a head to stand on",
                where="layers",
                expected=f"a number from {numbers[0]} to {numbers[-1]}, or {', '.join(LAYER_CHOICES)}",
                found=layers,
            )
        self.layers, self.names = layers, tuple(names)
        if layers == WEIGHTED:
            self.weights = nn.Parameter(torch.zeros(len(names)))
        elif layers == WEIGHTED_RAW:
            self.weights = nn.Parameter(torch.full((len(names),), 1 / len(names)))

    def forward(self, encode: Encode, pool: Pool = lambda frames: frames) -> Tensor:
        """Return what is taken of one run of the encoder.

        Args:
            encode: Runs the encoder.
            pool: What becomes of the frames of a layer, [B, T, D] -> [B, D'], before layers are summed; by default
                they stay.

        Returns:
            Shape [B, T, D]; with `pool` [B, D'].
        """
        if self.layers == FINAL:
            return pool(encode(None))
        if isinstance(self.layers, int):
            return pool(_take(self.layers, encode))
        layer_sum = _LayerSum(self.names, self._applied(), pool)
        return layer_sum.finish(encode(layer_sum))

    def layer_weights(self) -> dict[str, float]:
        """Return the weight of each layer; layers that are not used are left out."""
        if isinstance(self.layers, int) or self.layers == FINAL:
            return {str(self.layers): 1.0}
        return dict(zip(self.names, self._applied().tolist(), strict=True))

    def _applied(self) -> Tensor:
        return self.weights.softmax(dim=0) if self.layers == WEIGHTED else self.weights


def _take(number: int, encode: Encode) -> Tensor:
    """Return the frames of one layer."""
    latest: list[Tensor] = []

    def keep(name: str, hidden: Tensor, _mask: Tensor) -> None:
        if name != FINAL and (int(name) <= number or not latest):
            latest[:] = [hidden]

    final = encode(keep)
    return latest[0] if latest else final


class _LayerSum:
    """The weighted sum of layers, as a callback of one run of the encoder."""

    def __init__(self, names: Sequence[str], weights: Tensor, pool: Pool) -> None:
        self._weights, self._pool = weights, pool
        self._positions = {name: position for position, name in enumerate(names)}
        self._n_summed = 0
        self._latest: Tensor | None = None
        self._total: Tensor | None = None

    def __call__(self, name: str, hidden: Tensor, _mask: Tensor) -> None:
        """Take a layer. It is added once it is known which layers it stands for."""
        self._sum_until(self._positions[name])
        self._latest = self._pool(hidden)

    def finish(self, final: Tensor) -> Tensor:
        """Return the sum.

        Args:
            final: Layer `final`, the only layer if every block was skipped.
        """
        if self._latest is None:
            self._latest = self._pool(final)
        self._sum_until(len(self._weights))
        assert self._total is not None
        return self._total

    def _sum_until(self, position: int) -> None:
        if self._latest is not None:
            term = self._weights[self._n_summed : position].sum() * self._latest
            self._total = term if self._total is None else self._total + term
            self._n_summed = position
