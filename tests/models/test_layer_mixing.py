"""Layers for a head: the ones that extraction stores, with the weights it says, gradients and checkpointing whole."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ser_probe.errors import ConfigError
from ser_probe.models.backbone import Backbone
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.forward import LayerCallback, run_encoder, run_front_end
from ser_probe.models.frames import Frames
from ser_probe.models.layer_mixing import LAYER_CHOICES, Encode, LayerMixing
from ser_probe.models.pooling import POOLINGS
from tests.models.conftest import RELATIVE_TOLERANCE, relative_difference

MEAN = POOLINGS["mean"]
SUMS = [choice for choice in LAYER_CHOICES if choice != "final"]

TRAINABLE = ("tiny-wav2vec2-base", "tiny-hubert-large", "tiny-wavlm-base", "tiny-wavlm-large",
             "tiny-data2vec-audio-base", "tiny-hubert-batchnorm")  # fmt: skip


@pytest.fixture
def few(clips: list[np.ndarray]) -> list[np.ndarray]:
    """Short clips of differing lengths; the first has a single frame."""
    return sorted(clips, key=len)[2:7]


def encoder(backbone: Backbone, frames: Frames) -> Encode:
    return lambda on_layer: run_encoder(backbone, frames, on_layer)


def mixed(backbone: Backbone, layers: str | int, clips: list[np.ndarray], set_weights: Tensor | None = None) -> Tensor:
    """Return the mean over frames of a mixing, [B, D]."""
    frames = run_front_end(backbone, clips)
    mixing = LayerMixing(layers, backbone.layer_names)
    if set_weights is not None:
        mixing.weights.data = set_weights
    return MEAN(mixing(encoder(backbone, frames)), frames.mask)


def drawn_weights(backbone: Backbone) -> Tensor:
    return torch.randn(len(backbone.layer_names), generator=torch.Generator().manual_seed(6))


# --------------------------------------------------------------------------------------------------------------------
# Which layers


@torch.inference_mode()
def test_a_layer_is_the_one_that_extraction_stores(any_backbone: Backbone, few: list[np.ndarray]) -> None:
    stored = dict(zip(any_backbone.layer_names, pooled_layers(any_backbone, few), strict=True))
    for number in range(any_backbone.n_layers + 1):
        np.testing.assert_array_equal(mixed(any_backbone, number, few).numpy(), stored[str(number)])
    final = stored[any_backbone.aliases.get("final", "final")]
    np.testing.assert_array_equal(mixed(any_backbone, "final", few).numpy(), final)


@torch.inference_mode()
@pytest.mark.parametrize("layers", SUMS)
def test_a_sum_is_that_of_the_stored_layers(any_backbone: Backbone, few: list[np.ndarray], layers: str) -> None:
    stored, weights = pooled_layers(any_backbone, few).astype(np.float64), drawn_weights(any_backbone)
    applied = weights.double().numpy()
    if layers == "weighted":
        applied = np.exp(applied) / np.exp(applied).sum()
    expected = np.einsum("l,lbd->bd", applied, stored)
    assert relative_difference(mixed(any_backbone, layers, few, weights).numpy(), expected) < RELATIVE_TOLERANCE
    # Not by chance: another order of the weights is another sum.
    other = mixed(any_backbone, layers, few, weights.flip(0)).numpy()
    assert relative_difference(other, expected) > 100 * RELATIVE_TOLERANCE


@torch.inference_mode()
@pytest.mark.parametrize("layers", SUMS)
def test_weights_begin_equal(backbone: Backbone, few: list[np.ndarray], layers: str) -> None:
    n_layers = len(backbone.layer_names)
    weights = LayerMixing(layers, backbone.layer_names).layer_weights()
    assert [*weights] == [*backbone.layer_names]
    assert [*weights.values()] == pytest.approx([1 / n_layers] * n_layers, rel=1e-6)
    found, expected = mixed(backbone, layers, few).numpy(), pooled_layers(backbone, few).mean(axis=0)
    assert relative_difference(found, expected) < RELATIVE_TOLERANCE


def test_weights_are_told_as_they_are_applied(tiny_models: dict[str, Backbone]) -> None:
    names = tiny_models["tiny-wavlm-large"].layer_names
    raw, soft = LayerMixing("weighted-raw", names), LayerMixing("weighted", names)
    raw.weights.data = soft.weights.data = torch.arange(len(names), dtype=torch.float32)
    assert raw.layer_weights() == {name: float(number) for number, name in enumerate(names)}
    told = soft.layer_weights()
    assert sum(told.values()) == pytest.approx(1, rel=1e-6)
    assert told["final"] / told["0"] == pytest.approx(np.exp(len(names) - 1), rel=1e-5)
    assert LayerMixing("final", names).layer_weights() == {"final": 1.0}
    assert LayerMixing(2, names).layer_weights() == {"2": 1.0}


@pytest.mark.parametrize("layers", [-1, 99, "2", "last", True])
def test_a_layer_that_the_model_does_not_have(tiny_models: dict[str, Backbone], layers: str | int) -> None:
    backbone = tiny_models["tiny-wavlm-large"]
    with pytest.raises(ConfigError, match="no such layer for a head") as caught:
        LayerMixing(layers, backbone.layer_names)
    assert caught.value.expected == f"a number from 0 to {backbone.n_layers}, or final, weighted, weighted-raw"
    assert caught.value.found == layers


# --------------------------------------------------------------------------------------------------------------------
# Before or after pooling


@torch.inference_mode()
@pytest.mark.parametrize("layers", [1, "final", *SUMS])
def test_a_mean_is_the_same_before_and_after_and_a_maximum_is_not(
    backbone: Backbone, few: list[np.ndarray], layers: str | int
) -> None:
    frames, mixing = run_front_end(backbone, few), LayerMixing(layers, backbone.layer_names)
    encode = encoder(backbone, frames)

    def difference(pool: Callable[[Tensor, Tensor], Tensor]) -> float:
        before = mixing(encode, lambda hidden: pool(hidden, frames.mask))
        return relative_difference(pool(mixing(encode), frames.mask).numpy(), before.numpy())

    assert difference(MEAN) < RELATIVE_TOLERANCE
    single_layer = layers not in SUMS
    assert (difference(POOLINGS["max"]) > 100 * RELATIVE_TOLERANCE) == (not single_layer)


# --------------------------------------------------------------------------------------------------------------------
# What it costs


def most_alive(backbone: Backbone, clips: list[np.ndarray], take: Callable[[Encode], object]) -> tuple[int, int]:
    """Return how many layers there were, and the most that were in memory when one was made."""
    frames = run_front_end(backbone, clips)
    seen: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def encode(on_layer: LayerCallback | None) -> Tensor:
        def look(name: str, hidden: Tensor, mask: Tensor) -> None:
            seen.append(weakref.ref(hidden))
            alive.append(sum(reference() is not None for reference in seen))
            assert on_layer is not None
            on_layer(name, hidden, mask)

        return run_encoder(backbone, frames, None if on_layer is None else look)

    take(encode)
    return len(seen), max(alive, default=0)


@torch.inference_mode()
def test_layers_are_not_kept(backbone: Backbone, few: list[np.ndarray]) -> None:
    names = backbone.layer_names
    for layers in (0, 1, *SUMS):
        n_seen, n_alive = most_alive(backbone, few, LayerMixing(layers, names))
        assert n_seen == len(names)
        assert n_alive <= 3, layers  # the one taken, the block's input and its output
    assert most_alive(backbone, few, LayerMixing("final", names)) == (0, 0)
    # The counter-case: all of them, kept in a list.
    kept: list[Tensor] = []
    everything = most_alive(backbone, few, lambda encode: encode(lambda _name, hidden, _mask: kept.append(hidden)))
    assert everything == (len(names), len(names))
    assert len(names) > 3


# --------------------------------------------------------------------------------------------------------------------
# Training


def gradients(backbone: Backbone, clips: list[np.ndarray], layers: str | int, *, pooled: bool) -> dict[str, Tensor]:
    """Return the gradients of weights and of the model's parameters, in training mode."""
    frames, mixing = run_front_end(backbone, clips), LayerMixing(layers, backbone.layer_names)
    encode, pool = encoder(backbone, frames), POOLINGS["mean+std"]
    torch.manual_seed(3)  # of dropout and layer drop
    mean = mixing(encode, lambda hidden: pool(hidden, frames.mask)) if pooled else pool(mixing(encode), frames.mask)
    mean.square().sum().backward()
    named = {**dict(backbone.model.named_parameters()), **dict(mixing.named_parameters())}
    return {name: weight.grad.clone() for name, weight in named.items() if weight.grad is not None}


