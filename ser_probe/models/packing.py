"""Faster kernels for a model on an x86 CPU: oneDNN's, with weights packed once for all batches of a pass.

torch sends a float32 linear layer to MKL, which repacks the weights at every call; on one clip of 2.6 s that costs
up to 40 % of the speed that the same product reaches with packed weights. The convolutional front end runs
time-major here: each convolution is one product over overlapping rows, so norms and activations find their values
side by side and nothing is transposed. The arithmetic is the same; only the order of sums differs.

Inference only: no gradient flows through packed weights.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser_probe.models.backbone import Backbone

# Below this width the call dominates a layer's time, and oneDNN's call is slower.
_SMALLEST_OUTPUT = 32


@contextlib.contextmanager
def packed(backbones: Sequence[Backbone]) -> Iterator[None]:
    """Run these models with packed weights while the block runs; does nothing except on an x86 CPU.

    Packed weights replace the plain ones, which are restored bit for bit: no more memory is needed, but meanwhile
    the weights of the linear layers cannot be read (which raises) or changed.

    Args:
        backbones: Models in evaluation mode, used under `torch.inference_mode` only.
    """
    with contextlib.ExitStack() as stack:
        for backbone in backbones:
            if backbone.device.type == "cpu" and is_available():
                _pack(backbone.model, stack)
        yield


def is_available() -> bool:
    """Return whether torch was built with the kernels, and this processor is of the kind they are fast on."""
    return (
        platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _pack(model: nn.Module, stack: contextlib.ExitStack) -> None:
    """Replace the forward methods of modules; the stack undoes it."""
    fused = set()
    for module in model.modules():
        dense, activation = getattr(module, "intermediate_dense", None), getattr(module, "intermediate_act_fn", None)
        if isinstance(dense, nn.Linear) and isinstance(activation, nn.Module) and is_exact_gelu(activation):
            fused.add(dense)
            _replace_forward(activation, _identity, stack)
    for module in model.modules():
        # A weight that is already packed belongs to a model that an outer context has packed.
        if isinstance(module, nn.Linear) and module.out_features >= _SMALLEST_OUTPUT and not module.weight.is_mkldnn:
            _pack_linear(module, module in fused, stack)
    front_end = getattr(model, "feature_extractor", None)
    if front_end is not None and all(_is_supported(layer) for layer in front_end.conv_layers):
        _replace_forward(front_end, _packed_front_end(front_end), stack)


def _pack_linear(module: nn.Linear, gelu: bool, stack: contextlib.ExitStack) -> None:
    """Replace the plain weight by the packed one; the next layer reuses its memory."""
    plain = module.weight
    weight = _reorder(plain)

    def unpack() -> None:
        with torch.inference_mode(False), torch.no_grad():
            plain.data = weight.to_dense()
        module.weight = plain

    stack.callback(unpack)
    plain.data = plain.data.new_empty(0)
    module.weight = nn.Parameter(weight, requires_grad=False)
    _replace_forward(module, _product(weight, module.bias, gelu=gelu), stack)


def _replace_forward(module: nn.Module, forward: Callable[..., Any], stack: contextlib.ExitStack) -> None:
    # In the instance's dictionary it hides the class's method; deleting it brings that back.
    stack.callback(_restore_forward, module, module.__dict__.get("forward"))
    module.forward = forward


def _restore_forward(module: nn.Module, original: Any) -> None:
    if original is None:
        del module.__dict__["forward"]
    else:
        module.forward = original


def is_exact_gelu(activation: Any) -> bool:
    """Return whether an activation is the Gaussian error linear unit by the error function, not an approximation."""
    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    # transformers' own class for the same function.
    return type(activation).__name__ == "GELUActivation" and activation.act is functional.gelu


def _reorder(weight: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)


def _product(packed_weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> Callable[[Tensor], Tensor]:
    """Return a linear layer with a packed weight, and its activation with it."""
    constant = None if bias is None else bias.detach()
    name, algorithm = ("gelu", "none") if gelu else ("none", "")

    def forward(inputs: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(inputs, packed_weight, constant, name, [], algorithm)

    return forward


def _identity(inputs: Tensor) -> Tensor:
    return inputs


def _is_supported(layer: Any) -> bool:
    norm = getattr(layer, "layer_norm", None)
    per_channel = not isinstance(norm, nn.GroupNorm) or norm.num_groups == norm.num_channels
    conv = layer.conv
    plain = conv.groups == 1 and conv.dilation == (1,) and conv.padding == (0,)
    return bool(plain and per_channel and is_exact_gelu(layer.activation))


def _packed_front_end(front_end: Any) -> Callable[[Tensor], Tensor]:
    """Return the front end of one clip: samples [1, n] -> features [1, C, T]."""
    layers = [_packed_convolution(layer) for layer in front_end.conv_layers]

    def forward(wave: Tensor) -> Tensor:
        if len(wave) != 1:
            raise ValueError(f"The packed front end takes one clip at a time. Got {len(wave)}.")
        rows = wave[0, :, None]
        for layer in layers:
            rows = layer(rows)
        return rows.T[None]

    return forward


def _packed_convolution(layer: Any) -> Callable[[Tensor], Tensor]:
    """Return a convolution with its norm and activation, time-major: [T, C] -> [T', C']."""
    conv, norm = layer.conv, getattr(layer, "layer_norm", None)
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    by_row = conv.weight.detach().permute(0, 2, 1).reshape(conv.out_channels, -1)
    product = _product(_reorder(by_row), conv.bias, gelu=norm is None)

    def forward(rows: Tensor) -> Tensor:
        n_frames, width = (len(rows) - kernel) // stride + 1, rows.shape[1]
        # Each output frame sees `kernel` rows that lie one after another; those of neighbours overlap.
        rows = product(rows.contiguous().as_strided((n_frames, kernel * width), (stride * width, 1)))
        if norm is None:
            return rows
        normed = _norm_over_time(rows, norm) if isinstance(norm, nn.GroupNorm) else norm(rows)
        return functional.gelu(normed)

    return forward


def _norm_over_time(rows: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Group norm with one group a channel, time-major: [T, C] -> [T, C]."""
    centred = rows - rows.mean(dim=0)
    variance = centred.square().mean(dim=0)
    return torch.addcmul(norm.bias, centred, torch.rsqrt(variance + norm.eps) * norm.weight)
