"""Configs and weights that no model has are refused before memory is taken for them, and NaN before anything is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ser_probe.errors import BackboneError, CheckpointError
from ser_probe.models.backbone import Backbone
from ser_probe.models.loading import load_backbone, save_backbone
from ser_probe.models.model_files import Stored, look_at_weights, refuse_non_finite, refuse_too_large


@pytest.fixture
def folder(tmp_path: Path, tiny_models: dict[str, Backbone]) -> Path:
    """A saved model: WavLM, 418 thousand weights."""
    save_backbone(tiny_models["tiny-wavlm-base"], tmp_path / "model")
    return tmp_path / "model"


def configure(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hidden_size", 0, "hidden_size is 0"),
        ("num_attention_heads", -2, "num_attention_heads is -2"),
        ("conv_stride", [5, 2, 2, 2, 2, 2, 0], "conv_stride is "),
        ("conv_kernel", [10, 3], "could not be loaded(.|\\n)*conv_kernel"),
        ("conv_dim", [], "could not be loaded(.|\\n)*conv_dim"),
        ("layer_norm_eps", -1.0, "layer_norm_eps is -1.0"),
        ("intermediate_size", 1 << 40, "intermediate_size is "),
        ("num_hidden_layers", 10**6, "asked for|1,000,000 blocks"),
        ("intermediate_size", 1 << 22, "do not fit: one of them is damaged"),
        ("num_attention_heads", 5, "config of the local model could not be loaded|weights of the local model"),
        ("hidden_act", "magic", "could not be loaded"),
        ("layer_norm_eps", "small", "could not be loaded|layer_norm_eps"),
    ],
)
def test_a_config_that_no_model_has(folder: Path, name: str, value: Any, message: str) -> None:
    configure(folder / "config.json", **{name: value})
    with pytest.raises(BackboneError, match=message):
        load_backbone(folder)


@pytest.mark.parametrize(
    "entries", [{"num_hidden_layers": 10**6}, {"intermediate_size": 1 << 24, "hidden_size": 1 << 14}]
)
def test_random_weights_that_memory_does_not_hold(folder: Path, entries: dict[str, int]) -> None:
    configure(folder / "config.json", **entries)
    with pytest.raises(BackboneError, match=r"does not fit into memory(.|\n)*config.json"):
        load_backbone(folder, random_weights=1)


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ({"sampling_rate": 10**9}, "sampling_rate is 1000000000, not a whole number from 1 to 768,000"),
        ({"sampling_rate": 16000.5}, "sampling_rate is 16000.5"),
        ({"sampling_rate": True}, "sampling_rate is True"),
        ({"do_normalize": "yes"}, "do_normalize is 'yes', not true or false"),
    ],
)
def test_settings_of_a_feature_extractor_that_none_has(folder: Path, entries: dict[str, Any], found: str) -> None:
    configure(folder / "preprocessor_config.json", **entries)
    with pytest.raises(BackboneError, match="feature extractor cannot be read") as caught:
        load_backbone(folder)
    assert found in str(caught.value.found)
    (folder / "preprocessor_config.json").write_text("[1]")
    with pytest.raises(BackboneError, match=r"feature extractor cannot be read(.|\n)*in place of an object"):
        load_backbone(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "name", ["encoder.layers.2.attention.q_proj.bias", "feature_extractor.conv_layers.0.conv.weight"]
)
def test_weights_that_are_not_finite_are_named(folder: Path, name: str, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    weights[name].view(-1)[3] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackboneError, match="Weights are NaN or infinite") as caught:
        load_backbone(folder)
    assert caught.value.where == folder / "model.safetensors"
    assert f"{name}: 1 of {weights[name].numel()} values" in str(caught.value.found)


def test_weights_beyond_float32_are_infinite(folder: Path) -> None:
    weights = {name: weight.double() for name, weight in load_file(folder / "model.safetensors").items()}
    weights["encoder.layer_norm.bias"][0] = 1e300
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackboneError, match=r"NaN or infinite(.|\n)*encoder.layer_norm.bias: 1 of 96"):
        load_backbone(folder)


def test_a_sum_that_is_finite_tells_that_all_values_are() -> None:
    largest = torch.full((1000, 1000), torch.finfo(torch.float32).max)
    refuse_non_finite({"w": largest, "n": torch.arange(3), "none": torch.zeros(0)}, "w", CheckpointError)
    cancelled = torch.tensor([float("inf"), -float("inf")])
    with pytest.raises(CheckpointError, match=r"w: 2 of 2 values; 1 more tensors"):
        refuse_non_finite({"w": cancelled, "v": torch.tensor([float("nan")])}, "w", CheckpointError)


def test_what_files_hold_is_seen_without_reading_them(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    assert look_at_weights(folder) == Stored(len(weights), sum(weight.numel() for weight in weights.values()))
    (tmp_path / "bin").mkdir()
    torch.save(weights, tmp_path / "bin/pytorch_model.bin")
    stored = look_at_weights(tmp_path / "bin")
    assert stored is not None
    assert stored.tensors >= len(weights)
    assert stored.values == (tmp_path / "bin/pytorch_model.bin").stat().st_size
    for damaged in (b"", b"PK\x03\x04"):
        (tmp_path / "bin/pytorch_model.bin").write_bytes(damaged)
        assert look_at_weights(tmp_path / "bin") is None
    assert look_at_weights(tmp_path) is None


def test_a_model_larger_than_its_file_is_refused_without_memory() -> None:
    built = []

    def build() -> nn.Module:
        built.append(nn.Linear(1 << 20, 1 << 20))  # 4 TiB, were it real
        return built[-1]

    with pytest.raises(BackboneError, match=r"hold: 1,000 values in 4 tensors(.|\n)*found: 1,099,512,676,352 weights"):
        refuse_too_large(build, 2, "config.json", stored=Stored(4, 1000))
    assert built[0].weight.is_meta
