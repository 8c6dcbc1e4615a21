"""Encoders: from frames to hidden states, so that padding never reaches a clip.

Two things make a padded batch exact: padded frames are zero wherever a convolution could carry them into a clip, and
they are never attended to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from ser_probe.models.frames import Frames


def run_masked_transformer(
    model: Any, frames: Frames, *, spec_augment: bool = False, convolved: Sequence[nn.Module] = ()
) -> Tensor:
    """Run projection, positions and blocks with padded frames zeroed and masked, as most families do.

    Args:
        model: The transformers model; its training mode decides about dropout and layer drop.
        frames: The front end's output.
        spec_augment: Whether to mask time and feature stretches as the model's own config says (training only).
        convolved: Modules whose outputs, [B, D, T], a convolution takes next: padded frames are kept zero there too.

    Returns:
        The encoder's output, shape [B, T, D]. Padded frames are arbitrary.
    """
    mask = frames.mask
    projected = model.feature_projection(frames.features)
    hidden = projected[0] if isinstance(projected, tuple) else projected
    # transformers refuses a batch that is shorter than one masked stretch; such short clips go unmasked.
    if spec_augment and model.training and hidden.shape[1] >= model.config.mask_time_length:
        hidden = model._mask_hidden_states(hidden, attention_mask=mask)
    # The encoder writes zeros into padded frames in place; a leaf or a view of our input must not be touched. In the
    # weights' type, because under autocast the projection gives half precision, and the residual stream would keep it.
    hidden = hidden.masked_fill(~mask[..., None], 0.0).to(next(model.parameters()).dtype)
    with _padding_kept_zero(convolved, mask):
        return model.encoder(hidden, attention_mask=mask)[0]


def run_with_batch_norm(model: Any, frames: Frames, *, spec_augment: bool = False) -> Tensor:
    """Run a HuBERT: some (mHuBERT at 25 Hz) have a batch norm before the positional convolution, which shifts zeros.

    It runs with its stored statistics in training too: those of a batch would make a clip depend on the others.
    """
    batch_norm = getattr(model.encoder.pos_conv_embed, "batch_norm", None)
    if batch_norm is None:
        return run_masked_transformer(model, frames, spec_augment=spec_augment)
    batch_norm.eval()
    return run_masked_transformer(model, frames, spec_augment=spec_augment, convolved=[batch_norm])


def run_with_positional_stack(model: Any, frames: Frames, *, spec_augment: bool = False) -> Tensor:
    """Run a data2vec: five convolutions in a row make its positions, so that padding must be zeroed after each."""
    return run_masked_transformer(
        model, frames, spec_augment=spec_augment, convolved=list(model.encoder.pos_conv_embed.layers)
    )


def run_unmasked_transformer(model: Any, frames: Frames, *, spec_augment: bool = False) -> Tensor:
    """Run the encoder of Whisper from its positions on. It attends to the silence after a clip, as in its training.

    Args:
        model: The encoder.
        frames: The front end's output, of the model's full length.
        spec_augment: Not used; this family is not fine-tuned.
    """
    hidden = frames.features + model.embed_positions.weight
    hidden = nn.functional.dropout(hidden, p=model.dropout, training=model.training)
    for block in model.layers:
        hidden = block(hidden, None)
    return model.layer_norm(hidden)


@contextlib.contextmanager
def _padding_kept_zero(modules: Sequence[nn.Module], mask: Tensor) -> Iterator[None]:
    handles = [
        module.register_forward_hook(lambda _module, _args, output: output.masked_fill(~mask[:, None], 0.0))
        for module in modules
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
