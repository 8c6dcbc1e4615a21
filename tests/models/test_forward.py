"""The batch-exact forward pass and the layer contract, over every tiny model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from ser_probe.clip_length import MIN_SAMPLES
from ser_probe.errors import BackboneError
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.embedding import evaluating, pool_layers, pooled_layers
from ser_probe.models.forward import run_encoder, run_front_end
from ser_probe.models.frames import Frames, pad_frames
from ser_probe.models.inputs import normalise_clip
from ser_probe.models.loading import load_backbone
from ser_probe.models.pooling import parse_pooling, pool_mean
from tests.models.conftest import (
    PLAIN_MODELS,
    RELATIVE_TOLERANCE,
    layers_one_by_one,
    relative_difference,
    synthetic_clip,
)

Mistake = Callable[[Backbone, list[np.ndarray]], Tensor]

GRADIENT_TOLERANCE = 1e-4
"""Gradients add up over all frames and blocks in another order; float32 round-off reaches 1e-5."""


# --------------------------------------------------------------------------------------------------------------------
# Batch invariance


@pytest.mark.parametrize("batch_size", [1, 8, 32])
def test_an_embedding_does_not_depend_on_its_batch(
    backbone: Backbone, clips: list[np.ndarray], clips_alone: dict[str, np.ndarray], batch_size: int
) -> None:
    batches = [clips[start : start + batch_size] for start in range(0, len(clips), batch_size)]

    together = np.concatenate([pooled_layers(backbone, batch) for batch in batches], axis=1)

    assert together.shape == (len(backbone.layer_names), len(clips), backbone.width)
    assert together.dtype == np.float32
    assert relative_difference(together, clips_alone[backbone.name]) < RELATIVE_TOLERANCE


def test_an_embedding_does_not_depend_on_the_order(
    backbone: Backbone, clips: list[np.ndarray], clips_alone: dict[str, np.ndarray], rng: np.random.Generator
) -> None:
    order = rng.permutation(len(clips))

    shuffled = [pooled_layers(backbone, [clips[i] for i in order[start : start + 8]]) for start in range(0, 32, 8)]

    expected = clips_alone[backbone.name][:, order]
    assert relative_difference(np.concatenate(shuffled, axis=1), expected) < RELATIVE_TOLERANCE


def test_every_frame_is_exact_not_only_the_mean(backbone: Backbone, clips: list[np.ndarray]) -> None:
    few = [clips[i] for i in (0, 3, 9, 20)]
    together = hidden_states(backbone, run_front_end(backbone, few))
    for row, clip in enumerate(few):
        for name, alone in hidden_states(backbone, run_front_end(backbone, [clip])).items():
            difference = relative_difference(together[name][row, : alone.shape[1]], alone[0])
            assert difference < RELATIVE_TOLERANCE, f"layer {name}"


def test_real_speech_is_exact_too(backbone: Backbone, emovo_root: Path) -> None:
    import soundfile

    paths = sorted(emovo_root.glob("*/*.wav"))[::97]
    speech = [soundfile.read(path, dtype="float32")[0] for path in paths]
    assert len({len(clip) for clip in speech}) > 1
    assert relative_difference(pooled_layers(backbone, speech), layers_one_by_one(backbone, speech)) < (
        RELATIVE_TOLERANCE
    )


@pytest.mark.gpu
def test_a_gpu_gives_what_a_cpu_gives(clips: list[np.ndarray]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    gpu_tolerance = 1e-4  # other kernels, other orders of summation
    with torch.backends.cudnn.flags(allow_tf32=False):
        for name in TINY_CONFIGS:
            heard = clips[3:]
            expected = layers_one_by_one(load_backbone(name), heard)
            assert (
                relative_difference(pooled_layers(load_backbone(name, device="cuda"), heard), expected) < gpu_tolerance
            )


# --------------------------------------------------------------------------------------------------------------------
# Counter-cases: each part of the recipe left out once. All must fail the tolerance, by a wide margin.


def padded_garbage(backbone: Backbone, clips: list[np.ndarray]) -> Frames:
    """Return exact valid frames, beside the padded frames that the stock front end makes of padded samples."""
    frames = run_front_end(backbone, clips)
    waves = [torch.from_numpy(normalise_clip(c) if backbone.input.normalise else c) for c in clips]
    stock = backbone.model.feature_extractor(nn.utils.rnn.pad_sequence(waves, batch_first=True)).transpose(1, 2)
    return Frames(torch.where(frames.mask[..., None], frames.features, stock), frames.n_frames)


def project(backbone: Backbone, frames: Frames) -> Tensor:
    projected = backbone.model.feature_projection(frames.features)
    return projected[0] if isinstance(projected, tuple) else projected


def normalised_over_padding(backbone: Backbone, clips: list[np.ndarray]) -> Tensor:
    length = max(map(len, clips))
    padded = [normalise_clip(np.pad(clip, (0, length - len(clip))))[: len(clip)] for clip in clips]
    frames = pad_frames([backbone.model.feature_extractor(torch.from_numpy(clip)[None])[0].T for clip in padded])
    return pool_mean(run_encoder(backbone, frames), frames.mask)


def group_norm_over_padding(backbone: Backbone, clips: list[np.ndarray]) -> Tensor:
    waves = nn.utils.rnn.pad_sequence([torch.from_numpy(clip) for clip in clips], batch_first=True)
    features = backbone.model.feature_extractor(waves).transpose(1, 2)
    frames = Frames(features, torch.from_numpy(backbone.frame_counts([len(clip) for clip in clips])))
    return pool_mean(run_encoder(backbone, frames), frames.mask)


def no_mask(backbone: Backbone, clips: list[np.ndarray]) -> Tensor:
    frames = padded_garbage(backbone, clips)
    return pool_mean(backbone.model.encoder(project(backbone, frames))[0], frames.mask)


def padding_not_zeroed(backbone: Backbone, clips: list[np.ndarray]) -> Tensor:
    frames = padded_garbage(backbone, clips)
    hidden = project(backbone, frames)
    position = backbone.model.encoder.pos_conv_embed
    # A hook's handle is a context manager that takes the hook off again.
    with position.register_forward_pre_hook(lambda _module, _args: (hidden,)):
        return pool_mean(backbone.model.encoder(hidden.clone(), attention_mask=frames.mask)[0], frames.mask)


def keys_not_masked(backbone: Backbone, clips: list[np.ndarray]) -> Tensor:
    frames = run_front_end(backbone, clips)
    hidden = project(backbone, frames).masked_fill(~frames.mask[..., None], 0.0)
    return pool_mean(backbone.model.encoder(hidden)[0], frames.mask)


def plain_mean(backbone: Backbone, clips: list[np.ndarray]) -> Tensor:
    return run_encoder(backbone, run_front_end(backbone, clips)).mean(dim=1)


def frames_by_division(backbone: Backbone, clips: list[np.ndarray]) -> Tensor:
    frames = run_front_end(backbone, clips)
    counts = torch.tensor([min(len(clip) // 320, frames.features.shape[1]) for clip in clips])
    wrong = Frames(frames.features, counts)
    return pool_mean(run_encoder(backbone, wrong), wrong.mask)


# Half of the least that each mistake cost over the models it applies to, as measured on these clips and weights:
# 0.15, 0.36, 0.15, 0.028, 0.081, 1.20, 0.039, the largest being 0.42, 0.64, 0.57, 0.27, 0.58, 1.35, 0.063.
MISTAKES: dict[Mistake, float] = {
    normalised_over_padding: 0.075,
    group_norm_over_padding: 0.18,
    no_mask: 0.075,
    padding_not_zeroed: 0.014,
    keys_not_masked: 0.04,
    plain_mean: 0.6,
    frames_by_division: 0.02,
}
# Steps that only one kind of model takes.
APPLIES_TO: dict[Mistake, str] = {normalised_over_padding: "large", group_norm_over_padding: "base"}


@pytest.mark.parametrize(
    ("mistake", "name"),
    [(mistake, name) for mistake in MISTAKES for name in PLAIN_MODELS if name.endswith(APPLIES_TO.get(mistake, ""))],
)
def test_each_part_of_the_recipe_is_needed(
    tiny_models: dict[str, Backbone],
    clips: list[np.ndarray],
    clips_alone: dict[str, np.ndarray],
    mistake: Mistake,
    name: str,
) -> None:
    with torch.inference_mode():
        wrong = mistake(tiny_models[name], clips[4:20]).numpy()
    cost = relative_difference(wrong, clips_alone[name][-1, 4:20])
    assert cost > MISTAKES[mistake] > 1_000 * RELATIVE_TOLERANCE


# --------------------------------------------------------------------------------------------------------------------
# The layer contract


def hidden_states(backbone: Backbone, frames: Frames) -> dict[str, np.ndarray]:
    """Return every layer [B, T, D] that the callback is given, in order."""
    layers: dict[str, np.ndarray] = {}
    with torch.inference_mode():
        run_encoder(backbone, frames, lambda name, hidden, _mask: layers.setdefault(name, hidden.numpy().copy()))
    return layers


def stock_input(backbone: Backbone, clip: np.ndarray) -> Tensor:
    """Return a clip as transformers' own feature extractor prepares it."""
    extractor = Wav2Vec2FeatureExtractor(do_normalize=backbone.input.normalise)
    return extractor(clip, sampling_rate=16_000, return_tensors="pt").input_values


