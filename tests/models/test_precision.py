"""Precisions: what they cost, that they end with their context, and that poolings never see half of a number."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import ser_probe
from ser_probe.errors import ConfigError
from ser_probe.models import embedding, pooling
from ser_probe.models import precision as precision_module
from ser_probe.models.backbone import Backbone
from ser_probe.models.embedding import evaluating, pool_layers
from ser_probe.models.forward import run_front_end
from ser_probe.models.pooling import parse_pooling
from ser_probe.models.precision import PRECISIONS, arithmetic, kept_products, products, read_products

from .conftest import PLAIN_MODELS, relative_difference

CPU = torch.device("cpu")
COSTS = {"bf16": (1e-4, 5e-2), "fp16": (1e-5, 5e-3)}
"""Relative difference from fp32: at least what shows that it ran, at most what extraction takes for rounding."""


EXACT = dict.fromkeys(("any", "matmul", "conv", "rnn"), "ieee")
IN_TF32 = {**EXACT, "matmul": "tf32", "conv": "tf32", "rnn": "tf32"}


def switch_by_transformers(wanted: bool) -> Callable[[], None]:
    """What `TrainingArguments(tf32=...)` does where there is a GPU, the first time."""
    return lambda: setattr(torch.backends, "fp32_precision", "tf32" if wanted else "ieee")


def switch_one_by_one() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.cudnn.conv.fp32_precision = "ieee"


def switch_the_old_ones() -> None:
    """As speechbrain does when it is imported."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


BEFORE = {
    "as torch begins": lambda: None,
    "after tf32=True": switch_by_transformers(True),
    "after tf32=False": switch_by_transformers(False),
    "one by one": switch_one_by_one,
    "old": switch_the_old_ones,
}
"""What others may have done to the switches before."""


@pytest.fixture(params=BEFORE)
def before(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The state of the switches after what others have done; undone after the test."""
    first = read_products()
    BEFORE[request.param]()
    yield read_products()
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, True
    precision_module._set_products(first)


@pytest.fixture
def some(clips: list[np.ndarray]) -> list[np.ndarray]:
    return clips[4:8]


def pooled(backbone: Backbone, clips: list[np.ndarray], precision: str, name: str = "mean") -> torch.Tensor:
    with evaluating([backbone]), arithmetic(precision, CPU):
        return pool_layers(backbone, run_front_end(backbone, clips), [parse_pooling(name)])[0]


def test_tf32_is_refused_on_a_cpu() -> None:
    before = read_products()
    expected = r"tf32 exists on CUDA devices only(.|\n)*found: cpu(.|\n)*use fp32 or bf16"
    with pytest.raises(ConfigError, match=expected), arithmetic("tf32", CPU):
        pytest.fail("the context must not be entered")
    assert read_products() == before


def test_convolutions_are_in_tf32_where_nobody_has_said_anything() -> None:
    """Why the switches are set at all. A new default of torch would show here."""
    assert read_products() == {"any": "none", "matmul": "none", "conv": "tf32", "rnn": "tf32"}


@pytest.mark.parametrize("precision", [name for name in PRECISIONS if name != "tf32"])
def test_all_products_are_exact_within_and_as_before_after(precision: str, before: dict[str, str]) -> None:
    with contextlib.suppress(KeyboardInterrupt), arithmetic(precision, CPU):
        assert read_products() == EXACT
        assert torch.is_autocast_enabled("cpu") == (precision in ("bf16", "fp16"))
        raise KeyboardInterrupt
    assert read_products() == before
    assert not torch.is_autocast_enabled("cpu")


def test_tf32_is_on_for_all_products_on_a_gpu(before: dict[str, str]) -> None:
    """The switches belong to the process and need no device."""
    with arithmetic("tf32", torch.device("cuda")):
        assert read_products() == IN_TF32
        with products("fp32"):
            assert read_products() == EXACT
        assert read_products() == IN_TF32
    assert read_products() == before


@pytest.mark.parametrize("change", [name for name in BEFORE if name != "as torch begins"])
def test_what_is_changed_within_is_undone(change: str) -> None:
    before = read_products()
    with kept_products():
        BEFORE[change]()
        assert read_products() != before or change == "old"
    assert read_products() == before
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, True
    precision_module._set_products(before)


def test_the_import_of_speechbrain_changes_no_switch() -> None:
    """In a process of its own: it can be imported once."""
    pytest.importorskip("speechbrain")
    code = """
        import os, sys
        os.environ["SB_DISABLE_QUIRKS"] = "disable_jit_profiling"
        from ser_probe.models import frame_pooling, precision
        before = precision.read_products()
        frame_pooling._import_blocks()
        quirks = sys.modules["speechbrain.utils.quirks"]
        assert quirks.excluded_quirks == {"disable_jit_profiling", "allow_tf32"}, quirks.excluded_quirks
        assert precision.read_products() == before, precision.read_products()
        assert os.environ["SB_DISABLE_QUIRKS"] == "disable_jit_profiling"
        del os.environ["SB_DISABLE_QUIRKS"]
        frame_pooling._import_blocks()
        assert "SB_DISABLE_QUIRKS" not in os.environ
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_other_file_touches_the_switches() -> None:
    """`tf32=` of the Trainer's arguments, whose effect is undone, aside."""
    for path in Path(ser_probe.__file__).parent.rglob("*.py"):
        if path.name != "precision.py":
            assert not re.search(r"allow_tf32\b(?!\")|fp32_precision|float32_matmul", path.read_text()), path


def test_a_library_call_is_exact(
    tiny_models: dict[str, Backbone], some: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    plain = embedding.run_front_end
    look = lambda *given: (seen.append(read_products()), plain(*given))[1]  # noqa: E731 - one line, used once
    monkeypatch.setattr(embedding, "run_front_end", look)
    embedding.pooled_layers(tiny_models["tiny-wavlm-base"], some)
    assert seen == [EXACT]


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
