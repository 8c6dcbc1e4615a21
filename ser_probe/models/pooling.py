"""Poolings: frames [B, T, D] and their mask [B, T] -> one vector a clip [B, D']. Padded frames never count.

A pooling gives the same vector for a clip whatever the clip was batched with (design: batch invariance). Sums are
in float32 or better, whatever the type of the frames. A clip without any valid frame has no value: nan.

Importing this module loads no torch, so that a config can be checked against `parse_pooling` alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ser_probe.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MIN_SEGMENTS, MAX_SEGMENTS = 2, 100


@dataclass(frozen=True)
class Pooling:
    """How the frames of a clip are pooled.

    Args:
        name: The name that `parse_pooling` reads, a part of the cache key.
        pool: Frames [B, T, D] and their mask [B, T] -> what `__call__` returns.
        factor: Width of the result over D.
        ragged: Whether frames are kept apart, so that clips have results of several lengths.
        speech: Whether the mask must be restricted to the frames that are speech; the caller does that.
    """

    name: str
    pool: Callable[[Tensor, Tensor], Tensor] = field(repr=False)
    factor: int = 1
    ragged: bool = False
    speech: bool = False

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Pool a batch.

        Args:
            hidden: Frames, shape [B, T, D]; values of padded frames do not matter.
            mask: True where a frame counts, shape [B, T]: belongs to the clip and, if `speech`, is speech.

        Returns:
            Shape [B, factor * D]; if `ragged` [F, D], the F valid frames of the batch, one clip after another.
        """
        return self.pool(hidden, mask)


def parse_pooling(text: str) -> Pooling:
    """Return the pooling of a name: one of `POOLINGS`, `speech-mean`, `segments:K` or `frames`.

    Raises:
        ConfigError: If there is none of that name, or K is out of its range.
    """
    poolings = {**POOLINGS, SPEECH_MEAN.name: SPEECH_MEAN, FRAMES.name: FRAMES}
    if text in poolings:
        return poolings[text]
    if re.fullmatch(r"segments:[1-9][0-9]*", text):
        n_parts = int(text.removeprefix("segments:"))
        if MIN_SEGMENTS <= n_parts <= MAX_SEGMENTS:
            return Pooling(text, functools.partial(pool_segments, n_parts=n_parts), factor=n_parts)
        raise ConfigError(
            "The number of segments of a pooling is out of range",
            expected=f"segments:K with K from {MIN_SEGMENTS} to {MAX_SEGMENTS}",
            found=text,
        )
    names = [*poolings, "segments:K"]
    raise ConfigError("There is no such pooling", expected=", ".join(names), found=text, fix=did_you_mean(text, names))


def pool_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the valid frames, shape [B, D]."""
    return _mean(fill_padding(hidden, mask), mask)


def pool_std(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the population standard deviation over the valid frames, shape [B, D]; 0 for a single frame."""
    kept = fill_padding(hidden, mask)
    return _std(kept, mask, _mean(kept, mask))


def pool_mean_std(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return mean and population standard deviation side by side, shape [B, 2 D]."""
    import torch

    kept = fill_padding(hidden, mask)
    mean = _mean(kept, mask)
    return torch.cat([mean, _std(kept, mask, mean)], dim=1)


def pool_max(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the largest value of each feature over the valid frames, shape [B, D]."""
    largest = _widen(hidden).masked_fill(~mask[..., None], -float("inf")).amax(dim=1)
    return largest.masked_fill(~mask.any(dim=1, keepdim=True), float("nan"))


def pool_sum(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the sum over the valid frames, shape [B, D]; it grows with the clip."""
    total = fill_padding(hidden, mask).sum(dim=1)
    return total.masked_fill(~mask.any(dim=1, keepdim=True), float("nan"))


def pool_segments(hidden: Tensor, mask: Tensor, n_parts: int) -> Tensor:
    """Return the means of K equal parts of each clip, part after part, shape [B, K D].

    Of a clip of T valid frames, frame t covers the time [t, t + 1), part k the time [k T / K, (k + 1) T / K), and a
    frame counts in a part with the time they share. So the mean of the parts is the mean of the clip, and a clip of
    fewer frames than parts has parts too.

    Args:
        hidden: Frames, shape [B, T, D].
        mask: True where a frame counts, shape [B, T].
        n_parts: K.
    """
    import torch

    n_clips, n_padded, width = hidden.shape
    n_valid = mask.sum(dim=1)[:, None, None]
    part = torch.arange(n_parts, device=mask.device)[None, :, None]
    # Times are counted in Kths of a frame, which are whole numbers: no rounding moves a border.
    begin, end = part * n_valid, (part + 1) * n_valid
    # A part of T / K frames touches at most that many rounded up, and one more.
    position = begin // n_parts + torch.arange(-(-n_padded // n_parts) + 1, device=mask.device)
    shared = torch.minimum(end, (position + 1) * n_parts) - torch.maximum(begin, position * n_parts)
    weight = shared.clamp_min(0).to(_wide_dtype(hidden)) / n_valid
    # Valid frames first, in their order, so that a position is a frame even where the mask has holes.
    order = torch.argsort(~mask, dim=1, stable=True)
    frame = order.gather(1, position.clamp_max(n_padded - 1).flatten(1))
    gathered = fill_padding(hidden, mask).gather(1, frame[..., None].expand(-1, -1, width))
    parts = gathered.view(*position.shape, width) * weight[..., None]
    return parts.sum(dim=2).reshape(n_clips, n_parts * width)


def fill_padding(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the frames with zeros where they do not count; filled, not multiplied, because 0 * inf is nan."""
    return _widen(hidden).masked_fill(~mask[..., None], 0.0)


def root(variance: Tensor) -> Tensor:
    """Return the square root, with gradient 0 at 0: the true slope, infinity, would make gradients nan."""
    return variance.where(variance != 0, 1.0).sqrt().where(variance != 0, 0.0)


def keep_frames(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the valid frames of all clips, one clip after another, shape [F, D]."""
    return _widen(hidden[mask])


def _wide_dtype(hidden: Tensor) -> torch.dtype:
    import torch

    return torch.promote_types(hidden.dtype, torch.float32)


def _widen(hidden: Tensor) -> Tensor:
    return hidden.to(_wide_dtype(hidden))


def _mean(kept: Tensor, mask: Tensor) -> Tensor:
    return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _std(kept: Tensor, mask: Tensor, mean: Tensor) -> Tensor:
    centred = (kept - mean[:, None]).masked_fill(~mask[..., None], 0.0)
    return root(centred.square().sum(dim=1) / mask.sum(dim=1, keepdim=True))


POOLINGS = {
    "mean": Pooling("mean", pool_mean),
    "std": Pooling("std", pool_std),
    "mean+std": Pooling("mean+std", pool_mean_std, factor=2),
    "max": Pooling("max", pool_max),
    "sum": Pooling("sum", pool_sum),
}
"""The fixed poolings that give one vector a clip from all of its frames."""

SPEECH_MEAN = Pooling("speech-mean", pool_mean, speech=True)
FRAMES = Pooling("frames", keep_frames, ragged=True)