@pytest.mark.parametrize(
    ("layers", "pooled", "layer_drop"),
    [(1, False, 0.0), ("weighted", False, 0.0), ("weighted-raw", True, 0.0), ("weighted", True, 0.4)],
)
@pytest.mark.parametrize("name", TRAINABLE)
def test_gradients_are_the_same_with_gradient_checkpointing(
    tiny_models: dict[str, Backbone],
    few: list[np.ndarray],
    name: str,
    layers: str | int,
    pooled: bool,
    layer_drop: float,
) -> None:
    found = []
    for checkpointing in (False, True):
        backbone = copy.deepcopy(tiny_models[name])
        backbone.model.train()
        backbone.config.layerdrop = layer_drop
        runs: list[str] = []
        for block in backbone.facts.blocks(backbone.model):
            block.feed_forward.register_forward_pre_hook(lambda *_, runs=runs: runs.append("a block"))
        if checkpointing:
            backbone.model.gradient_checkpointing_enable({"use_reentrant": False})
        found.append((gradients(backbone, few, layers, pooled=pooled), len(runs)))
    (plain, once), (checkpointed, more) = found
    assert more == once + (1 if layers == 1 else once)  # what the loss comes from runs anew in the backward pass
    assert plain.keys() == checkpointed.keys()
    assert ("weights" in plain) == (layers in SUMS)
    for key, gradient in plain.items():
        torch.testing.assert_close(checkpointed[key], gradient, rtol=1e-5, atol=1e-6 * float(gradient.abs().max()))


