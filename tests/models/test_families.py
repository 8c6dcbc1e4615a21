"""The contract of every family: exact in any batch and any pooling, and equal to the stock model clip by clip."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from ser_probe.errors import BackboneError
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.encoders import run_masked_transformer
from ser_probe.models.forward import run_encoder, run_front_end, run_prepared
from ser_probe.models.frames import Frames
from ser_probe.models.heads import SerClassifier
from ser_probe.models.loading import load_backbone, save_backbone
from ser_probe.models.pooling import parse_pooling
from ser_probe.models.targets import CLASSES, Targets
from ser_probe.models.trained_part import choose_trained
from tests.models.conftest import RELATIVE_TOLERANCE, relative_difference, synthetic_clip

Layers = dict[str, list[np.ndarray]]

POOLINGS = ("mean", "std", "mean+std", "max", "segments:3", "frames")

COUNTER_TOLERANCE = 1e-3
"""What leaving out a part of the recipe costs at least; rounding is a thousand times less."""

TRAINABLE = ("tiny-data2vec-audio-base", "tiny-unispeech-sat-base", "tiny-unispeech-sat-large", "tiny-hubert-batchnorm")
POOLED = ("tiny-wav2vec2-base", "tiny-wavlm-large", "tiny-wav2vec2-bert", "tiny-whisper")
"""One of each kind that hands frames and a mask to the poolings: norms before and after the blocks, and two kinds of
log-mel input; every frame of every family is compared above."""

UNTRAINABLE = ("tiny-wav2vec2-bert", "tiny-whisper")


@pytest.fixture(scope="module")
def few() -> list[np.ndarray]:
    """Nine clips of nine lengths, from the shortest that every family hears; their order is not that of length."""
    rng = np.random.default_rng(11)
    return [synthetic_clip(rng, n) for n in (9_000, 560, 30_001, 720, 4_321, 16_000, 1_000, 24_680, 719)]


def frames_of(backbone: Backbone, clips: list[np.ndarray]) -> Layers:
    """Return of every layer the valid frames of each clip, [T, D], from one batch."""
    layers: Layers = {}

    def keep(name: str, hidden: Tensor, mask: Tensor) -> None:
        layers[name] = [states[valid].numpy().copy() for states, valid in zip(hidden, mask, strict=True)]

    with torch.inference_mode():
        run_encoder(backbone, run_front_end(backbone, clips), keep)
    return layers


def pooled(layers: Layers, pooling: str) -> dict[str, list[np.ndarray]]:
    """Pool each clip's frames of each layer, clip by clip."""
    pool = parse_pooling(pooling)

    def one(frames: np.ndarray) -> np.ndarray:
        return pool(torch.from_numpy(frames)[None], torch.ones(1, len(frames), dtype=torch.bool)).numpy()

    return {name: [one(frames) for frames in clips] for name, clips in layers.items()}


def largest_difference(found: Layers, expected: Layers) -> float:
    assert found.keys() == expected.keys()
    return max(
        relative_difference(one, other)
        for name in expected
        for one, other in zip(found[name], expected[name], strict=True)
    )


@pytest.fixture(scope="module")
def alone(tiny_models: dict[str, Backbone], few: list[np.ndarray]) -> dict[str, Layers]:
    """Per model: the frames of every layer of each clip, in a batch of its own."""
    found: dict[str, Layers] = {}
    for model, backbone in tiny_models.items():
        singles = [frames_of(backbone, [clip]) for clip in few]
        found[model] = {name: [single[name][0] for single in singles] for name in backbone.layer_names}
    return found


# --------------------------------------------------------------------------------------------------------------------
# Batches


def test_every_frame_is_the_same_alone_and_in_a_batch(
    any_backbone: Backbone, few: list[np.ndarray], alone: dict[str, Layers]
) -> None:
    together = frames_of(any_backbone, few)
    assert tuple(together) == any_backbone.layer_names
    counts = any_backbone.frame_counts([len(clip) for clip in few]).tolist()
    assert [len(frames) for frames in together["0"]] == counts
    assert largest_difference(together, alone[any_backbone.name]) < RELATIVE_TOLERANCE


