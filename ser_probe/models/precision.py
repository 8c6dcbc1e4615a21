"""In which arithmetic a model runs: exact float32, or something faster that says how far off it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from ser_probe.errors import ConfigError

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
"""`fp32` is exact, `tf32` rounds the factors of products to 10 bits of mantissa (CUDA only), `bf16` and `fp16` run
products in half precision and keep the residual stream, norms and poolings in float32."""

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextlib.contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Run products in one of `PRECISIONS` as long as the context lasts.

    Raises:
        ConfigError: If the device does not know it.
    """
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError("The precision tf32 exists on CUDA devices only", found=str(device), fix="use fp32 or bf16")
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    # Off for fp32: TF32 costs three decimal digits, and is on by default in convolutions.
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    try:
        with contextlib.ExitStack() as stack:
            if precision in _HALF:
                stack.enter_context(torch.autocast(device.type, dtype=_HALF[precision]))
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
