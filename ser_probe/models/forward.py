"""The batch-invariant forward pass: a clip's embedding does not depend on what it was batched with.

Stock padded batches are wrong by up to 150 % (relative) for the models of this field. Four things make
a batch exact, and leaving any one out costs 0.01 to 0.6: each clip is normalised over its own samples; the group norm
of the front end sees valid frames only; padded frames are zero before the positional convolution and are
never attended to; poolings skip them. Frame counts come from the model's own formula.

The layer contract: layer 0 is what the first block receives, layer i the residual stream after block i,
`final` what a head sees. They are captured with hooks on the blocks, because what `output_hidden_states`
returns has changed between transformers releases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ser_probe.errors import BackboneError
from ser_probe.models.backbone import Backbone

LayerCallback = Callable[[str, Tensor, Tensor], None]

_NORMALISE_EPS = 1e-7  # as in transformers' feature extractor


@dataclass(frozen=True)
class Frames:
    """What the convolutional front end makes of a batch of clips.

    Args:
        features: Zero-padded front-end output, shape [B, T, C].
        n_frames: Valid frames per clip, int64 of shape [B].
    """

    features: Tensor
    n_frames: Tensor

    @property
    def mask(self) -> Tensor:
        """True where a frame belongs to its clip, shape [B, T]."""
        steps = torch.arange(self.features.shape[1], device=self.features.device)
        return steps[None, :] < self.n_frames[:, None]

    def to(self, device: torch.device | str) -> Frames:
        """Return the same frames on a device."""
        return Frames(self.features.to(device, non_blocking=True), self.n_frames.to(device, non_blocking=True))


def normalise_clip(samples: np.ndarray) -> np.ndarray:
    """Return a clip with zero mean and unit variance over its own samples, float32 of shape [n]."""
    samples = np.asarray(samples, dtype=np.float32)
    return (samples - samples.mean()) / np.sqrt(samples.var() + _NORMALISE_EPS)


def run_front_end(backbone: Backbone, clips: Sequence[np.ndarray]) -> Frames:
    """Run clips of differing lengths through the convolutional front end.

    On a CPU the clips go one by one (one clip fills the cores, and nothing is spent on padding); on a GPU they
    go as one padded batch whose group norm sees valid frames only. Both give the same values.

    Args:
        backbone: The backbone; in training mode gradients flow where its front end is not frozen.
        clips: Samples at `backbone.input.sample_rate_hz`, each float32 of shape [n].

    Raises:
        BackboneError: If a clip is shorter than one frame: the stock model would take all its padding as valid.
    """
    for position, clip in enumerate(clips):
        if len(clip) < backbone.min_samples:
            raise BackboneError(
                "A clip is too short for one frame",
                where=f"clip {position} of the batch",
                expected=f"at least {backbone.min_samples} samples",
                found=len(clip),
            )
    if backbone.input.normalise:
        clips = [normalise_clip(clip) for clip in clips]
    waves = [torch.as_tensor(np.ascontiguousarray(clip, dtype=np.float32)) for clip in clips]
    if backbone.device.type == "cpu":
        frames = [backbone.model.feature_extractor(wave[None])[0].T for wave in waves]
        return pad_frames(frames)
    return run_front_end_padded(backbone, waves)


def pad_frames(frames: Sequence[Tensor | np.ndarray]) -> Frames:
    """Return front-end outputs of single clips, each [T_i, C], as one zero-padded batch."""
    tensors = [torch.as_tensor(frame) for frame in frames]
    lengths = torch.tensor([len(tensor) for tensor in tensors], device=tensors[0].device)
    return Frames(nn.utils.rnn.pad_sequence(tensors, batch_first=True), lengths)


def run_front_end_padded(backbone: Backbone, waves: Sequence[Tensor]) -> Frames:
    """Run the front end over one padded batch, with statistics over valid frames only.

    Args:
        backbone: The backbone.
        waves: Normalised samples, each float32 of shape [n].
    """
    device = backbone.device
    n_samples = torch.tensor([len(wave) for wave in waves])
    hidden = nn.utils.rnn.pad_sequence(list(waves), batch_first=True).to(device)[:, None]
    for layer in backbone.model.feature_extractor.conv_layers:
        norm = getattr(layer, "layer_norm", None)
        if isinstance(norm, nn.GroupNorm):
            hidden = layer.conv(hidden)
            valid = (n_samples - layer.conv.kernel_size[0]) // layer.conv.stride[0] + 1
            hidden = layer.activation(_masked_group_norm(hidden, valid.to(device), norm))
        else:
            hidden = layer(hidden)
    n_frames = torch.as_tensor(backbone.frame_counts(n_samples.numpy())).to(device)
    frames = Frames(hidden.transpose(1, 2), n_frames)
    return Frames(frames.features * frames.mask[..., None], n_frames)


def _masked_group_norm(hidden: Tensor, n_valid: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Group norm with one group a channel, over the valid part of the time axis only; hidden is [B, C, T]."""
    if norm.num_groups != norm.num_channels:
        raise BackboneError("A group norm that mixes channels is not supported", found=f"{norm.num_groups} groups")
    mask = (torch.arange(hidden.shape[-1], device=hidden.device) < n_valid[:, None])[:, None]
    count = n_valid[:, None, None].to(hidden.dtype)
    mean = (hidden * mask).sum(dim=-1, keepdim=True) / count
    centred = (hidden - mean) * mask
    variance = centred.square().sum(dim=-1, keepdim=True) / count
    return centred * torch.rsqrt(variance + norm.eps) * norm.weight[:, None] + norm.bias[:, None]


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
    model, mask = backbone.model, frames.mask
    projected = model.feature_projection(frames.features)
    hidden = projected[0] if isinstance(projected, tuple) else projected
    # transformers refuses a batch that is shorter than one masked stretch; such short clips go unmasked.
    if spec_augment and model.training and hidden.shape[1] >= model.config.mask_time_length:
        hidden = model._mask_hidden_states(hidden, attention_mask=mask)
    # The encoder writes zeros into padded frames in place; a leaf or a view of our input must not be touched.
    hidden = hidden.masked_fill(~mask[..., None], 0.0)
    handles = _capture_layers(backbone, mask, on_layer) if on_layer else []
    handles += _exact_batch_norm(backbone, mask)
    try:
        final = model.encoder(hidden, attention_mask=mask)[0]
    finally:
        for handle in handles:
            handle.remove()
    if on_layer and backbone.pre_norm:
        on_layer("final", final, mask)
    return final


def _capture_layers(backbone: Backbone, mask: Tensor, on_layer: LayerCallback) -> list[Any]:
    blocks = backbone.model.encoder.layers

    def before_first(_module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        on_layer("0", args[0] if args else kwargs["hidden_states"], mask)

    def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            on_layer(name, output[0] if isinstance(output, tuple) else output, mask)

        return hook

    handles: list[Any] = [blocks[0].register_forward_pre_hook(before_first, with_kwargs=True)]
    handles += [block.register_forward_hook(after(str(index))) for index, block in enumerate(blocks, start=1)]
    return handles


def _exact_batch_norm(backbone: Backbone, mask: Tensor) -> list[Any]:
    """Keep padded frames zero where a batch norm stands before the positional convolution (mHuBERT).

    It runs with its stored statistics in training too: those of a batch would make a clip depend on the others.
    """
    batch_norm = getattr(backbone.model.encoder.pos_conv_embed, "batch_norm", None)
    if batch_norm is None:
        return []
    batch_norm.eval()
    return [batch_norm.register_forward_hook(lambda _module, _args, output: output * mask[:, None])]