def test_every_frame_is_the_same_in_shuffled_batches(
    any_backbone: Backbone, few: list[np.ndarray], alone: dict[str, Layers], rng: np.random.Generator
) -> None:
    order = rng.permutation(len(few))
    for start in range(0, len(few), 4):
        chosen = order[start : start + 4]
        expected = {name: [frames[i] for i in chosen] for name, frames in alone[any_backbone.name].items()}
        assert largest_difference(frames_of(any_backbone, [few[i] for i in chosen]), expected) < RELATIVE_TOLERANCE


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(
    "model", [name if name in POOLED else pytest.param(name, marks=pytest.mark.slow) for name in TINY_CONFIGS]
)
def test_every_pooling_is_the_same_alone_and_in_a_batch(
    model: str, tiny_models: dict[str, Backbone], few: list[np.ndarray], alone: dict[str, Layers], pooling: str
) -> None:
    """The batch is pooled with its padding and mask, as extraction does."""
    pool = parse_pooling(pooling)
    longer = [index for index, clip in enumerate(few) if len(clip) >= 4_000]  # one frame alone has no deviation
    found: dict[str, np.ndarray] = {}

    def keep(name: str, hidden: Tensor, mask: Tensor) -> None:
        found[name] = pool(hidden, mask).numpy()

    with torch.inference_mode():
        run_encoder(tiny_models[model], run_front_end(tiny_models[model], [few[index] for index in longer]), keep)
    for name, clips in pooled(alone[model], pooling).items():
        expected = np.concatenate([clips[index] for index in longer])
        assert found[name].shape == expected.shape
        assert relative_difference(found[name], expected) < RELATIVE_TOLERANCE, name


def test_other_clips_differ(alone: dict[str, Layers], any_backbone: Backbone) -> None:
    """A counter-case: an embedding that is the same for every clip would pass all of the above."""
    means = pooled(alone[any_backbone.name], "mean")
    for name in any_backbone.layer_names:
        assert relative_difference(means[name][0], means[name][2]) > COUNTER_TOLERANCE, name


# --------------------------------------------------------------------------------------------------------------------
# The stock model, clip by clip


