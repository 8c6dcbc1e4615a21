"""The batch-invariant forward pass: a clip's embedding does not depend on what it was batched with.

Stock padded batches are wrong by up to 150 % (relative) for the models of this field. Four things make a
batch exact, and leaving any of them out costs 0.01 to 0.6: each clip is normalised over its own samples; the group norm
of the front end sees valid frames only; padded frames are zero before the positional convolution and are
never attended to; poolings skip them. Frame counts come from the model's own formula. `families` has the parts that
differ by family; this module runs them and captures the layers.

The layer contract: layer 0 is what the first block receives, layer i the residual stream after block i,
`final` what a head sees. They are captured with hooks on the blocks, because what `output_hidden_states`
returns has changed between transformers releases.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ser_probe.models.backbone import Backbone
from ser_probe.models.frames import Frames
from ser_probe.models.inputs import refuse_length

LayerCallback = Callable[[str, Tensor, Tensor], None]


def run_front_end(backbone: Backbone, clips: Sequence[np.ndarray]) -> Frames:
    """Run clips of differing lengths through the front end.

    Args:
        backbone: The backbone; in training mode gradients flow where its front end is not frozen.
        clips: Samples at `backbone.input.sample_rate_hz`, each float32 of shape [n].

    Raises:
        BackboneError: If a clip is too short for one frame, or longer than what the model hears.
    """
    for position, clip in enumerate(clips):
        where = f"clip {position} of the batch"
        refuse_length(len(clip), backbone.min_samples, backbone.max_samples, where=where)
    # The input does not depend on the precision of the model.
    with torch.autocast("cpu", enabled=False):
        prepared = [backbone.input.prepare(clip) for clip in clips]
    return run_prepared(backbone, prepared)


def run_prepared(backbone: Backbone, prepared: Sequence[np.ndarray]) -> Frames:
    """Run the front end over clips that `backbone.input.prepare` has been called for.

    Args:
        backbone: The backbone.
        prepared: The input of each clip, float32: waveforms [n], or log-mel features [T, M].

    Raises:
        BackboneError: If a waveform is too short for one frame.
    """
    return backbone.facts.run_front_end(backbone.model, prepared)


def run_encoder(
    backbone: Backbone, frames: Frames, on_layer: LayerCallback | None = None, *, spec_augment: bool = False
) -> Tensor:
    """Run the projection and the transformer over a batch, the same in extraction and in training.

    Args:
        backbone: The backbone; its training mode decides about dropout and layer drop.
        frames: The front end's output.
        on_layer: Called once a layer, in order, with the layer's name, its hidden states [B, T, D] and the mask
            [B, T]. States of padded frames are arbitrary.
        spec_augment: Whether to mask time and feature stretches as the model's own config says (training only).

    Returns:
        Layer `final`: shape [B, T, D].
    """
    mask = frames.mask
    with _layers_captured(backbone, mask, on_layer):
        final = backbone.facts.run_encoder(backbone.model, frames, spec_augment=spec_augment)
    if on_layer and backbone.pre_norm:
        on_layer("final", final, mask)
    return final


@contextlib.contextmanager
def _layers_captured(backbone: Backbone, mask: Tensor, on_layer: LayerCallback | None) -> Iterator[None]:
    """Call back with layers 0 to N as the blocks are run."""
    handles = [] if on_layer is None else _hook_blocks(backbone.facts.blocks(backbone.model), mask, on_layer)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook_blocks(blocks: nn.ModuleList, mask: Tensor, on_layer: LayerCallback) -> list[Any]:
    def before_first(_module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        on_layer("0", args[0] if args else kwargs["hidden_states"], mask)

    def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            on_layer(name, output[0] if isinstance(output, tuple) else output, mask)

        return hook

    handles: list[Any] = [blocks[0].register_forward_pre_hook(before_first, with_kwargs=True)]
    return handles + [block.register_forward_hook(after(str(index))) for index, block in enumerate(blocks, start=1)]
