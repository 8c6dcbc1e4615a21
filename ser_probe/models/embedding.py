"""From clips to pooled embeddings: one forward pass, every layer, pooled on the device as it appears."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ser_probe.models.backbone import Backbone
from ser_probe.models.chunks import Chunk
from ser_probe.models.forward import run_encoder, run_front_end
from ser_probe.models.frames import Frames
from ser_probe.models.pooling import Pooling, parse_pooling
from ser_probe.models.precision import arithmetic


def pooled_layers(backbone: Backbone, clips: Sequence[np.ndarray], pooling: str = "mean") -> np.ndarray:
    """Return the pooled embedding of every stored layer, from one forward pass in exact float32.

    Args:
        backbone: The backbone; it is run in evaluation mode.
        clips: Samples, each float32 of shape [n].
        pooling: A name that `parse_pooling` knows.

    Returns:
        float32 of shape [L, B, D'], layers in the order of `backbone.layer_names`; of `frames` [L, F, D].
    """
    with evaluating([backbone]), arithmetic("fp32", backbone.device):
        return pool_layers(backbone, run_front_end(backbone, clips), [parse_pooling(pooling)])[0].cpu().numpy()


def pool_layers(
    backbone: Backbone, frames: Frames, poolings: Sequence[Pooling], speech: Tensor | None = None
) -> list[Tensor]:
    """Return the embeddings of every stored layer from the front end's output, in several poolings at once.

    Args:
        backbone: The backbone; the caller puts it in evaluation mode and forbids gradients (`evaluating`).
        frames: The front end's output.
        poolings: The poolings; one forward pass serves all.
        speech: Which frames a speech pooling takes, bool of shape [B, T]; None: all valid frames.

    Returns:
        One tensor a pooling, on the backbone's device: [L, B, D'], of a ragged one [L, F, D].
    """
    pooled: list[dict[str, Tensor]] = [{} for _ in poolings]

    def keep(name: str, hidden: Tensor, mask: Tensor) -> None:
        for pooling, layers_of in zip(poolings, pooled, strict=True):
            spoken = mask & speech if pooling.speech and speech is not None else mask
            layers_of[name] = pooling(hidden, spoken)

    run_encoder(backbone, frames.to(backbone.device), keep)
    return [torch.stack([layers_of[name] for name in backbone.layer_names]) for layers_of in pooled]


def pool_chunks(
    backbone: Backbone,
    samples: np.ndarray,
    chunks: Sequence[Chunk],
    poolings: Sequence[Pooling],
    speech: np.ndarray | None = None,
    *,
    run: Callable[[Sequence[Chunk], Callable[[Sequence[Chunk]], np.ndarray]], Iterator[np.ndarray]],
) -> list[Tensor]:
    """Return the embeddings of one long clip, every layer, from chunks that go through the model as clips.

    The frames of all layers are held in the host's memory: 3 GB for ten minutes of a large model.

    Args:
        backbone: As in `pool_layers`.
        samples: The clip, float32 of shape [n].
        chunks: As `cut_clip` cut it.
        poolings: The poolings.
        speech: Which frames of the clip are speech, bool of shape [T].
        run: Takes the chunks and a function over some of them, and yields its results in order; it decides how many
            go together, by memory.

    Returns:
        As `pool_layers`, of one clip, in the host's memory.
    """

    def forward(part: Sequence[Chunk]) -> np.ndarray:
        frames = run_front_end(backbone, [samples[chunk.start : chunk.stop] for chunk in part])
        hidden = {}

        def keep(name: str, states: Tensor, _mask: Tensor) -> None:
            kept = [row[chunk.keep_from : chunk.keep_to] for row, chunk in zip(states, part, strict=True)]
            hidden[name] = torch.cat(kept).float().cpu().numpy()

        run_encoder(backbone, frames.to(backbone.device), keep)
        return np.stack([hidden[name] for name in backbone.layer_names])

    layers = torch.from_numpy(np.concatenate(list(run(chunks, forward)), axis=1))
    all_frames = torch.ones(1, layers.shape[1], dtype=torch.bool)
    spoken = all_frames if speech is None else torch.from_numpy(speech)[None]
    return [
        torch.stack([pooling(layer[None], spoken if pooling.speech else all_frames) for layer in layers])
        for pooling in poolings
    ]


@contextlib.contextmanager
def evaluating(backbones: Sequence[Backbone]) -> Iterator[None]:
    """Run models in evaluation mode without gradients, and restore their mode: training may be under way."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        for backbone in backbones:
            stack.callback(backbone.model.train, backbone.model.training)
            backbone.model.eval()
        yield
