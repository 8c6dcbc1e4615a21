"""From clips to pooled embeddings: one forward pass, every layer, pooled on the device as it appears."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ser_probe.models.backbone import Backbone
from ser_probe.models.forward import Frames, run_encoder, run_front_end
from ser_probe.models.pooling import POOLINGS


def pooled_layers(backbone: Backbone, clips: Sequence[np.ndarray], pooling: str = "mean") -> np.ndarray:
    """Return the pooled embedding of every stored layer, from one forward pass.

    Args:
        backbone: The backbone; it is run in evaluation mode.
        clips: Samples, each float32 of shape [n].
        pooling: A name of `POOLINGS`.

    Returns:
        float32 of shape [L, B, D], layers in the order of `backbone.layer_names`.
    """
    with torch.inference_mode(), _evaluation(backbone.model):
        return pool_layers(backbone, run_front_end(backbone, clips), pooling)


def pool_layers(backbone: Backbone, frames: Frames, pooling: str = "mean") -> np.ndarray:
    """Return the pooled embedding of every stored layer from the front end's output; see `pooled_layers`."""
    pool = POOLINGS[pooling]
    pooled: dict[str, Tensor] = {}

    def keep(name: str, hidden: Tensor, mask: Tensor) -> None:
        pooled[name] = pool(hidden, mask)

    with torch.inference_mode(), _evaluation(backbone.model):
        run_encoder(backbone, frames.to(backbone.device), keep)
        stacked = torch.stack([pooled[name] for name in backbone.layer_names])
    return stacked.float().cpu().numpy()


@contextlib.contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode, and back into the mode it was in: extraction may happen amid training."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