def layers_by_hand(backbone: Backbone, clip: np.ndarray) -> dict[str, np.ndarray]:
    """Return every layer of one clip by an own loop: projection, positional convolution, norm, block after block."""
    model, encoder = backbone.model, backbone.model.encoder
    layers: dict[str, Tensor] = {}
    with torch.inference_mode():
        features = model.feature_extractor(stock_input(backbone, clip)).transpose(1, 2)
        normed = model.feature_projection.layer_norm(features)
        hidden = model.feature_projection.projection(normed)
        hidden = hidden + encoder.pos_conv_embed(hidden)
        layers["0"] = hidden = hidden if backbone.pre_norm else encoder.layer_norm(hidden)
        position_bias = None
        for index, block in enumerate(encoder.layers, start=1):
            if backbone.family == "wavlm":
                hidden, position_bias = block(hidden, position_bias=position_bias)
            else:
                hidden = block(hidden)
            layers[str(index)] = hidden
        if backbone.pre_norm:
            layers["final"] = encoder.layer_norm(hidden)
    return {name: layer.numpy() for name, layer in layers.items()}


def test_layers_equal_an_independent_loop(backbone: Backbone, clips: list[np.ndarray]) -> None:
    expected = layers_by_hand(backbone, clips[12])
    found = hidden_states(backbone, run_front_end(backbone, [clips[12]]))
    assert tuple(found) == backbone.layer_names == tuple(expected)
    for name in found:
        assert relative_difference(found[name], expected[name]) < RELATIVE_TOLERANCE, f"layer {name}"
    # A counter-case: neighbouring layers do differ.
    assert relative_difference(found["2"], expected["1"]) > 1e-2


