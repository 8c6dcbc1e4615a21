"""Front ends: from the prepared clips to the frames that the encoder takes, the same in any batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ser_probe.errors import BackboneError
from ser_probe.models.frames import Frames, pad_frames
from ser_probe.models.inputs import refuse_length
from ser_probe.models.log_mel import TAIL_FRAMES


def run_convolutions(model: Any, waves: Sequence[np.ndarray]) -> Frames:
    """Run waveforms of differing lengths through the convolutions of the wav2vec 2.0 family.

    On a CPU the clips go one by one (one clip fills the cores, and nothing is spent on padding); on a GPU they
    go as one padded batch whose group norm sees valid frames only. Both give the same values.

    Args:
        model: The transformers model; in training mode gradients flow where its front end is not frozen.
        waves: Prepared samples, each float32 of shape [n].

    Raises:
        BackboneError: If a clip is too short for one frame.
    """
    for position, wave in enumerate(waves):
        refuse_length(len(wave), receptive_field(model.config), None, where=f"clip {position} of the batch")
    tensors = [torch.as_tensor(wave) for wave in waves]
    if next(model.parameters()).device.type == "cpu":
        return pad_frames([model.feature_extractor(wave[None])[0].T for wave in tensors])
    return run_padded_convolutions(model, tensors)


def run_padded_convolutions(model: Any, waves: Sequence[Tensor]) -> Frames:
    """Run the convolutions over one padded batch, with statistics over valid frames only.

    Args:
        model: The transformers model.
        waves: Prepared samples, each float32 of shape [n].
    """
    device = next(model.parameters()).device
    n_samples = torch.tensor([len(wave) for wave in waves])
    padded = nn.utils.rnn.pad_sequence(list(waves), batch_first=True)
    if device.type == "cuda":
        padded = padded.pin_memory()  # only then is the copy asynchronous
    hidden = padded.to(device, non_blocking=True)[:, None]
    for layer in model.feature_extractor.conv_layers:
        norm = getattr(layer, "layer_norm", None)
        if isinstance(norm, nn.GroupNorm):
            hidden = layer.conv(hidden)
            valid = (n_samples - layer.conv.kernel_size[0]) // layer.conv.stride[0] + 1
            hidden = layer.activation(_masked_group_norm(hidden, valid.to(device), norm))
        else:
            hidden = layer(hidden)
    frames = Frames(hidden.transpose(1, 2), model._get_feat_extract_output_lengths(n_samples).to(device))
    return Frames(frames.features * frames.mask[..., None], frames.n_frames)


def _masked_group_norm(hidden: Tensor, n_valid: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Group norm with one group a channel, over the valid part of the time axis only; hidden is [B, C, T]."""
    if norm.num_groups != norm.num_channels:
        raise BackboneError("A group norm that mixes channels is not supported", found=f"{norm.num_groups} groups")
    hidden = hidden.float()  # as the norm itself does under autocast: sums over thousands of frames
    mask = (torch.arange(hidden.shape[-1], device=hidden.device) < n_valid[:, None])[:, None]
    count = n_valid[:, None, None].to(hidden.dtype)
    mean = (hidden * mask).sum(dim=-1, keepdim=True) / count
    centred = (hidden - mean) * mask
    variance = centred.square().sum(dim=-1, keepdim=True) / count
    return centred * torch.rsqrt(variance + norm.eps) * norm.weight[:, None] + norm.bias[:, None]


def receptive_field(config: Any) -> int:
    """Return the samples that make one frame of the convolutions."""
    field, stride = 1, 1
    steps: Iterable[tuple[int, int]] = zip(config.conv_kernel, config.conv_stride, strict=True)
    for kernel, step in steps:
        field, stride = field + (kernel - 1) * stride, stride * step
    return field


def pad_log_mel(model: Any, features: Sequence[np.ndarray]) -> Frames:
    """Return log-mel features as a batch: the encoder of wav2vec2-BERT takes them as they are."""
    return pad_frames(features).to(next(model.parameters()).device)


def run_log_mel_convolutions(model: Any, features: Sequence[np.ndarray]) -> Frames:
    """Run the two convolutions of Whisper over clips that silence fills up to the length the model always hears.

    Args:
        model: The encoder.
        features: Log-mel frames of each clip and `TAIL_FRAMES` after them, float32 of shape [T, M].

    Returns:
        Frames of the full length; those beyond the clip are real, but do not count as the clip's.
    """
    length = model.config.max_source_positions * model.conv1.stride[0] * model.conv2.stride[0]
    # The last row is silence alone, unless the clip is as long as the model's input.
    filled = [clip[np.minimum(np.arange(length), len(clip) - 1)] for clip in features]
    hidden = torch.from_numpy(np.stack(filled)).to(next(model.parameters()).device).transpose(1, 2)
    for convolution in (model.conv1, model.conv2):
        hidden = nn.functional.gelu(convolution(hidden))
    n_log_mel = torch.tensor([len(clip) - TAIL_FRAMES for clip in features], device=hidden.device)
    return Frames(hidden.transpose(1, 2), model._get_feat_extract_output_lengths(n_log_mel))
