"""Low-rank adapters: no change at first, an effect once trained, and plain weights that compute the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from ser_probe.errors import CheckpointError, ConfigError, MissingExtraError
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.loading import load_backbone, save_backbone
from ser_probe.models.lora import TARGETS, LoraSettings, add_lora, load_lora, lora_state, merged_state
from tests.models.conftest import RELATIVE_TOLERANCE, relative_difference

TRAINABLE = [name for name, config in TINY_CONFIGS.items() if config["model_type"] not in ("wav2vec2-bert", "whisper")]

EFFECT = 1e-4
"""What adapters of the size below change at least, relative: ten times the tolerance. That of queries and keys is the
weakest, because models of random weights attend almost evenly."""

ALL_LAYERS = LoraSettings(rank=4, targets=TARGETS)


def train(model: torch.nn.Module, seed: int = 3) -> None:
    """Give adapters the weights that training might."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_" in name:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))


@pytest.fixture(params=TRAINABLE)
def adapted(request: pytest.FixtureRequest) -> Backbone:
    """Each trainable tiny model with trained adapters in all linear layers of its blocks."""
    backbone = load_backbone(request.param)
    add_lora(backbone.model, ALL_LAYERS, seed=0)
    train(backbone.model)
    return backbone


@pytest.mark.parametrize("name", TRAINABLE)
def test_new_adapters_change_nothing(name: str, tiny_models: dict[str, Backbone], clips: list[np.ndarray]) -> None:
    backbone = load_backbone(name)
    add_lora(backbone.model, ALL_LAYERS, seed=0)
    found, expected = (pooled_layers(each, clips[6:10]) for each in (backbone, tiny_models[name]))
    np.testing.assert_array_equal(found, expected)
    assert backbone.weights_hash() == tiny_models[name].weights_hash()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", TRAINABLE)
def test_an_adapter_has_an_effect_wherever_it_is(
    name: str, target: str, tiny_models: dict[str, Backbone], clips: list[np.ndarray]
) -> None:
    """Also in WavLM, whose stock attention reads the weights of its projections and would pass the adapters by."""
    backbone = load_backbone(name)
    add_lora(backbone.model, LoraSettings(targets=(target,)), seed=0)
    train(backbone.model)
    changed, plain = (pooled_layers(each, clips[6:8])[-1] for each in (backbone, tiny_models[name]))
    assert relative_difference(changed, plain) > EFFECT


def test_a_saved_model_is_a_plain_one_that_computes_the_same(
    adapted: Backbone, tmp_path: Path, clips: list[np.ndarray]
) -> None:
    save_backbone(adapted, tmp_path)
    plain = load_backbone(adapted.name)
    assert set(load_file(tmp_path / "model.safetensors")) == set(plain.model.state_dict())
    loaded = load_backbone(tmp_path)
    found, expected = pooled_layers(loaded, clips[4:9]), pooled_layers(adapted, clips[4:9])
    assert relative_difference(found, expected) < RELATIVE_TOLERANCE
    assert relative_difference(pooled_layers(plain, clips[4:9])[-1], expected[-1]) > EFFECT
    assert loaded.weights_hash() == adapted.weights_hash() != plain.weights_hash()
    assert loaded.architecture() == adapted.architecture()


def test_others_open_it(adapted: Backbone, tmp_path: Path, clips: list[np.ndarray]) -> None:
    save_backbone(adapted, tmp_path)
    model, loading = transformers.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    samples = torch.from_numpy(adapted.input.prepare(clips[9]))[None]
    with torch.inference_mode():
        final = model.eval()(samples).last_hidden_state.mean(dim=1).numpy()
    assert relative_difference(final, pooled_layers(adapted, [clips[9]])[-1]) < RELATIVE_TOLERANCE


def test_merging_follows_the_equation_and_leaves_the_model(adapted: Backbone) -> None:
    model = adapted.model
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    state = merged_state(model)
    layer = "encoder.layers.1.attention.q_proj"
    scale = ALL_LAYERS.alpha / ALL_LAYERS.rank
    delta = scale * before[f"{layer}.lora_B.default.weight"] @ before[f"{layer}.lora_A.default.weight"]
    torch.testing.assert_close(state[f"{layer}.weight"], before[f"{layer}.base_layer.weight"] + delta)
    assert torch.equal(state[f"{layer}.bias"], before[f"{layer}.base_layer.bias"])
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_model_without_adapters_is_its_own_merge(tiny_models: dict[str, Backbone]) -> None:
    for backbone in tiny_models.values():
        state, merged = backbone.model.state_dict(), merged_state(backbone.model)
        assert list(state) == list(merged)
        assert all(merged[name].data_ptr() == weight.data_ptr() for name, weight in state.items())