@pytest.mark.parametrize("layers", SUMS)
def test_gradients_of_weights_are_those_of_finite_differences(
    tiny_models: dict[str, Backbone], few: list[np.ndarray], layers: str
) -> None:
    backbone = copy.deepcopy(tiny_models["tiny-wavlm-large"])
    frames = run_front_end(backbone, few[:2])
    frames = Frames(frames.features.detach().double(), frames.n_frames)
    backbone.model.double()
    mixing = LayerMixing(layers, backbone.layer_names).double()
    with torch.no_grad():
        mixing.weights += 0.1 * drawn_weights(backbone).double()

    def loss(weights: Tensor) -> Tensor:
        mixing.weights.data = weights.data
        taken = mixing(encoder(backbone, frames), lambda hidden: POOLINGS["max"](hidden, frames.mask))
        return taken.square().mean()

    loss(mixing.weights.data).backward()
    start, step = mixing.weights.data.clone(), 1e-6
    with torch.no_grad():
        for position in range(len(start)):
            shift = torch.zeros_like(start)
            shift[position] = step
            slope = (loss(start + shift) - loss(start - shift)) / (2 * step)
            assert slope.item() == pytest.approx(mixing.weights.grad[position].item(), rel=1e-5, abs=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("name", ["tiny-wav2vec2-base", "tiny-wav2vec2-large", "tiny-wavlm-base"])
def test_a_skipped_block_leaves_the_layer_before_it(
    tiny_models: dict[str, Backbone], few: list[np.ndarray], name: str
) -> None:
    backbone = copy.deepcopy(tiny_models[name])
    backbone.model.train()
    backbone.config.layerdrop = 0.5
    frames, names, n_skipped = run_front_end(backbone, few), backbone.layer_names, 0
    for seed in range(12):
        torch.manual_seed(seed)
        heard: dict[str, Tensor] = {}
        run_encoder(backbone, frames, lambda layer, hidden, _mask, heard=heard: heard.update({layer: hidden}))
        if not {*heard} - {"final"}:
            continue
        n_skipped += len(names) - len(heard)
        state = next(iter(heard.values()))
        states = [state := heard.get(layer, state) for layer in names]
        for layers, expected in ((2, states[2]), ("weighted", torch.stack(states).mean(dim=0))):
            torch.manual_seed(seed)
            found = LayerMixing(layers, names)(encoder(backbone, frames))
            torch.testing.assert_close(found[frames.mask], expected[frames.mask], rtol=1e-5, atol=1e-6)
    assert n_skipped > 5


@torch.no_grad()
@pytest.mark.parametrize("layers", [2, *SUMS])
def test_where_every_block_is_skipped_there_is_still_the_final_layer(
    tiny_models: dict[str, Backbone], few: list[np.ndarray], layers: str | int
) -> None:
    backbone = copy.deepcopy(tiny_models["tiny-wav2vec2-base"])
    backbone.model.train()
    backbone.config.layerdrop = 1.0
    backbone.config.hidden_dropout = 0.1
    frames = run_front_end(backbone, few)
    torch.manual_seed(0)
    found = LayerMixing(layers, backbone.layer_names)(encoder(backbone, frames))
    torch.manual_seed(0)
    final = run_encoder(backbone, frames)
    torch.testing.assert_close(found[frames.mask], final[frames.mask])
