"""Precisions: what they cost, that they end with their context, and that poolings never see half of a number."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ser_probe.errors import ConfigError
from ser_probe.models import pooling
from ser_probe.models.backbone import Backbone
from ser_probe.models.embedding import evaluating, pool_layers
from ser_probe.models.forward import run_front_end
from ser_probe.models.pooling import parse_pooling
from ser_probe.models.precision import PRECISIONS, arithmetic

from .conftest import PLAIN_MODELS, relative_difference

CPU = torch.device("cpu")
COSTS = {"bf16": (1e-4, 5e-2), "fp16": (1e-5, 5e-3)}
"""Relative difference from fp32: at least what shows that it ran, at most what extraction takes for rounding."""


def flags() -> tuple[bool, bool, bool]:
    return (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.is_autocast_enabled("cpu"),
    )


@pytest.fixture
def some(clips: list[np.ndarray]) -> list[np.ndarray]:
    return clips[4:8]


def pooled(backbone: Backbone, clips: list[np.ndarray], precision: str, name: str = "mean") -> torch.Tensor:
    with evaluating([backbone]), arithmetic(precision, CPU):
        return pool_layers(backbone, run_front_end(backbone, clips), [parse_pooling(name)])[0]


def test_tf32_is_refused_on_a_cpu() -> None:
    before = flags()
    expected = r"tf32 exists on CUDA devices only(.|\n)*found: cpu(.|\n)*use fp32 or bf16"
    with pytest.raises(ConfigError, match=expected), arithmetic("tf32", CPU):
        pytest.fail("the context must not be entered")
    assert flags() == before


@pytest.mark.parametrize("precision", [name for name in PRECISIONS if name != "tf32"])
@pytest.mark.parametrize("allowed", [False, True])
def test_flags_are_set_within_and_as_before_after(precision: str, allowed: bool) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = flags()
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        with contextlib.suppress(KeyboardInterrupt), arithmetic(precision, CPU):
            assert flags() == (False, False, precision in ("bf16", "fp16"))
            raise KeyboardInterrupt
        assert flags() == (allowed, allowed, False)
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before[:2]


def test_tf32_is_on_for_products_on_a_gpu() -> None:
    """The flags belong to the process and need no device."""
    before = flags()
    with arithmetic("tf32", torch.device("cuda")):
        assert flags() == (True, True, False)
    assert flags() == before


@pytest.mark.parametrize("precision", COSTS)
@pytest.mark.parametrize("name", PLAIN_MODELS)
def test_half_precision_costs_what_it_says(
    name: str, precision: str, tiny_models: dict[str, Backbone], some: list[np.ndarray]
) -> None:
    exact, found = (pooled(tiny_models[name], some, each) for each in ("fp32", precision))
    least, most = COSTS[precision]
    assert least < relative_difference(found.numpy(), exact.numpy()) < most
    assert torch.equal(pooled(tiny_models[name], some, "fp32"), exact)


@pytest.mark.parametrize("name", ["mean", "std", "max", "segments:3", "frames", "speech-mean"])
def test_poolings_give_float32(name: str, tiny_models: dict[str, Backbone], some: list[np.ndarray]) -> None:
    assert pooled(tiny_models["tiny-wavlm-large"], some, "bf16", name).dtype == torch.float32


@pytest.mark.parametrize("precision", COSTS)
@pytest.mark.parametrize("name", [*PLAIN_MODELS, "tiny-data2vec-audio-base", "tiny-wav2vec2-bert", "tiny-whisper"])
def test_the_residual_stream_is_float32(
    name: str,
    precision: str,
    tiny_models: dict[str, Backbone],
    some: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.dtype] = []

    def look(plain: Callable) -> Callable:
        def pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            seen.append(hidden.dtype)
            return plain(hidden, mask)

        return pool

    monkeypatch.setitem(pooling.POOLINGS, "mean", pooling.Pooling("mean", look(pooling.pool_mean)))
    pooled(tiny_models[name], some, precision)
    assert set(seen) == {torch.float32}
    assert len(seen) == len(tiny_models[name].layer_names)
