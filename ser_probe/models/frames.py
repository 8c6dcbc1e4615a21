"""The frames of a batch of clips, as a front end makes them and an encoder takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Frames:
    """What a front end makes of a batch of clips: one feature vector for each frame of the encoder.

    Args:
        features: Front-end output, shape [B, T, C]; zero where padded, but for families of a fixed input length.
        n_frames: Frames that belong to each clip, int64 of shape [B].
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


def pad_frames(frames: Sequence[Tensor | np.ndarray]) -> Frames:
    """Return front-end outputs of single clips, each [T_i, C], as one zero-padded batch."""
    tensors = [torch.as_tensor(frame) for frame in frames]
    lengths = torch.tensor([len(tensor) for tensor in tensors], device=tensors[0].device)
    return Frames(nn.utils.rnn.pad_sequence(tensors, batch_first=True), lengths)
