"""The classifier: what is trained is what is measured, whatever its head stands on."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ser_probe.errors import BackboneError, ConfigError
from ser_probe.models.backbone import Backbone
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.forward import run_front_end
from ser_probe.models.frame_pooling import HEAD_POOLINGS, FixedPooling
from ser_probe.models.heads import HeadSettings, SerClassifier
from ser_probe.models.loading import load_backbone
from ser_probe.models.targets import Targets
from ser_probe.models.trained_part import choose_trained
from tests.models.conftest import RELATIVE_TOLERANCE, relative_difference

N_CLASSES = 5
TARGETS = Targets("classes", ("anger", "disgust", "fear", "joy", "sadness"))

LAYERS: list[tuple[str | int, str]] = [
    *(("final", "frames"), (1, "frames")),
    *((layers, mix) for layers in ("weighted", "weighted-raw") for mix in ("frames", "pooled")),
]
"""Every way to come to one layer."""

FULL: dict[str, Any] = {"hidden": (12, 8), "relu": True, "batch_norm": True, "dropout": 0.25}


def build(backbone: str | Backbone, seed: int = 0, **settings: Any) -> SerClassifier:
    """Return a classifier on a backbone, or on its own copy of a tiny model."""
    backbone = load_backbone(backbone) if isinstance(backbone, str) else backbone
    torch.manual_seed(seed)
    return SerClassifier(backbone, TARGETS, HeadSettings(**settings))


def shake(classifier: SerClassifier) -> SerClassifier:
    """Give the head weights and stored statistics that no seed would give it."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, tensor in classifier.head.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator)
                noise *= 0.3 * tensor.std() if tensor.ndim > 1 else 0.1  # larger ones would blow up rounding
                tensor += noise.abs() if name.endswith("running_var") else noise
    return classifier


@pytest.fixture
def classifier(backbone: Backbone) -> SerClassifier:
    """A classifier on its own copy of each tiny model."""
    return build(backbone.name)


def test_logits_are_the_head_of_the_extracted_final_layer(classifier: SerClassifier, clips: list[np.ndarray]) -> None:
    classifier.eval()
    with torch.inference_mode():
        logits = classifier(clips[4:12]).numpy()
        extracted = torch.from_numpy(pooled_layers(classifier.backbone, clips[4:12])[-1])
        expected = classifier.head.classify(extracted).numpy()
    assert logits.shape == (8, N_CLASSES)
    np.testing.assert_array_equal(logits, expected)


def test_frames_computed_once_give_what_clips_give(classifier: SerClassifier, clips: list[np.ndarray]) -> None:
    classifier.eval()
    with torch.inference_mode():
        frames = run_front_end(classifier.backbone, clips[4:12])
        assert torch.equal(classifier(frames), classifier(clips[4:12]))


def test_logits_do_not_depend_on_the_batch(classifier: SerClassifier, clips: list[np.ndarray]) -> None:
    classifier.eval()
    with torch.inference_mode():
        together = classifier(clips).numpy()
        alone = np.concatenate([classifier([clip]).numpy() for clip in clips])
    assert relative_difference(together, alone) < RELATIVE_TOLERANCE


