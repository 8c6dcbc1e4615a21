"""How much of a classifier trains: every part on every family, and that what counts as trained gets a gradient."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ser_probe.errors import ConfigError
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.heads import HeadSettings, SerClassifier
from ser_probe.models.loading import load_backbone
from ser_probe.models.lora import LoraSettings
from ser_probe.models.targets import Targets
from ser_probe.models.trained_part import TRAINED, ClassifierPart, TrainedPart, choose_trained, parse_trained

TRAINABLE = [name for name, config in TINY_CONFIGS.items() if config["model_type"] not in ("wav2vec2-bert", "whisper")]
PARTS = ("encoder", "all", "last:1", "last:2", "head", "lora")
LAYERS = ("final", "weighted", 2, 4)
"""Of four blocks: the last of them is not `final` where a norm follows."""

LABELS = torch.tensor([0, 1, 2])


def make(name: str, layers: str | int = "final", *, spec_augment: bool = False) -> SerClassifier:
    torch.manual_seed(0)
    targets = Targets("classes", ("anger", "joy", "sadness"))
    return SerClassifier(load_backbone(name), targets, HeadSettings(layers=layers), spec_augment=spec_augment)


def choose(classifier: SerClassifier, part: str, layers: str | int = "final") -> TrainedPart:
    deepest = layers if isinstance(layers, int) else None
    return choose_trained(classifier, part, spec_augment=classifier.spec_augment, deepest=deepest)


def backward(classifier: SerClassifier, clips: list[np.ndarray]) -> None:
    classifier.train()
    nn.functional.cross_entropy(classifier(clips[10:13]), LABELS).backward()


def trained_names(classifier: SerClassifier) -> set[str]:
    return {name for name, weight in classifier.backbone.model.named_parameters() if weight.requires_grad}


def of_blocks(names: set[str], *numbers: int) -> set[str]:
    return {name for name in names if name.startswith(tuple(f"encoder.layers.{number}." for number in numbers))}


WITH_ALL_LAYERS = ("tiny-wavlm-base", "tiny-wavlm-large")
"""Norms follow the blocks of one, and go before those of the other. Of other models `-m slow` tries every layer."""


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        pytest.param(name, layers, marks=[] if name in WITH_ALL_LAYERS or layers == 2 else pytest.mark.slow)
        for name in TRAINABLE
        for layers in LAYERS
    ],
)
@pytest.mark.parametrize("part", PARTS)
def test_a_gradient_reaches_all_that_counts_as_trained_and_nothing_else(
    name: str, part: str, layers: str | int, clips: list[np.ndarray]
) -> None:
    classifier = make(name, layers)
    said = choose(classifier, part, layers)
    backward(classifier, clips)
    weights = dict(classifier.named_parameters())
    assert {n for n, w in weights.items() if w.grad is not None} == {n for n, w in weights.items() if w.requires_grad}
    assert said.n_trained == sum(weight.numel() for weight in weights.values() if weight.requires_grad)
    assert said.n_total == sum(weight.numel() for weight in weights.values())


def test_blocks_behind_the_head_would_get_no_gradient(clips: list[np.ndarray]) -> None:
    """The counter-case: what `deepest` is for."""
    classifier = make("tiny-wav2vec2-large", 2)
    choose_trained(classifier, "encoder")
    backward(classifier, clips)
    missed = {n for n, w in classifier.backbone.model.named_parameters() if w.requires_grad and w.grad is None}
    assert missed == of_blocks(missed, 2, 3) | {"encoder.layer_norm.weight", "encoder.layer_norm.bias"}
    assert of_blocks(missed, 2)
    assert of_blocks(missed, 3)


@pytest.mark.parametrize("name", ["tiny-wavlm-base", "tiny-wavlm-large"])
def test_what_the_parts_are(name: str) -> None:
    every = {name for name, _ in load_backbone(name).model.named_parameters()}
    front_end = {name for name in every if name.startswith("feature_extractor.")}
    final_norm = {name for name in every if name.startswith("encoder.layer_norm.")} if "large" in name else set()
    found = {}
    for part in PARTS:
        classifier = make(name)
        choose(classifier, part)
        assert all(weight.requires_grad for weight in classifier.head.parameters())
        found[part] = trained_names(classifier)
    assert found["all"] == every - {"masked_spec_embed"}
    assert found["encoder"] == found["all"] - front_end
    assert found["last:1"] == of_blocks(every, 3) | final_norm
    assert found["last:2"] == of_blocks(every, 2, 3) | final_norm
    assert found["head"] == set()
    assert len(found["lora"]) == 2 * 2 * 4  # A and B, of two layers, in four blocks
    assert all(".lora_" in name for name in found["lora"])


def test_the_last_blocks_are_those_that_the_head_hears() -> None:
    classifier = make("tiny-hubert-large", 3)
    said = choose(classifier, "last:2", 3)
    assert trained_names(classifier) == of_blocks(trained_names(classifier), 1, 2)
    assert said.names == ("encoder.layers.1-2", "head")


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (
            "all",
            ("feature_extractor", "feature_projection", "encoder.pos_conv_embed", "encoder.layer_norm",
             "encoder.layers.0-3", "head"),
        ),
        ("last:1", ("encoder.layer_norm", "encoder.layers.3", "head")),
        ("head", ("head",)),
        ("lora", ("lora in encoder.layers.0-3", "head")),
    ],
)  # fmt: skip
def test_a_report_can_name_what_trains(part: str, names: tuple[str, ...]) -> None:
    assert choose(make("tiny-wav2vec2-large"), part).names == names


def test_a_part_in_words() -> None:
    said = str(TrainedPart(1_500, 1_000_000, ("encoder.layers.3", "head")))
    assert said == "1,500 of 1,000,000 parameters (0.15%): encoder.layers.3, head"


@pytest.mark.parametrize("part", PARTS)
def test_what_is_frozen_stays(part: str, clips: list[np.ndarray]) -> None:
    classifier = make("tiny-wavlm-base")
    choose(classifier, part)
    before = copy.deepcopy(classifier.state_dict())
    trained = {name for name, weight in classifier.named_parameters() if weight.requires_grad}
    optimiser = torch.optim.AdamW([w for w in classifier.parameters() if w.requires_grad], lr=1e-2, weight_decay=0.1)
    for _ in range(2):  # after the first step A of an adapter gets its first gradient: B is no longer zero
        optimiser.zero_grad()
        backward(classifier, clips)
        optimiser.step()
    changed = {name for name, weight in classifier.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == trained


@pytest.mark.parametrize("mask_time_prob", [0.0, 0.5])
@pytest.mark.parametrize("spec_augment", [False, True])
def test_the_vector_of_masked_frames_trains_where_frames_are_masked(
    spec_augment: bool, mask_time_prob: float, clips: list[np.ndarray]
) -> None:
    classifier = make("tiny-wav2vec2-base", spec_augment=spec_augment)
    classifier.backbone.model.config.mask_time_prob = mask_time_prob
    choose(classifier, "encoder")
    backward(classifier, clips)
    weight = classifier.backbone.model.masked_spec_embed
    assert weight.requires_grad == (weight.grad is not None) == (spec_augment and mask_time_prob > 0)


@pytest.mark.parametrize("part", PARTS)
def test_only_a_trained_front_end_makes_samples_require_a_gradient(part: str, clips: list[np.ndarray]) -> None:
    classifier = make("tiny-hubert-base")
    choose(classifier, part)
    seen = []
    first = classifier.backbone.model.feature_extractor.conv_layers[0]
    first.register_forward_pre_hook(lambda _module, args: seen.append(args[0].requires_grad))
    backward(classifier, clips)
    assert seen == [part == "all"] * 3


def test_a_choice_replaces_the_one_before(clips: list[np.ndarray]) -> None:
    classifier = make("tiny-hubert-base")
    once = choose(classifier, "all")
    choose(classifier, "head")
    assert choose(classifier, "all") == once
    backward(classifier, clips)
    assert all(weight.grad is not None for weight in classifier.backbone.model.feature_extractor.parameters())


def test_dropout_of_frozen_blocks_stays_active(clips: list[np.ndarray]) -> None:
    classifier = make("tiny-wav2vec2-base")
    choose(classifier, "head")
    with torch.no_grad():
        assert not torch.equal(classifier.train()(clips[10:12]), classifier(clips[10:12]))
        assert torch.equal(classifier.eval()(clips[10:12]), classifier(clips[10:12]))


def test_gradient_checkpointing_reaches_adapters_in_a_frozen_model(clips: list[np.ndarray]) -> None:
    classifier = make("tiny-wavlm-large")
    classifier.backbone.model.gradient_checkpointing_enable()
    choose(classifier, "lora")
    backward(classifier, clips)
    assert all(weight.grad is not None for weight in classifier.parameters() if weight.requires_grad)


def test_settings_of_the_adapters_are_passed_on() -> None:
    classifier = make("tiny-wavlm-base")
    choose_trained(classifier, "lora", LoraSettings(rank=3, targets=("out_proj",)), seed=5)
    shapes = {weight.shape for weight in classifier.backbone.model.parameters() if weight.requires_grad}
    assert shapes == {(3, 96), (96, 3)}


@pytest.mark.parametrize(
    ("text", "part"), [("last:1", ClassifierPart("last", 1)), ("last:24", ClassifierPart("last", 24))]
)
def test_last_blocks(text: str, part: ClassifierPart) -> None:
    assert parse_trained(text) == part


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "last:K"])
def test_names(name: str) -> None:
    assert parse_trained(name) == ClassifierPart(name)


@pytest.mark.parametrize("text", ["last", "last:", "last:0", "last:-1", "last:K", "last:1.5", "last: 2", "last:99999"])
def test_last_needs_a_number(text: str) -> None:
    with pytest.raises(ConfigError, match="number of blocks that train is not one") as caught:
        parse_trained(text)
    assert caught.value.found == text


def test_an_unknown_part_is_refused_with_the_near_ones() -> None:
    with pytest.raises(ConfigError, match="no such part of a classifier to train") as caught:
        parse_trained("encodr")
    assert caught.value.fix == "did you mean 'encoder'?"


@pytest.mark.parametrize(
    ("part", "layers", "expected"),
    [("last:5", "final", "last:1 to last:4"), ("last:3", 2, "last:1 to last:2"), ("last:1", 0, "another part")],
)
def test_more_blocks_than_there_are(part: str, layers: str | int, expected: str) -> None:
    classifier = make("tiny-wavlm-base", layers)
    with pytest.raises(ConfigError, match="More blocks are to train than the head hears") as caught:
        choose(classifier, part, layers)
    assert expected in str(caught.value.expected)
