"""Poolings: frames [B, T, D] and their mask [B, T] -> one vector a clip [B, D']. Padded frames never count.

A pooling gives the same vector for a clip whatever the clip was batched with (design: batch invariance).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Pooling = Callable[[Tensor, Tensor], Tensor]


def pool_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the valid frames.

    Args:
        hidden: Frames, shape [B, T, D].
        mask: True where a frame belongs to the clip, shape [B, T].

    Returns:
        Shape [B, D].
    """
    # where() and not a product: a padded frame may hold inf or nan, and 0 * inf is nan.
    kept = torch.where(mask[..., None], hidden, hidden.new_zeros(()))
    return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True).to(hidden.dtype)


POOLINGS: dict[str, Pooling] = {"mean": pool_mean}