def stock_layers(backbone: Backbone, clip: np.ndarray, folder: Path) -> Layers:
    """Return every layer of one clip from the model and the feature extractor that transformers opens from a folder."""
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(clip, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True)
    mask, encoder, n_frames = inputs["attention_mask"], model.encoder, None
    if backbone.family == "whisper":
        n_frames = int(model._get_feat_extract_output_lengths(mask.sum()))
        run: Callable[[], Any] = lambda: encoder(inputs["input_features"])  # noqa: E731
    elif backbone.family == "wav2vec2-bert":
        n_frames = int(mask.sum())
        run = lambda: model(**inputs)  # noqa: E731
    else:
        run = lambda: model(inputs["input_values"])  # noqa: E731
    layers: Layers = {}

    def before(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        layers["0"] = [(args[0] if args else kwargs["hidden_states"])[0, :n_frames].numpy().copy()]

    def after(name: str) -> Callable[..., None]:
        def hook(_module: Any, _args: Any, output: Any) -> None:
            layers[name] = [(output[0] if isinstance(output, tuple) else output)[0, :n_frames].numpy().copy()]

        return hook

    encoder.layers[0].register_forward_pre_hook(before, with_kwargs=True)
    for index, block in enumerate(encoder.layers, start=1):
        block.register_forward_hook(after(str(index)))
    with torch.inference_mode():
        layers["final"] = [run().last_hidden_state[0, :n_frames].numpy()]
    return layers


@pytest.mark.parametrize("position", [0, 1, 8], ids=["9000", "560", "719"])
def test_every_layer_equals_the_stock_model(
    any_backbone: Backbone, few: list[np.ndarray], alone: dict[str, Layers], tmp_path: Path, position: int
) -> None:
    save_backbone(any_backbone, tmp_path)
    expected = stock_layers(any_backbone, few[position], tmp_path)
    found = {name: [frames[position]] for name, frames in alone[any_backbone.name].items()}
    for name, layer in any_backbone.aliases.items():
        found[name] = found[layer]
    assert largest_difference(found, expected) < RELATIVE_TOLERANCE
    # `final` is an alias of the last block where, and only where, they are equal.
    last = largest_difference({"": expected[str(any_backbone.n_layers)]}, {"": expected["final"]})
    assert (last == 0) == ("final" in any_backbone.aliases)


@pytest.mark.parametrize("n_samples", [400, 479_600, 479_760, 479_840, 479_961, 480_000])
def test_whisper_is_exact_where_the_silence_ends(
    tiny_models: dict[str, Backbone], tmp_path: Path, n_samples: int
) -> None:
    """Near 30 s the analysis windows reach over the end of what the model hears."""
    backbone = tiny_models["tiny-whisper"]
    save_backbone(backbone, tmp_path)
    clip = synthetic_clip(np.random.default_rng(5), n_samples)
    found = frames_of(backbone, [clip])
    assert len(found["0"][0]) == -(-n_samples // 320)
    assert largest_difference(found, stock_layers(backbone, clip, tmp_path)) < RELATIVE_TOLERANCE


# --------------------------------------------------------------------------------------------------------------------
# Counter-cases


def final_of(backbone: Backbone, final: Tensor, frames: Frames) -> np.ndarray:
    return parse_pooling("mean")(final, frames.mask).numpy()


def mean_final(alone: Layers, n_layers: int) -> np.ndarray:
    return np.concatenate(pooled(alone, "mean").get("final") or pooled(alone, "mean")[str(n_layers)])


def test_data2vec_needs_its_padding_zeroed_after_each_convolution(
    tiny_models: dict[str, Backbone], few: list[np.ndarray], alone: dict[str, Layers]
) -> None:
    backbone = tiny_models["tiny-data2vec-audio-base"]
    frames = run_front_end(backbone, few)
    with torch.inference_mode():
        wrong = final_of(backbone, run_masked_transformer(backbone.model, frames), frames)
    assert relative_difference(wrong, mean_final(alone[backbone.name], 4)) > COUNTER_TOLERANCE


def test_a_trained_batch_norm_needs_its_padding_zeroed(few: list[np.ndarray]) -> None:
    backbone = load_backbone("tiny-hubert-batchnorm")
    norm = backbone.model.encoder.pos_conv_embed.batch_norm
    with torch.no_grad():  # a fresh one leaves zeros as they are
        norm.running_mean.normal_(generator=torch.Generator().manual_seed(1))
    expected = mean_final({"4": [frames_of(backbone, [clip])["4"][0] for clip in few]}, 4)
    frames = run_front_end(backbone, few)
    with torch.inference_mode():
        right = final_of(backbone, run_encoder(backbone, frames), frames)
        wrong = final_of(backbone, run_masked_transformer(backbone.model, frames), frames)
    assert relative_difference(right, expected) < RELATIVE_TOLERANCE
    assert relative_difference(wrong, expected) > COUNTER_TOLERANCE


def test_wav2vec2_bert_needs_its_mask(
    tiny_models: dict[str, Backbone], few: list[np.ndarray], alone: dict[str, Layers]
) -> None:
    backbone = tiny_models["tiny-wav2vec2-bert"]
    frames = run_front_end(backbone, few)
    with torch.inference_mode():
        hidden = backbone.model.feature_projection(frames.features)[0]
        wrong = final_of(backbone, backbone.model.encoder(hidden).last_hidden_state, frames)
    assert relative_difference(wrong, mean_final(alone[backbone.name], 4)) > COUNTER_TOLERANCE


def test_whisper_needs_silence_and_not_zeros_behind_a_clip(
    tiny_models: dict[str, Backbone], few: list[np.ndarray], alone: dict[str, Layers]
) -> None:
    backbone = tiny_models["tiny-whisper"]
    zeros = [np.pad(backbone.input.prepare(clip), ((0, 1), (0, 0))) for clip in few]
    frames = run_prepared(backbone, zeros)
    frames = Frames(frames.features, torch.from_numpy(backbone.frame_counts([len(clip) for clip in few])))
    with torch.inference_mode():
        wrong = final_of(backbone, run_encoder(backbone, frames), frames)
    assert relative_difference(wrong, mean_final(alone[backbone.name], 2)) > COUNTER_TOLERANCE


def test_the_silence_behind_a_clip_would_count_in_a_plain_mean(
    tiny_models: dict[str, Backbone], few: list[np.ndarray], alone: dict[str, Layers]
) -> None:
    backbone = tiny_models["tiny-whisper"]
    frames = run_front_end(backbone, few)
    assert frames.mask.shape == (len(few), 1_500)
    assert torch.equal(frames.mask.sum(dim=1), frames.n_frames)
    with torch.inference_mode():
        plain = run_encoder(backbone, frames).mean(dim=1).numpy()
    assert relative_difference(plain, mean_final(alone[backbone.name], 2)) > COUNTER_TOLERANCE


# --------------------------------------------------------------------------------------------------------------------
# What a family hears


@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_a_pickled_input_prepares_the_same(tiny_models: dict[str, Backbone], few: list[np.ndarray], name: str) -> None:
    backbone = tiny_models[name]
    sent = pickle.loads(pickle.dumps(backbone.input))
    assert sent == backbone.input
    prepared = [sent.prepare(clip) for clip in few[:3]]
    assert all(array.dtype == np.float32 for array in prepared)
    with torch.inference_mode():
        found, expected = run_prepared(backbone, prepared), run_front_end(backbone, few[:3])
    assert torch.equal(found.features, expected.features)
    assert torch.equal(found.n_frames, expected.n_frames)


@pytest.mark.parametrize("name", UNTRAINABLE)
def test_a_clip_of_another_length_than_the_model_hears_is_refused(
    tiny_models: dict[str, Backbone], few: list[np.ndarray], name: str
) -> None:
    backbone = tiny_models[name]
    short = np.ones(backbone.min_samples - 1, np.float32)
    with pytest.raises(BackboneError, match="too short for one frame") as caught:
        run_front_end(backbone, [few[0], short])
    assert caught.value.where == "clip 1 of the batch"
    with pytest.raises(BackboneError, match="too short for one frame"):
        backbone.input.prepare(short)
    assert len(run_front_end(backbone, [np.ones(backbone.min_samples, np.float32)]).n_frames) == 1


def test_a_clip_longer_than_whisper_hears_is_refused(tiny_models: dict[str, Backbone], few: list[np.ndarray]) -> None:
    backbone, long = tiny_models["tiny-whisper"], np.zeros(480_001, np.float32)
    with pytest.raises(BackboneError, match="longer than what the model hears") as caught:
        run_front_end(backbone, [few[0], long])
    assert (caught.value.where, caught.value.expected) == ("clip 1 of the batch", "at most 480000 samples")
    with pytest.raises(BackboneError, match="longer than what the model hears"):
        backbone.input.prepare(long)


def test_what_whisper_does_with_padding_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from ser_probe.models import loading

    loading._say_once.cache_clear()
    with caplog.at_level("WARNING", logger="ser_probe"):
        load_backbone("tiny-whisper")
        load_backbone("tiny-whisper")
        load_backbone("tiny-hubert-base")
    assert [record.getMessage() for record in caplog.records] == [
        "whisper hears every clip padded with silence to 30 s; frames beyond the clip are left out of the pooling"
    ]


# --------------------------------------------------------------------------------------------------------------------
# Training

THREE = Targets(CLASSES, ("a", "b", "c"))


@pytest.mark.parametrize("name", UNTRAINABLE)
def test_what_cannot_be_fine_tuned_says_so(tiny_models: dict[str, Backbone], name: str) -> None:
    with pytest.raises(BackboneError, match="cannot be fine-tuned here") as caught:
        SerClassifier(tiny_models[name], THREE)
    assert caught.value.expected == "wav2vec2, hubert, wavlm, data2vec-audio, unispeech-sat"


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_other_families_learn(tiny_models: dict[str, Backbone], few: list[np.ndarray], name: str) -> None:
    torch.manual_seed(1)
    classifier = SerClassifier(copy.deepcopy(tiny_models[name]), THREE, spec_augment=True).train()
    choose_trained(classifier, "encoder", spec_augment=True)
    labels = torch.arange(6) % 3
    frames = run_front_end(classifier.backbone, few[:6])
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(classifier(frames), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    reached = {key for key, weight in classifier.model.named_parameters() if weight.grad is not None}
    expected = {key for key, _ in classifier.model.named_parameters() if not key.startswith("feature_extractor.")}
    assert expected - {"masked_spec_embed"} <= reached <= expected