def test_final_is_what_the_stock_model_gives_a_head(backbone: Backbone, clips: list[np.ndarray]) -> None:
    with torch.inference_mode():
        expected = backbone.model(stock_input(backbone, clips[12])).last_hidden_state.numpy()
        found = run_encoder(backbone, run_front_end(backbone, [clips[12]])).numpy()
    assert relative_difference(found, expected) < RELATIVE_TOLERANCE
    last_block = hidden_states(backbone, run_front_end(backbone, [clips[12]]))[str(backbone.n_layers)]
    same = relative_difference(last_block, expected) < RELATIVE_TOLERANCE
    assert same == ("final" in backbone.aliases), "final is an alias of layer N where, and only where, they are equal"


def test_layers_equal_output_hidden_states_where_releases_agree_on_it(
    backbone: Backbone, clips: list[np.ndarray]
) -> None:
    """Releases disagree on the last entry of pre-norm models alone, so it is left out."""
    with torch.inference_mode():
        stock = backbone.model(stock_input(backbone, clips[12]), output_hidden_states=True).hidden_states
    assert len(stock) == backbone.n_layers + 1
    found = hidden_states(backbone, run_front_end(backbone, [clips[12]]))
    for index, expected in enumerate(stock[:-1] if backbone.pre_norm else stock):
        assert relative_difference(found[str(index)], expected.numpy()) < RELATIVE_TOLERANCE, f"layer {index}"


def test_hooks_are_gone_after_a_run_and_after_a_failure(clips: list[np.ndarray]) -> None:
    backbone = load_backbone("tiny-wavlm-large")
    frames = run_front_end(backbone, clips[4:6])

    def fail(_name: str, _hidden: Tensor, _mask: Tensor) -> None:
        raise RuntimeError("the caller's own fault")

    with pytest.raises(RuntimeError, match="own fault"):
        run_encoder(backbone, frames, fail)
    pooled_layers(backbone, clips[4:6])
    for block in backbone.model.encoder.layers:
        assert not block._forward_hooks
        assert not block._forward_pre_hooks