def test_adapters_come_back(adapted: Backbone, clips: list[np.ndarray]) -> None:
    again = load_backbone(adapted.name)
    add_lora(again.model, ALL_LAYERS, seed=99)
    saved = lora_state(adapted.model)
    load_lora(again.model, saved)
    assert len(saved) == 2 * len(TARGETS) * adapted.n_layers
    np.testing.assert_array_equal(pooled_layers(again, clips[6:9]), pooled_layers(adapted, clips[6:9]))


def test_a_seed_draws_the_adapters_and_nothing_else() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(drawn))
        state = torch.get_rng_state()
        backbone = load_backbone("tiny-wavlm-base")
        add_lora(backbone.model, LoraSettings(), seed)
        drawn.append(lora_state(backbone.model)["encoder.layers.0.attention.q_proj.lora_A.weight"])
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_adapters_alone_train() -> None:
    backbone = load_backbone("tiny-hubert-large")
    add_lora(backbone.model, LoraSettings(rank=3), seed=0)
    trained = {name: tuple(weight.shape) for name, weight in backbone.model.named_parameters() if weight.requires_grad}
    assert all(".lora_" in name for name in trained)
    assert sorted(trained.values()) == [(3, 96)] * 8 + [(96, 3)] * 8


def test_dropout_of_adapters_acts_in_training_only(clips: list[np.ndarray]) -> None:
    backbone = load_backbone("tiny-wav2vec2-base")
    add_lora(backbone.model, LoraSettings(dropout=0.5), seed=0)
    train(backbone.model)
    linear = backbone.model.encoder.layers[0].attention.q_proj
    with torch.inference_mode():
        assert not torch.equal(linear.train()(torch.ones(2, 96)), linear(torch.ones(2, 96)))
        assert torch.equal(linear.eval()(torch.ones(2, 96)), linear(torch.ones(2, 96)))


def test_adapters_are_added_once(adapted: Backbone) -> None:
    with pytest.raises(ValueError, match="has adapters already"):
        add_lora(adapted.model, LoraSettings(), seed=0)


@pytest.mark.parametrize("settings", [LoraSettings(rank=5, targets=TARGETS), LoraSettings(rank=4)])
def test_adapters_of_other_settings_do_not_fit(adapted: Backbone, settings: LoraSettings) -> None:
    other = load_backbone(adapted.name)
    add_lora(other.model, settings, seed=0)
    before = lora_state(other.model)
    with pytest.raises(CheckpointError, match="adapters' weights do not fit") as caught:
        load_lora(other.model, lora_state(adapted.model))
    assert "lora_" in str(caught.value.where)
    after = lora_state(other.model)
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"rank": 0}, "rank must be a whole number from 1 on. Got 0."),
        ({"rank": 1.5}, "rank must be a whole number from 1 on. Got 1.5."),
        ({"alpha": 0.0}, "alpha must be above 0 and finite. Got 0.0."),
        ({"alpha": float("inf")}, "alpha must be above 0 and finite. Got inf."),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1. Got 1.0."),
        ({"targets": ()}, "targets must name at least one of q_proj,"),
        ({"targets": ("q_proj", "q_prj")}, "targets knows no layer 'q_prj': did you mean 'q_proj'"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigError, match="settings of the adapters cannot be used: 1 fault") as caught:
        LoraSettings(**settings)  # type: ignore[arg-type]
    assert fault in str(caught.value)


def test_all_faults_of_the_settings_at_once() -> None:
    with pytest.raises(ConfigError, match="3 faults"):
        LoraSettings(rank=-1, alpha=-1.0, dropout=2.0)


def test_peft_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)  # as Python does where a package is not installed
    with pytest.raises(MissingExtraError, match="Training low-rank adapters needs the package 'peft'") as caught:
        add_lora(load_backbone("tiny-wavlm-base").model, LoraSettings(), seed=0)
    assert caught.value.fix == "pip install 'ser-probe[peft]'"


def test_names_and_settings_load_neither_torch_nor_peft() -> None:
    script = (
        "import sys, ser_probe.models.trained_part as part; part.parse_trained('last:2'); part.LoraSettings();"
        "assert not {'torch', 'peft', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
