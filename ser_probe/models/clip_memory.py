"""An estimate of the memory that a clip needs when it goes through a model uncut.

Attention takes memory with the square of the frames: ten minutes are 30,000 frames, and a number for each pair of them
takes 3.6 GB a head. A GPU then raises an error; on a CPU the system kills the process without a message. The estimate
counts the largest tensors that live at the same time; measured use is 0.7 to 0.9 of it (`benchmarks/long_clips.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ser_probe.models.backbone import Backbone
from ser_probe.models.families import FAMILIES

_BYTES = 4
"""Bytes of a number, in half precision too: masks, biases and sums stay in float32."""
_FRONT_END_COPIES = 4
"""Copies of the first convolution's output: itself, its norm, its activation and a temporary."""
_WIDTH_COPIES = 10
"""Copies of the hidden states: residual, query, key, value, attention's output, norms, pooling."""


@dataclass(frozen=True)
class ClipMemory:
    """The memory that a clip needs, in bytes, besides the weights.

    Args:
        per_sample: Of the front end, for each sample.
        per_frame: Of the encoder, for each frame.
        per_pair: Of attention, for each pair of frames.
        samples_per_frame: Samples from one frame to the next.
    """

    per_sample: float
    per_frame: float
    per_pair: float
    samples_per_frame: int

    def needed_bytes(self, n_samples: int) -> int:
        """Return the bytes that a clip of so many samples needs."""
        n_frames = n_samples / self.samples_per_frame
        return int(self.per_sample * n_samples + self.per_frame * n_frames + self.per_pair * n_frames**2)

    def most_samples(self, available_bytes: float) -> int:
        """Return the longest clip that fits, in samples."""
        square = self.per_pair / self.samples_per_frame**2
        linear = self.per_sample + self.per_frame / self.samples_per_frame
        if square == 0:
            return int(available_bytes / linear)
        return int(((linear**2 + 4 * square * available_bytes) ** 0.5 - linear) / (2 * square))


def clip_memory(backbones: Sequence[Backbone], *, keeps_frames: bool = False) -> ClipMemory:
    """Return the memory that a clip needs in the largest of models that run one after another.

    Args:
        backbones: The models.
        keeps_frames: Whether the frames of all layers are kept, and not their mean.
    """
    needs = [_of_model(backbone, keeps_frames) for backbone in backbones]
    return ClipMemory(
        max(need.per_sample for need in needs),
        max(need.per_frame for need in needs),
        max(need.per_pair for need in needs),
        min(need.samples_per_frame for need in needs),
    )


def _of_model(backbone: Backbone, keeps_frames: bool) -> ClipMemory:
    config = backbone.model.config
    family = FAMILIES[config.model_type]
    channels, strides = getattr(config, "conv_dim", None), getattr(config, "conv_stride", None)
    per_sample = float(_BYTES)
    if channels and strides:
        per_sample += _BYTES * _FRONT_END_COPIES * channels[0] / strides[0]
    widest = max(getattr(config, "intermediate_size", 0), getattr(config, "encoder_ffn_dim", 0))
    per_frame = _BYTES * (2 * widest + _WIDTH_COPIES * backbone.width)
    if keeps_frames:
        per_frame += _BYTES * len(backbone.layer_names) * backbone.width
    return ClipMemory(per_sample, per_frame, family.bytes_per_pair(config), backbone.samples_per_frame)