# --------------------------------------------------------------------------------------------------------------------
# Frames, clips and padding


def test_frame_counts_equal_the_front_end_for_every_length(tiny_models: dict[str, Backbone]) -> None:
    """All tiny models share kernels and strides, as the published models do."""
    backbone = tiny_models["tiny-hubert-base"]
    lengths = np.arange(MIN_SAMPLES, 2_001)
    with torch.inference_mode():
        actual = [backbone.model.feature_extractor(torch.zeros(1, int(length))).shape[-1] for length in lengths]
    found = backbone.frame_counts(lengths)
    assert found.dtype == np.int64
    assert found.tolist() == actual
    assert (found != lengths // 320).mean() > 0.2, "the naive count would be wrong on many clips"


def test_the_shortest_clip_is_exact(backbone: Backbone) -> None:
    assert backbone.min_samples == MIN_SAMPLES
    assert run_front_end(backbone, [np.ones(MIN_SAMPLES, np.float32)]).n_frames.tolist() == [1]
    with pytest.raises(BackboneError, match="too short for one frame") as caught:
        run_front_end(backbone, [np.ones(500, np.float32), np.ones(MIN_SAMPLES - 1, np.float32)])
    assert caught.value.where == "clip 1 of the batch"
    assert caught.value.found == MIN_SAMPLES - 1


def test_min_samples_follows_other_kernels() -> None:
    config = HubertConfig(conv_dim=[8, 8], conv_kernel=[10, 4], conv_stride=[5, 2], num_feat_extract_layers=2)
    config.update({"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16})
    config.update({"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2})
    backbone = load_backbone("tiny-hubert-base")
    backbone.model = HubertModel(config).eval()
    assert backbone.min_samples == 25
    assert backbone.frame_counts([24, 25]).tolist() == [0, 1]
    assert pooled_layers(backbone, [np.ones(25, np.float32)]).shape == (2, 1, 16)


def test_whatever_padded_frames_hold_does_not_leak(backbone: Backbone, clips: list[np.ndarray]) -> None:
    mean = [parse_pooling("mean")]
    with evaluating([backbone]):
        frames = run_front_end(backbone, clips[4:8])
        (clean,) = pool_layers(backbone, frames, mean)
        for garbage in (float("nan"), float("inf"), 1e30):
            dirty = Frames(frames.features.masked_fill(~frames.mask[..., None], garbage), frames.n_frames)
            assert torch.equal(pool_layers(backbone, dirty, mean)[0], clean)


def test_the_encoder_leaves_its_input_as_it_was(backbone: Backbone, clips: list[np.ndarray]) -> None:
    """Cached front-end output is memory-mapped and used again: nothing may be written into it."""
    frames = run_front_end(backbone, clips[4:8])
    before = frames.features.detach().clone()
    with torch.inference_mode():
        run_encoder(backbone, frames)
    assert torch.equal(frames.features, before)


def test_a_batch_norm_before_the_positional_convolution_is_exact(clips: list[np.ndarray]) -> None:
    """mHuBERT at 25 Hz has one; it makes zero padding non-zero just where it must be zero."""
    config = HubertConfig(**{**TINY_CONFIGS["tiny-hubert-base"], "conv_pos_batch_norm": True})
    backbone = load_backbone("tiny-hubert-base")
    backbone.model = HubertModel(config).eval()
    norm = backbone.model.encoder.pos_conv_embed.batch_norm
    with torch.no_grad():
        norm.running_mean.normal_(generator=torch.Generator().manual_seed(1))
        norm.bias.normal_(generator=torch.Generator().manual_seed(2))
    statistics = norm.running_mean.clone()
    some = clips[4:12]

    assert relative_difference(pooled_layers(backbone, some), layers_one_by_one(backbone, some)) < RELATIVE_TOLERANCE
    with torch.inference_mode():
        stock = backbone.model(stock_input(backbone, some[0])).last_hidden_state.mean(dim=1).numpy()
    assert relative_difference(pooled_layers(backbone, some)[-1, :1], stock) < RELATIVE_TOLERANCE
    backbone.model.train()
    run_encoder(backbone, run_front_end(backbone, some))
    assert torch.equal(norm.running_mean, statistics), "training must not mix the statistics of a batch in"


# --------------------------------------------------------------------------------------------------------------------
# Training mode


def test_dropout_is_active_in_training_only(backbone: Backbone, clips: list[np.ndarray]) -> None:
    own = load_backbone(backbone.name)
    frames = run_front_end(own, clips[4:8])
    with torch.inference_mode():
        assert torch.equal(run_encoder(own, frames), run_encoder(own, frames))
        own.model.train()
        assert not torch.equal(run_encoder(own, frames), run_encoder(own, frames))


def test_extraction_is_the_same_amid_training(backbone: Backbone, clips: list[np.ndarray]) -> None:
    own = load_backbone(backbone.name)
    own.model.train()
    np.testing.assert_array_equal(pooled_layers(own, clips[4:8]), pooled_layers(backbone, clips[4:8]))
    assert own.model.training, "the mode is given back"
    pooled_layers(backbone, clips[4:8])
    assert not backbone.model.training


def gradients(backbone: Backbone, run: Callable[[], Tensor]) -> dict[str, np.ndarray]:
    """Return the gradient of a fixed scalar of the output of a run, by parameter."""
    backbone.model.zero_grad()
    output = run()
    weights = torch.linspace(-1, 1, output.shape[-1])
    (output * weights).square().sum().backward()
    found = {
        name: p.grad.flatten().numpy().copy() for name, p in backbone.model.named_parameters() if p.grad is not None
    }
    backbone.model.zero_grad()
    return found


def assert_same_gradients(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    whole = np.concatenate([expected[name] for name in expected])
    difference = np.linalg.norm(np.concatenate([found[name] for name in expected]) - whole)
    assert difference / np.linalg.norm(whole) < GRADIENT_TOLERANCE
    for name, gradient in expected.items():
        # Against the whole too: some gradients are exactly zero in theory (key biases) and round-off in practice.
        bound = GRADIENT_TOLERANCE * (np.linalg.norm(gradient) + 1e-3 * np.linalg.norm(whole))
        assert np.linalg.norm(found[name] - gradient) <= bound, name


def test_the_gradient_equals_the_stock_model_s(backbone: Backbone, clips: list[np.ndarray]) -> None:
    own = load_backbone(backbone.name)
    clip = clips[12]
    expected = gradients(own, lambda: own.model(stock_input(own, clip)).last_hidden_state)
    found = gradients(own, lambda: run_encoder(own, run_front_end(own, [clip])))
    assert_same_gradients(found, expected)
    used = {name for name, _ in own.model.named_parameters()} - {"masked_spec_embed"}
    assert found.keys() == used, "gradient reaches every weight that the forward pass uses"


def test_the_gradient_of_a_batch_is_the_sum_over_its_clips(backbone: Backbone, clips: list[np.ndarray]) -> None:
    own = load_backbone(backbone.name)
    few = clips[6:10]

    def pooled(batch: list[np.ndarray]) -> Tensor:
        frames = run_front_end(own, batch)
        return pool_mean(run_encoder(own, frames), frames.mask)

    alone = [gradients(own, lambda clip=clip: pooled([clip])) for clip in few]
    assert_same_gradients(
        gradients(own, lambda: pooled(few)), {name: sum(part[name] for part in alone) for name in alone[0]}
    )


def switch_dropout_off(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):  # attention
            module.dropout = 0.0


def test_spec_augment_masks_in_training_only(backbone: Backbone, clips: list[np.ndarray]) -> None:
    own = load_backbone(backbone.name)
    own.model.config.mask_time_prob = 0.5
    frames = run_front_end(own, clips[20:24])
    with torch.inference_mode():
        plain = run_encoder(own, frames)
        assert torch.equal(run_encoder(own, frames, spec_augment=True), plain)
    switch_dropout_off(own.model)
    own.model.train()
    np.random.seed(0)  # noqa: NPY002 - the generator that transformers masks with
    with torch.inference_mode():
        assert relative_difference(run_encoder(own, frames).numpy()[frames.mask], plain.numpy()[frames.mask]) < 1e-4
        masked = run_encoder(own, frames, spec_augment=True)
    assert relative_difference(masked.numpy()[frames.mask], plain.numpy()[frames.mask]) > 1e-2


def test_spec_augment_takes_clips_shorter_than_one_masked_stretch(backbone: Backbone) -> None:
    own = load_backbone(backbone.name)
    own.model.train()
    short = synthetic_clip(np.random.default_rng(3), 1_600)
    frames = run_front_end(own, [short, short[:900]])
    assert frames.features.shape[1] < own.model.config.mask_time_length
    assert torch.isfinite(run_encoder(own, frames, spec_augment=True)[frames.mask]).all()
