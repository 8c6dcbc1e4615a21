"""The estimate of a clip's memory against the tensors that live at the same time while it goes through the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.clip_memory import ClipMemory, clip_memory
from ser_probe.models.embedding import evaluating, pool_layers
from ser_probe.models.forward import run_prepared
from ser_probe.models.loading import load_backbone
from ser_probe.models.pooling import parse_pooling
from ser_probe.models.precision import arithmetic

RATE_HZ = 16_000
# What kernels take inside is not counted here (a process's peak is 0.7 to 0.9 of the estimate), and of front end and
# encoder, whose sum is the estimate, mostly one is at its peak.
LEAST_SHARE = 0.3


class CountBytes(TorchDispatchMode):
    """Adds up the storages that live at the same time, after each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.alive.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(n_bytes for _, n_bytes in self.alive.values()))
        return result


def count_bytes(backbone: Backbone, duration_s: float, precision: str, pooling: str) -> int:
    samples = (0.1 * np.random.default_rng(0).standard_normal(int(RATE_HZ * duration_s))).astype(np.float32)
    with arithmetic(precision, torch.device("cpu")), evaluating([backbone]), torch.inference_mode():
        prepared = backbone.input.prepare(samples)
        with CountBytes() as counted:
            pool_layers(backbone, run_prepared(backbone, [prepared]), [parse_pooling(pooling)])
    return counted.peak


@pytest.mark.parametrize("name", [
    "tiny-wavlm-base", "tiny-wavlm-large", "tiny-wavlm-8-heads", "tiny-hubert-base", "tiny-wav2vec2-large",
    "tiny-wav2vec2-bert", "tiny-data2vec-audio-base",
])  # fmt: skip
def test_estimate_is_above_what_lives_at_the_same_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        TINY_CONFIGS, "tiny-wavlm-8-heads", {**TINY_CONFIGS["tiny-wavlm-base"], "num_attention_heads": 8}
    )
    backbone = load_backbone(name)
    for duration_s, precision in ((4.0, "fp32"), (12.0, "fp32"), (4.0, "bf16")):
        estimate = clip_memory([backbone]).needed_bytes(int(RATE_HZ * duration_s))
        counted = count_bytes(backbone, duration_s, precision, "mean")
        assert counted <= estimate, (duration_s, precision)
        if precision == "fp32":
            assert counted > LEAST_SHARE * estimate, duration_s


def test_attention_grows_with_the_square_where_it_holds_pairs_of_frames() -> None:
    """From 12 to 24 s a WavLM's or a BERT's attention takes four times as much, and that is most of what they take."""
    for name in ("tiny-wavlm-base", "tiny-wav2vec2-bert"):
        backbone = load_backbone(name)
        short, long = (count_bytes(backbone, duration_s, "fp32", "mean") for duration_s in (12.0, 24.0))
        assert long / short > 3.5
        estimate = clip_memory([backbone])
        assert estimate.needed_bytes(1200 * RATE_HZ) / estimate.needed_bytes(600 * RATE_HZ) > 3.8
    assert clip_memory([load_backbone("tiny-hubert-base")]).per_pair == 0


def test_frames_that_are_kept_are_counted() -> None:
    backbone = load_backbone("tiny-hubert-base")
    kept, pooled = clip_memory([backbone], keeps_frames=True), clip_memory([backbone])
    assert kept.per_frame - pooled.per_frame == 4 * len(backbone.layer_names) * backbone.width
    assert count_bytes(backbone, 12.0, "fp32", "frames") <= kept.needed_bytes(12 * RATE_HZ)


def test_the_greediest_of_several_models_counts() -> None:
    wavlm, bert = load_backbone("tiny-wavlm-base"), load_backbone("tiny-wav2vec2-bert")
    both = clip_memory([wavlm, bert])
    assert both.per_pair == clip_memory([bert]).per_pair
    assert both.per_sample == clip_memory([wavlm]).per_sample


@pytest.mark.parametrize("per_pair", [0.0, 53.0])
def test_the_longest_clip_is_the_one_that_just_fits(per_pair: float) -> None:
    memory = ClipMemory(150.0, 5000.0, per_pair, 320)
    longest = memory.most_samples(1 << 30)
    assert memory.needed_bytes(longest) <= 1 << 30
    assert memory.needed_bytes(longest + 320) > 1 << 30
