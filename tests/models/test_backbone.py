"""What identifies a backbone: its layers, and hashes of its weights, its architecture and its front end."""

from __future__ import annotations

import torch

from ser_probe.models.backbone import Backbone, hash_tensors
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.inputs import InputSpec
from ser_probe.models.loading import load_backbone


def test_a_backbone_knows_itself(backbone: Backbone) -> None:
    config = TINY_CONFIGS[backbone.name]
    large = backbone.name.endswith("large")
    assert backbone.family == config["model_type"]
    assert (backbone.n_layers, backbone.width) == (config["num_hidden_layers"], config["hidden_size"])
    assert backbone.layer_names == ("0", "1", "2", "3", "4", "final")[: 6 if large else 5]
    assert backbone.aliases == ({} if large else {"final": "4"})
    assert (backbone.pre_norm, backbone.input.normalise, backbone.input.sample_rate_hz) == (large, large, 16_000)
    assert backbone.device == torch.device("cpu")
    assert not backbone.model.training
    assert {p.dtype for p in backbone.model.parameters()} == {torch.float32}


def test_every_family_names_its_layers(any_backbone: Backbone) -> None:
    n_layers = TINY_CONFIGS[any_backbone.name]["num_hidden_layers"]
    assert (any_backbone.n_layers, any_backbone.width) == (n_layers, TINY_CONFIGS[any_backbone.name]["hidden_size"])
    blocks = tuple(str(index) for index in range(n_layers + 1))
    has_norm = any_backbone.name.endswith("large") or any_backbone.family == "whisper"
    assert any_backbone.layer_names == ((*blocks, "final") if has_norm else blocks)
    assert any_backbone.aliases == ({} if has_norm else {"final": blocks[-1]})


def test_the_weights_hash_sees_what_the_forward_pass_uses_and_nothing_else() -> None:
    backbone = load_backbone("tiny-hubert-large")
    whole, front = backbone.weights_hash(), backbone.front_end_hash()
    with torch.no_grad():
        backbone.model.masked_spec_embed += 1
    assert backbone.weights_hash() == whole
    with torch.no_grad():
        backbone.model.encoder.layers[3].final_layer_norm.bias[0] += 1e-6
    assert backbone.weights_hash() != whole
    assert backbone.front_end_hash() == front


def test_hash_tensors_sees_names_types_and_shapes() -> None:
    zeros = torch.zeros(4)
    variants = [{"a": zeros}, {"b": zeros}, {"a": zeros.view(2, 2)}, {"a": zeros.int()}, {"a": zeros.bfloat16()}]
    assert len({hash_tensors(variant) for variant in variants}) == len(variants)
    assert hash_tensors({"a": zeros, "b": zeros + 1}) == hash_tensors({"b": zeros + 1, "a": zeros})


def test_the_front_end_is_what_makes_the_same_frames_of_a_clip(tiny_models: dict[str, Backbone]) -> None:
    """Checkpoints of equal front ends share its computation."""
    plain = tiny_models["tiny-hubert-base"]
    tuned = load_backbone("tiny-hubert-base")
    with torch.no_grad():
        tuned.model.encoder.layers[0].final_layer_norm.bias += 1
    assert tuned.front_end_ingredients() == plain.front_end_ingredients()
    assert Backbone(plain.model, "x", InputSpec(16_000, True)).front_end_ingredients() != plain.front_end_ingredients()
    strided = load_backbone("tiny-hubert-base")
    strided.model.config.conv_stride = [5, 2, 2, 2, 2, 2, 1]
    assert strided.front_end_ingredients() != plain.front_end_ingredients()
    # A front end without weights is told by what it is fed.
    bert = tiny_models["tiny-wav2vec2-bert"].front_end_ingredients()
    assert bert["input"]["log_mel"]["stride"] == 2
    distinct = [str(tiny_models[name].front_end_ingredients()) for name in ("tiny-whisper", "tiny-wavlm-base")]
    assert len({str(bert), *distinct}) == 3
