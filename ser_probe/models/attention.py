"""WavLM's attention through fused scaled-dot-product attention.

WavLM adds a gated relative position bias to the attention scores (Chen et al. 2022, section 3.2). transformers
computes it with a general routine that also forms and averages all attention weights; here the bias is the additive
mask of the fused kernel. The values are equal up to rounding, forward and gradient, with and without padding.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def fuse_attention(model: nn.Module) -> None:
    """Let every attention of a WavLM model run fused, in place; its weights and their names stay as they are."""
    for block in model.encoder.layers:  # type: ignore[union-attr]
        block.attention.forward = types.MethodType(_attend, block.attention)


def _attend(
    self: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_bias: Tensor | None = None,
    index: int = 0,
    **_: Any,
) -> tuple[Tensor, None, Tensor]:
    """Return what WavLM's attention returns: output [B, T, D], no weights, and the bias for the next block.

    Args:
        self: The attention module; H heads.
        hidden_states: Shape [B, T, D].
        attention_mask: True where a frame belongs to its clip, [B, T]; None where all do.
        position_bias: The bias of the first block, [1, H, T, T]; None in the first block, which computes it.
        index: The block's number; not used.
    """
    n_clips, n_frames, _width = hidden_states.shape
    heads = (n_clips, n_frames, self.num_heads, -1)
    if position_bias is None:
        position_bias = self.compute_bias(n_frames, n_frames)[None]
    bias = _gate(self, hidden_states.view(heads).transpose(1, 2)) * position_bias
    if attention_mask is not None:
        bias = bias.masked_fill(~attention_mask.bool()[:, None, None, :], -torch.inf)
    query, key, value = (
        project(hidden_states).view(heads).transpose(1, 2) for project in (self.q_proj, self.k_proj, self.v_proj)
    )
    mixed = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=bias.to(query.dtype), dropout_p=self.dropout if self.training else 0.0
    )
    return self.out_proj(mixed.transpose(1, 2).reshape(hidden_states.shape)), None, position_bias


def _gate(self: Any, by_head: Tensor) -> Tensor:
    """Return how much of the bias each head takes at each frame, [B, H, T, 1], from its frames [B, H, T, D / H]."""
    projected = self.gru_rel_pos_linear(by_head)
    summed = projected.view(*projected.shape[:-1], 2, 4).sum(dim=-1)
    update, reset = torch.sigmoid(summed).chunk(2, dim=-1)
    return update * (reset * self.gru_rel_pos_const - 1.0) + 2.0