@pytest.mark.parametrize("frozen", [True, False])
def test_gradient_reaches_all_that_is_trained(classifier: SerClassifier, clips: list[np.ndarray], frozen: bool) -> None:
    if frozen:
        choose_trained(classifier, "encoder")
    classifier.train()
    loss = torch.nn.functional.cross_entropy(classifier(clips[4:8]), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    for name, weight in classifier.named_parameters():
        reached = weight.grad is not None and bool(weight.grad.ne(0).any())
        if name == "model.masked_spec_embed" or (frozen and name.startswith("model.feature_extractor.")):
            assert weight.grad is None, name
        else:
            assert reached, name


def test_the_backbone_is_trained_in_place(clips: list[np.ndarray]) -> None:
    """What is extracted after a step is what the step made."""
    classifier = build("tiny-wavlm-base")
    choose_trained(classifier, "encoder")
    front, whole = classifier.backbone.front_end_hash(), classifier.backbone.weights_hash()
    before = pooled_layers(classifier.backbone, clips[4:8])
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    classifier.train()
    torch.nn.functional.cross_entropy(classifier(clips[4:8]), torch.tensor([0, 1, 2, 3])).backward()
    optimiser.step()
    assert classifier.backbone.front_end_hash() == front
    assert classifier.backbone.weights_hash() != whole
    assert relative_difference(pooled_layers(classifier.backbone, clips[4:8]), before) > 1e-3


def test_a_few_steps_learn_a_batch_by_heart(clips: list[np.ndarray]) -> None:
    classifier = build("tiny-hubert-large", seed=1)
    choose_trained(classifier, "encoder")
    frames = run_front_end(classifier.backbone, clips[4:12])
    labels = torch.arange(8) % 4
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    classifier.train()
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(classifier(frames), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert (classifier.eval()(frames).argmax(dim=1) == labels).all()


def test_spec_augment_is_a_switch(clips: list[np.ndarray]) -> None:
    backbone = load_backbone("tiny-wav2vec2-large")
    backbone.model.config.mask_time_prob = 0.5
    for spec_augment in (True, False):
        classifier = SerClassifier(backbone, TARGETS, spec_augment=spec_augment).train()
        backbone.model.zero_grad()
        classifier(clips[20:24]).square().sum().backward()
        reached = backbone.model.masked_spec_embed.grad is not None
        assert reached == spec_augment


# --------------------------------------------------------------------------------------------------------------------
# Every head


@pytest.fixture(params=[(pooling, *layers) for pooling in HEAD_POOLINGS for layers in LAYERS], ids=str)
def made_of(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of each pooling on each way to come to one layer."""
    return dict(zip(("pooling", "layers", "mix"), request.param, strict=True))


@pytest.fixture
def short(clips: list[np.ndarray]) -> list[np.ndarray]:
    """Four clips of differing lengths; the first has a single frame."""
    return sorted(clips, key=len)[2:6]


# A head sees layers and lengths alone: each on one backbone; test_logits_do_not_depend_on_the_batch has the others.
@pytest.mark.parametrize("name", [pytest.param("tiny-hubert-base", marks=pytest.mark.slow), "tiny-wavlm-large"])
def test_outputs_do_not_depend_on_the_batch(
    tiny_models: dict[str, Backbone], name: str, made_of: dict[str, Any], short: list[np.ndarray]
) -> None:
    classifier = shake(build(tiny_models[name], **made_of, **FULL)).eval()
    with torch.inference_mode():
        together = classifier(short).numpy()
        alone = np.concatenate([classifier([clip]).numpy() for clip in short])
    assert together.shape == (4, N_CLASSES)
    assert relative_difference(together, alone) < RELATIVE_TOLERANCE


def test_a_pooling_over_padding_would_make_them_depend(clips: list[np.ndarray]) -> None:
    """The counter-case."""

    class Careless(FixedPooling):
        def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
            return super().forward(hidden, torch.ones_like(mask))

    classifier = shake(build("tiny-wavlm-large", **FULL)).eval()
    classifier.head.pooling = Careless("mean", classifier.backbone.width)
    with torch.inference_mode():
        together = classifier(clips[2:8]).numpy()
        alone = np.concatenate([classifier([clip]).numpy() for clip in clips[2:8]])
    assert relative_difference(together, alone) > 100 * RELATIVE_TOLERANCE


def test_gradient_reaches_every_weight_of_the_head(made_of: dict[str, Any], short: list[np.ndarray]) -> None:
    classifier = build("tiny-wavlm-large", **made_of, hidden=(12,), dropout=0.1).train()
    loss = functional.cross_entropy(classifier(short), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    for key, weight in classifier.head.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.isfinite().all(), key
        assert weight.grad.ne(0).any(), key
    # Blocks above the layer that the head stands on have nothing to learn, all others have.
    last = classifier.head.mixing.layers if made_of["layers"] == 1 else classifier.backbone.n_layers
    reached = [block.feed_forward.output_dense.weight.grad is not None for block in classifier.model.encoder.layers]
    assert reached == [position < last for position in range(classifier.backbone.n_layers)]


def test_first_weights_are_a_function_of_the_seed(tiny_models: dict[str, Backbone], made_of: dict[str, Any]) -> None:
    backbone = tiny_models["tiny-hubert-base"]
    one, same, other = (build(backbone, seed, **made_of, **FULL).head.state_dict() for seed in (3, 3, 4))
    assert one.keys() == same.keys()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["linear.weight"], other["linear.weight"])


@pytest.mark.parametrize("layers", ["weighted", "weighted-raw"])
def test_weights_of_layers_are_learned(layers: str, clips: list[np.ndarray]) -> None:
    classifier = build("tiny-wavlm-large", layers=layers).train()
    before = classifier.layer_weights()
    optimiser = torch.optim.SGD(classifier.head.parameters(), lr=1.0)
    functional.cross_entropy(classifier(clips[4:8]), torch.tensor([0, 1, 2, 3])).backward()
    optimiser.step()
    after = classifier.layer_weights()
    assert [*after] == [*classifier.backbone.layer_names]
    assert all(after[name] != before[name] for name in after)


@pytest.mark.parametrize(("layers", "told"), [("final", {"final": 1.0}), (2, {"2": 1.0})])
def test_a_single_layer_has_all_the_weight(layers: str | int, told: dict[str, float]) -> None:
    assert build("tiny-hubert-base", layers=layers).layer_weights() == told


@torch.inference_mode()
def test_layers_are_mixed_before_or_after_pooling_as_settings_say(
    tiny_models: dict[str, Backbone], short: list[np.ndarray]
) -> None:
    backbone = tiny_models["tiny-wavlm-large"]
    before, after = (build(backbone, pooling="max", layers="weighted", mix=mix).eval() for mix in ("frames", "pooled"))
    maxima = torch.from_numpy(pooled_layers(backbone, short, "max"))
    expected = after.head.classify(maxima.mean(dim=0))
    assert relative_difference(after(short).numpy(), expected.numpy()) < RELATIVE_TOLERANCE
    assert relative_difference(before(short).numpy(), expected.numpy()) > 100 * RELATIVE_TOLERANCE


# --------------------------------------------------------------------------------------------------------------------
# The layers of a head


def test_the_plain_head_is_one_linear_layer() -> None:
    classifier = build("tiny-wavlm-base", seed=9)
    torch.manual_seed(9)
    linear = nn.Linear(classifier.backbone.width, N_CLASSES)
    weights = classifier.head.state_dict()
    assert [*weights] == ["linear.weight", "linear.bias"]
    assert torch.equal(weights["linear.weight"], linear.weight)
    assert torch.equal(weights["linear.bias"], linear.bias)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_layers_come_in_the_order_that_is_documented(batch_norm: bool, relu: bool) -> None:
    classifier = build("tiny-wavlm-base", **{**FULL, "batch_norm": batch_norm, "relu": relu})
    head = shake(classifier).head.eval()
    pooled = torch.randn(7, classifier.backbone.width, generator=torch.Generator().manual_seed(1))

    norms = [module for module in head.layers.modules() if isinstance(module, nn.BatchNorm1d)]
    linears = [module for module in head.layers.modules() if isinstance(module, nn.Linear)]
    assert [linear.out_features for linear in linears] == [12, 8]
    assert [linear.bias is None for linear in linears] == [batch_norm] * 2
    assert [norm.num_features for norm in norms] == ([classifier.backbone.width, 12, 8] if batch_norm else [])

    def normalise(values: Tensor, position: int) -> Tensor:
        if not batch_norm:
            return values
        norm = norms[position]
        return (values - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias

    expected = normalise(pooled, 0)
    expected = expected.clamp_min(0) if relu else expected
    for position, linear in enumerate(linears, start=1):
        expected = normalise(linear(expected), position).clamp_min(0)
    torch.testing.assert_close(head.classify(pooled), head.linear(expected))


def test_dropout_comes_before_every_linear_layer_and_in_training_only() -> None:
    classifier = build("tiny-wavlm-base", **FULL)
    head, width = classifier.head, classifier.backbone.width
    seen: list[Tensor] = []
    for module in head.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    pooled = torch.randn(400, width, generator=torch.Generator().manual_seed(1))
    share = 0.5 + 0.5 * FULL["dropout"]  # half is cut by ReLU after batch norm, and of the rest a share is dropped
    head.train().classify(pooled)
    assert [float(values.eq(0).float().mean()) for values in seen] == pytest.approx([share] * 3, abs=0.12)
    head.eval()
    assert torch.equal(head.classify(pooled), head.classify(pooled))
    plain = build("tiny-wavlm-base", dropout=0.5).head.train()
    assert not torch.equal(plain.classify(pooled), plain.classify(pooled))
    assert torch.equal(plain.eval().classify(pooled), plain.linear(pooled))


def test_a_clip_can_be_alone_in_a_batch_of_training(clips: list[np.ndarray]) -> None:
    classifier = build("tiny-wavlm-base", **FULL).train()
    classifier([clips[9]]).sum().backward()
    assert classifier.head.linear.weight.grad.isfinite().all()


@pytest.mark.parametrize("targets", [Targets("numeric", ("arousal", "valence"), (3.0, 2.0), (1.0, 0.5)), TARGETS])
def test_there_is_an_output_for_each_target(targets: Targets, clips: list[np.ndarray]) -> None:
    classifier = SerClassifier(load_backbone("tiny-hubert-base"), targets)
    assert classifier(clips[4:7]).shape == (3, len(targets.names))


def test_copies_are_whole(clips: list[np.ndarray]) -> None:
    classifier = build("tiny-wavlm-large", pooling="ecapa", layers="weighted", mix="pooled").eval()
    other = copy.deepcopy(classifier)
    with torch.inference_mode():
        assert torch.equal(other(clips[4:7]), classifier(clips[4:7]))


# --------------------------------------------------------------------------------------------------------------------
# Settings


@pytest.mark.parametrize(
    "settings",
    [HeadSettings(), HeadSettings("attentive", 3, "pooled", (64, 8), True, True, 0.5), HeadSettings(layers="weighted")],
)
def test_settings_come_back_from_json(settings: HeadSettings) -> None:
    assert HeadSettings.from_json(json.loads(json.dumps(settings.as_json()))) == settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": "median"}, "pooling must be one of mean, std, mean.std, max, sum, attentive, ecapa, not 'median'"),
        ({"pooling": ["mean"]}, r"pooling must be one of .*, not \['mean'\]"),
        ({"layers": "last"}, "layers must be final, weighted, weighted-raw or the number of a layer, not 'last'"),
        ({"layers": -1}, "layers must be .*, not -1"),
        ({"layers": True}, "layers must be .*, not True"),
        ({"layers": 2.0}, "layers must be .*, not 2.0"),
        ({"mix": "before"}, "mix must be one of frames, pooled, not 'before'"),
        ({"hidden": (64, 0)}, r"hidden must be the widths of hidden layers, each 1 or more, not \(64, 0\)"),
        ({"hidden": 64}, "hidden must be .*, not 64"),
        ({"hidden": ("64",)}, "hidden must be .*, not"),
        ({"relu": "yes"}, "relu must be true or false, not 'yes'"),
        ({"batch_norm": 1}, "batch_norm must be true or false, not 1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
        ({"dropout": -0.1}, "dropout must be in"),
        ({"dropout": float("nan")}, "dropout must be in"),
        ({"dropout": None}, "dropout must be in"),
        ({"dropout": False}, "dropout must be in"),
    ],
)
def test_impossible_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"settings of the head cannot be used: 1 fault\n  - {message}"):
        HeadSettings(**change)
    values = {**HeadSettings().as_json(), **change}
    with pytest.raises(ConfigError, match=message):
        HeadSettings.from_json(values)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"2 faults\n  - mix must be(.|\n)*  - dropout must be"):
        HeadSettings(mix="none", dropout=2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "they must be pooling, layers, mix, hidden, relu, batch_norm, dropout, by name, not"),
        ({**HeadSettings().as_json(), "kind": "linear"}, "1 fault\n  - kind is not known"),
        ({"pooling": "mean"}, "6 faults\n  - layers is missing"),
    ],
)
def test_values_that_are_no_settings(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HeadSettings.from_json(values)


@pytest.mark.parametrize("name", ["tiny-hubert-base", "tiny-wavlm-large"])
def test_a_layer_beyond_the_model_names_the_range(tiny_models: dict[str, Backbone], name: str) -> None:
    backbone = tiny_models[name]
    with pytest.raises(ConfigError, match=f"expected: a number from 0 to {backbone.n_layers}, or final"):
        SerClassifier(backbone, TARGETS, HeadSettings(layers=backbone.n_layers + 1))
    SerClassifier(backbone, TARGETS, HeadSettings(layers=backbone.n_layers))


def test_a_family_that_cannot_be_fine_tuned(tiny_models: dict[str, Backbone]) -> None:
    with pytest.raises(BackboneError, match="cannot be fine-tuned here"):
        SerClassifier(tiny_models["tiny-wav2vec2-bert"], TARGETS)
