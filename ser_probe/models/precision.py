"""The arithmetic that a model runs in: exact float32, or a faster one with a known error.

The one place that touches torch's switches for float32 products on a GPU. Since torch 2.9 each kind of product has its
own (`fp32_precision`, https://docs.pytorch.org/docs/stable/notes/cuda.html); reading the old ones (`allow_tf32`)
raises once the two disagree, so they are not read here or anywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from ser_probe.errors import ConfigError
from ser_probe.names import training

PRECISIONS = tuple(training.PRECISIONS)
"""`fp32` is exact, `tf32` rounds the factors of products to 10 bits of mantissa (CUDA only), `bf16` and `fp16` run
products in half precision and keep the residual stream, norms and poolings in float32."""

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def read_products() -> dict[str, str]:
    """Return how products of float32 are computed on a GPU, by kind.

    Returns:
        `ieee` (exact), `tf32` or `none` (as for `any`) of `any`, `matmul`, `conv` and `rnn`.
    """
    return {kind: str(switch.fp32_precision) for kind, switch in _switches().items()}


@contextlib.contextmanager
def products(precision: str) -> Iterator[None]:
    """Compute products of float32 in TF32 where `precision` is `tf32`, else exactly, as long as the context lasts.

    Convolutions are in TF32 by default. Changes of the switches within the block (transformers' `TrainingArguments`
    makes some) are undone afterwards.
    """
    with kept_products():
        chosen = "tf32" if precision == "tf32" else "ieee"
        _set_products({"any": "ieee", "matmul": chosen, "conv": chosen, "rnn": chosen})
        yield


@contextlib.contextmanager
def kept_products() -> Iterator[None]:
    """Restore the switches after the block, whatever changed them, such as an import."""
    saved = read_products()
    try:
        yield
    finally:
        if read_products() != saved:
            _set_products(saved)


@contextlib.contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Run a model in one of `PRECISIONS` as long as the context lasts.

    Raises:
        ConfigError: If the device does not know it.
    """
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError("The precision tf32 exists on CUDA devices only", found=str(device), fix="use fp32 or bf16")
    with contextlib.ExitStack() as stack:
        stack.enter_context(products(precision))
        if precision in _HALF:
            stack.enter_context(torch.autocast(device.type, dtype=_HALF[precision]))
        yield


def _switches() -> dict[str, Any]:
    backends: Any = torch.backends
    return {
        "any": backends,
        "matmul": backends.cuda.matmul,
        "conv": backends.cudnn.conv,
        "rnn": backends.cudnn.rnn,
    }


def _set_products(values: dict[str, str]) -> None:
    for kind, switch in _switches().items():
        switch.fp32_precision = values[kind]
