"""Loading and saving backbones: all of the weights or none, and never anybody's code."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from ser_probe.errors import BackboneError
from ser_probe.models.backbone import Backbone, hash_tensors
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.families import FAMILIES
from ser_probe.models.loading import load_backbone, save_backbone

Weights = dict[str, Tensor]


@pytest.fixture
def folder(tmp_path: Path, tiny_models: dict[str, Backbone]) -> Path:
    """A saved model: pre-norm WavLM."""
    save_backbone(tiny_models["tiny-wavlm-large"], tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def expected_hash(tiny_models: dict[str, Backbone]) -> str:
    return tiny_models["tiny-wavlm-large"].weights_hash()


def rewrite(folder: Path, change: Callable[[Weights], dict[str, Any]], *, as_bin: bool = False) -> None:
    """Change the weights of a saved model."""
    weights = change(load_file(folder / "model.safetensors"))
    if as_bin:
        (folder / "model.safetensors").unlink()
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder: Path, **entries: Any) -> None:
    """Change the config of a saved model."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


class Bomb:
    """Writes a file when it is unpickled by a loader that runs code."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.marker), "w"))


# --------------------------------------------------------------------------------------------------------------------
# Tiny models


def test_tiny_models_are_the_same_in_every_process(tiny_models: dict[str, Backbone]) -> None:
    script = (
        "import json, torch; torch.manual_seed(99); from ser_probe.models.loading import load_backbone;"
        f"print(json.dumps({{n: load_backbone(n).weights_hash() for n in {list(TINY_CONFIGS)}}}))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    hashes = {name: backbone.weights_hash() for name, backbone in tiny_models.items()}
    assert json.loads(found.stdout) == hashes
    # UniSpeech-SAT is a wav2vec 2.0 that was trained otherwise: the same seed draws the same weights.
    assert len({(tiny_models[name].family, found) for name, found in hashes.items()}) == len(hashes)


@pytest.mark.parametrize("source", ["tiny", "saved", "saved without its mask embedding"])
def test_loading_leaves_the_random_state_alone(folder: Path, source: str) -> None:
    if source.endswith("embedding"):
        rewrite(folder, lambda weights: {k: v for k, v in weights.items() if k != "masked_spec_embed"})
    before = torch.random.get_rng_state()
    first = load_backbone("tiny-hubert-base" if source == "tiny" else folder)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    again = load_backbone("tiny-hubert-base" if source == "tiny" else folder)
    assert hash_tensors(first.model.state_dict()) == hash_tensors(again.model.state_dict())


# --------------------------------------------------------------------------------------------------------------------
# Round trips


def test_save_and_load_give_the_same_backbone(any_backbone: Backbone, tmp_path: Path, clips: list[np.ndarray]) -> None:
    save_backbone(any_backbone, tmp_path)
    again = load_backbone(tmp_path)
    assert again.weights_hash() == any_backbone.weights_hash()
    assert again.front_end_hash() == any_backbone.front_end_hash()
    assert again.architecture() == any_backbone.architecture()
    assert again.input == any_backbone.input
    np.testing.assert_array_equal(pooled_layers(again, clips[3:6]), pooled_layers(any_backbone, clips[3:6]))
    assert not list(tmp_path.glob("*.bin"))


@pytest.mark.parametrize("shift", range(0, 64, 8))
def test_the_bits_do_not_depend_on_where_weights_lie_in_their_file(
    tiny_models: dict[str, Backbone], clips: list[np.ndarray], tmp_path: Path, shift: int
) -> None:
    """A resumed run must equal an uninterrupted one bit for bit, though its weights come from another file."""
    backbone = tiny_models["tiny-hubert-base"]
    save_backbone(backbone, tmp_path)
    weights = tmp_path / "model.safetensors"
    # The header's length, and with it the place of every weight, follows from the metadata's.
    save_file(load_file(weights), weights, {"format": "pt", "note": "x" * (shift + 1)})
    loaded = load_backbone(tmp_path)
    weights.write_bytes(b"")
    np.testing.assert_array_equal(pooled_layers(loaded, clips[:8]), pooled_layers(backbone, clips[:8]))


def test_automodel_opens_what_was_saved(folder: Path, expected_hash: str) -> None:
    model = transformers.AutoModel.from_pretrained(folder)
    assert hash_tensors({k: v for k, v in model.state_dict().items() if k != "masked_spec_embed"}) == expected_hash


def test_a_half_precision_checkpoint_is_run_in_float32(folder: Path) -> None:
    rewrite(folder, lambda weights: {key: weight.half() for key, weight in weights.items()})
    configure(folder, dtype="float16")
    loaded = load_backbone(folder)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}


def test_the_architecture_is_what_the_forward_pass_computes(folder: Path) -> None:
    before = load_backbone(folder).architecture()
    configure(folder, hidden_dropout=0.3, layerdrop=0.2, mask_time_prob=0.5, id2label={"0": "joy"}, vocab_size=99)
    assert load_backbone(folder).architecture() == before
    configure(folder, hidden_act="relu")
    assert load_backbone(folder).architecture() != before
    assert {
        "hidden_size",
        "num_hidden_layers",
        "do_stable_layer_norm",
        "conv_kernel",
        "layer_norm_eps",
    } <= before.keys()


# --------------------------------------------------------------------------------------------------------------------
# Checkpoints of the field: other names, other files


def to_old_names(weights: Weights) -> Weights:
    """Name the positional convolution's weight norm as before torch's parametrizations."""
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    pattern = re.compile("|".join(map(re.escape, names)))
    return {pattern.sub(lambda match: names[match.group()], key): weight for key, weight in weights.items()}


@pytest.mark.parametrize("as_bin", [False, True])
@pytest.mark.parametrize("rename", [lambda weights: weights, to_old_names], ids=["new names", "old names"])
def test_both_namings_of_the_weight_norm_load(
    folder: Path, expected_hash: str, rename: Callable[[Weights], Weights], as_bin: bool, tmp_path: Path
) -> None:
    rewrite(folder, rename, as_bin=as_bin)
    loaded = load_backbone(folder)
    assert loaded.weights_hash() == expected_hash
    save_backbone(loaded, tmp_path / "again")
    assert load_backbone(tmp_path / "again").weights_hash() == expected_hash


HEADS = {
    "tiny-wav2vec2-base": ("Wav2Vec2ForCTC", "Wav2Vec2ForSequenceClassification", "Wav2Vec2ForPreTraining"),
    "tiny-hubert-base": ("HubertForCTC", "HubertForSequenceClassification"),
    "tiny-wavlm-base": ("WavLMForCTC", "WavLMForXVector"),
    "tiny-unispeech-sat-large": ("UniSpeechSatForPreTraining", "UniSpeechSatForXVector"),
    "tiny-data2vec-audio-base": ("Data2VecAudioForCTC", "Data2VecAudioForAudioFrameClassification"),
    "tiny-wav2vec2-bert": ("Wav2Vec2BertForCTC", "Wav2Vec2BertForSequenceClassification"),
    "tiny-whisper": ("WhisperForConditionalGeneration", "WhisperForAudioClassification", "WhisperModel"),
}


@pytest.mark.parametrize(("name", "head"), [(name, head) for name in HEADS for head in HEADS[name]])
def test_a_checkpoint_with_a_head_loads(name: str, head: str, tmp_path: Path) -> None:
    kind = getattr(transformers, head)
    entries = {k: v for k, v in TINY_CONFIGS[name].items() if k != "model_type"}
    model = kind(kind.config_class(**entries))
    model.save_pretrained(tmp_path)
    loaded = load_backbone(tmp_path)
    inner = model.get_encoder() if "Generation" in head else model.base_model
    inner = inner.encoder if name == "tiny-whisper" and hasattr(inner, "encoder") else inner
    kept = {k: v for k, v in inner.state_dict().items() if k != "masked_spec_embed"}
    if head == "WhisperForAudioClassification":  # it is its own base model, head and all
        kept = {k: v for k, v in kept.items() if not k.startswith(("projector.", "classifier."))}
    assert loaded.weights_hash() == hash_tensors(kept)
    save_backbone(loaded, tmp_path / "again")
    assert load_backbone(tmp_path / "again").weights_hash() == loaded.weights_hash()


def test_of_whisper_only_the_encoder_is_kept(tmp_path: Path, tiny_models: dict[str, Backbone]) -> None:
    entries = {k: v for k, v in TINY_CONFIGS["tiny-whisper"].items() if k != "model_type"}
    model = transformers.WhisperModel(transformers.WhisperConfig(**entries))
    model.save_pretrained(tmp_path)
    loaded = load_backbone(tmp_path)
    assert not [name for name in loaded.model.state_dict() if "decoder" in name]
    assert loaded.config.decoder_layers == entries["decoder_layers"]
    before = loaded.weights_hash(), loaded.architecture()
    rewrite(tmp_path, lambda weights: {k: v + 1 if k.startswith("decoder.") else v for k, v in weights.items()})
    configure(tmp_path, decoder_layers=7, max_target_positions=99, suppress_tokens=[1, 2], dropout=0.3)
    again = load_backbone(tmp_path)
    assert (again.weights_hash(), again.architecture()) == before, "what the decoder is does not matter"
    rewrite(tmp_path, lambda weights: {k: v + 1 if k == "encoder.conv1.bias" else v for k, v in weights.items()})
    changed = load_backbone(tmp_path)
    assert changed.weights_hash() != before[0]
    assert changed.front_end_hash() != again.front_end_hash()


def test_heads_and_quantisers_may_be_left_over(folder: Path, expected_hash: str) -> None:
    extra = ("lm_head.weight", "quantizer.codevectors", "project_q.weight", "classifier.bias", "label_embs_concat")
    rewrite(folder, lambda weights: {**weights, **{key: torch.ones(3) for key in extra}})
    assert load_backbone(folder).weights_hash() == expected_hash


def test_safetensors_are_preferred(folder: Path, expected_hash: str, tmp_path: Path) -> None:
    torch.save({"bomb": Bomb(tmp_path / "marker")}, folder / "pytorch_model.bin")
    assert load_backbone(folder).weights_hash() == expected_hash
    assert not (tmp_path / "marker").exists()


# --------------------------------------------------------------------------------------------------------------------
# Weights that do not fit


def test_every_single_weight_is_needed(tiny_models: dict[str, Backbone], tmp_path: Path) -> None:
    """One of each kind: what differs in the block's number alone is tried once."""
    for name in ("tiny-wavlm-large", "tiny-wav2vec2-bert"):
        save_backbone(tiny_models[name], tmp_path)
        whole = load_file(tmp_path / "model.safetensors")
        kinds = {re.sub(r"layers\.\d", "", key): key for key in whole}
        assert len(kinds) > 20
        for key in kinds.values():
            save_file({k: v for k, v in whole.items() if k != key}, tmp_path / "model.safetensors", {"format": "pt"})
            if key == "masked_spec_embed":
                assert load_backbone(tmp_path).weights_hash() == tiny_models[name].weights_hash()
                continue
            with pytest.raises(BackboneError, match="1 weights of the encoder were not loaded") as caught:
                load_backbone(tmp_path)
            assert key in caught.value.found


@pytest.mark.parametrize("part", ["weight_g", "weight_v"])
def test_half_a_weight_norm_is_refused_under_old_names_too(folder: Path, part: str) -> None:
    rewrite(folder, lambda w: {k: v for k, v in to_old_names(w).items() if not k.endswith(part)})
    with pytest.raises(BackboneError, match="would stay random") as caught:
        load_backbone(folder)
    assert "pos_conv_embed" in caught.value.found


def test_names_that_only_resemble_a_head_hide_nothing(folder: Path) -> None:
    """A list of harmless name parts would let an encoder weight slip through."""
    rewrite(folder, lambda w: {k.replace("encoder.layers.1.", "classifier.layers.1."): v for k, v in w.items()})
    with pytest.raises(BackboneError, match="19 weights of the encoder were not loaded"):
        load_backbone(folder)


def test_a_wrapped_checkpoint_says_what_it_holds_instead(folder: Path) -> None:
    rewrite(folder, lambda weights: {f"module.{key}": weight for key, weight in weights.items()})
    with pytest.raises(BackboneError, match="would stay random") as caught:
        load_backbone(folder)
    assert "not used: module.encoder" in caught.value.found


def test_another_shape_is_refused_with_both_shapes(folder: Path) -> None:
    key = "encoder.layers.0.attention.q_proj.weight"
    rewrite(folder, lambda weights: {**weights, key: torch.zeros(5, 7)})
    with pytest.raises(BackboneError, match="do not fit") as caught:
        load_backbone(folder)
    assert f"{key} (shape (5, 7), not (96, 96))" in caught.value.found


@pytest.mark.parametrize(
    ("n_layers", "message"),
    [(2, "0 weights .* not loaded .* 38 of the checkpoint were not used"), (5, "19 weights .* 0 of the checkpoint")],
)
def test_a_config_that_counts_other_layers_is_refused(folder: Path, n_layers: int, message: str) -> None:
    configure(folder, num_hidden_layers=n_layers)
    with pytest.raises(BackboneError, match=message):
        load_backbone(folder)


@pytest.mark.parametrize(
    ("name", "left_over"),
    [
        ("tiny-data2vec-audio-base", "encoder.pos_conv_embed.layers.5.conv.weight"),
        ("tiny-unispeech-sat-large", "encoder.layers.4.layer_norm.weight"),
        ("tiny-wav2vec2-bert", "encoder.layers.4.ffn1_layer_norm.weight"),
        ("tiny-whisper", "encoder.layers.2.fc1.weight"),
    ],
)
def test_weights_of_an_encoder_that_the_config_does_not_count_are_refused(
    name: str, left_over: str, tiny_models: dict[str, Backbone], tmp_path: Path
) -> None:
    save_backbone(tiny_models[name], tmp_path)
    rewrite(
        tmp_path, lambda weights: {**weights, "decoder.layers.0.fc1.bias": torch.ones(3), "head.bias": torch.ones(3)}
    )
    assert load_backbone(tmp_path).weights_hash() == tiny_models[name].weights_hash()
    rewrite(tmp_path, lambda weights: {**weights, left_over: torch.ones(3)})
    with pytest.raises(BackboneError, match=r"0 weights .* 1 of the checkpoint were not used") as caught:
        load_backbone(tmp_path)
    assert left_over in caught.value.found


# --------------------------------------------------------------------------------------------------------------------
# Random weights


def test_random_weights_need_nothing_but_the_config(any_backbone: Backbone, tmp_path: Path) -> None:
    save_backbone(any_backbone, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    state = torch.random.get_rng_state()
    drawn = {seed: load_backbone(tmp_path, random_weights=seed) for seed in (3, 4)}
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    assert load_backbone(tmp_path, random_weights=3).weights_hash() == drawn[3].weights_hash()
    assert len({any_backbone.weights_hash(), drawn[3].weights_hash(), drawn[4].weights_hash()}) == 3
    assert drawn[3].name == f"{tmp_path} (random weights, seed 3)"
    assert (drawn[3].architecture(), drawn[3].input) == (any_backbone.architecture(), any_backbone.input)
    assert not drawn[3].model.training
    # The same architecture and seed give the same weights, whatever names it.
    assert load_backbone(any_backbone.name, random_weights=3).weights_hash() == drawn[3].weights_hash()


def test_random_weights_run_as_loaded_ones_do(any_backbone: Backbone, tmp_path: Path, clips: list[np.ndarray]) -> None:
    drawn = load_backbone(any_backbone.name, random_weights=5)
    save_backbone(drawn, tmp_path)
    np.testing.assert_array_equal(pooled_layers(drawn, clips[3:6]), pooled_layers(load_backbone(tmp_path), clips[3:6]))


# --------------------------------------------------------------------------------------------------------------------
# Hostile files


@pytest.mark.parametrize("container", ["zip", "plain pickle"])
def test_a_bin_with_more_than_tensors_is_refused_and_not_run(folder: Path, tmp_path: Path, container: str) -> None:
    marker = tmp_path / "marker"
    rewrite(folder, lambda weights: {**weights, "bomb": Bomb(marker)}, as_bin=True)
    if container == "plain pickle":
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"bomb": Bomb(marker)}, protocol=2))
    with pytest.raises(BackboneError, match="hold more than tensors, or are damaged") as caught:
        load_backbone(folder)
    assert not marker.exists()
    assert "weights_only" not in str(caught.value), "torch's advice to load it unsafely must not reach the user"
    if container == "zip":
        # A counter-case: the bomb is live, and the loader that runs code does set it off.
        torch.load(folder / "pytorch_model.bin", weights_only=False)["bomb"].close()
        assert marker.exists()


AUTO_MAP = {
    "AutoConfig": "remote.Config",
    "AutoModel": "remote.Model",
    "AutoFeatureExtractor": "remote.Extractor",
}


def plant_remote_code(folder: Path, marker: Path) -> None:
    (folder / "remote.py").write_text(f"open({str(marker)!r}, 'w')\nclass Config: pass\nModel = Extractor = Config\n")
    configure(folder, auto_map=AUTO_MAP)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "auto_map": AUTO_MAP}))


def test_remote_code_is_never_run(folder: Path, expected_hash: str, tmp_path: Path) -> None:
    plant_remote_code(folder, tmp_path / "marker")
    assert load_backbone(folder).weights_hash() == expected_hash, "the family's own class runs it"
    assert not (tmp_path / "marker").exists()


def test_a_model_that_is_nothing_without_its_code_is_refused(folder: Path, tmp_path: Path) -> None:
    plant_remote_code(folder, tmp_path / "marker")
    configure(folder, model_type="my-speech-model")
    with pytest.raises(BackboneError, match="config of the local model could not be loaded"):
        load_backbone(folder)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_config_cannot_ask_for_an_attention_kernel_of_the_hub(folder: Path, expected_hash: str, key: str) -> None:
    configure(folder, **{key: "kernels-community/flash-attn"})
    loaded = load_backbone(folder)
    assert loaded.weights_hash() == expected_hash
    assert loaded.config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ({"model_type": "unispeech"}, "unispeech"),
        ({"model_type": "bert"}, "bert"),
        ({"model_type": "wav2vec2-conformer"}, "wav2vec2-conformer"),
        ({"add_adapter": True}, "wavlm with a convolutional adapter"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "wavlm with quantised weights"),
    ],
)
def test_what_would_not_run_exactly_is_refused(folder: Path, entries: dict[str, Any], found: str) -> None:
    configure(folder, **entries)
    for seed in (None, 1):
        with pytest.raises(BackboneError, match="of a kind that ser-probe cannot run exactly") as caught:
            load_backbone(folder, random_weights=seed)
        assert caught.value.found == found
        assert caught.value.expected == ", ".join(FAMILIES)


@pytest.mark.parametrize("name", ["tiny-wav2vec2-bert", "tiny-unispeech-sat-base", "tiny-data2vec-audio-base"])
def test_adapters_are_refused_in_every_family(name: str, tiny_models: dict[str, Backbone], tmp_path: Path) -> None:
    save_backbone(tiny_models[name], tmp_path)
    configure(tmp_path, add_adapter=True)
    with pytest.raises(BackboneError, match="cannot run exactly") as caught:
        load_backbone(tmp_path)
    assert caught.value.found == f"{tiny_models[name].family} with a convolutional adapter"


# --------------------------------------------------------------------------------------------------------------------
# Damaged and incomplete directories


def test_a_directory_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match="weights of the local model could not be loaded") as caught:
        load_backbone(folder)
    assert "no file named model.safetensors" in caught.value.found


def test_a_directory_without_a_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(BackboneError, match=r"has no config\.json"):
        load_backbone(folder)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    for name in (tmp_path / "no" / "where", str(tmp_path / "nowhere"), "./nowhere", Path("no/where")):
        with pytest.raises(BackboneError, match="There is no such folder"):
            load_backbone(name)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("damage", ["cut", "emptied"])
def test_damaged_weights(folder: Path, file: str, damage: str) -> None:
    rewrite(folder, dict, as_bin=file.endswith("bin"))
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with pytest.raises(BackboneError, match=r"weights of .* (could not be loaded|are damaged)"):
        load_backbone(folder)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_weights_that_git_lfs_has_not_fetched(folder: Path, file: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 377\n")
    with pytest.raises(BackboneError, match="Git LFS pointers") as caught:
        load_backbone(folder)
    assert "git lfs pull" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "not a valid JSON"),
        ("{}", "model_type"),
        ('{"model_type": "hubert", "num_hidden_layers": "x"}', "Validation"),
    ],
)
def test_an_unreadable_config(folder: Path, text: str, found: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(BackboneError, match="config of the local model could not be loaded") as caught:
        load_backbone(folder)
    assert found in caught.value.found


@pytest.mark.parametrize("text", ["{", '{"sampling_rate": "fast"}'])
def test_unreadable_feature_extractor_settings_are_not_guessed(folder: Path, text: str) -> None:
    (folder / "preprocessor_config.json").write_text(text)
    with pytest.raises(BackboneError, match="feature extractor cannot be read"):
        load_backbone(folder)


@pytest.mark.parametrize("size", ["base", "large"])
def test_without_feature_extractor_settings_the_norm_decides_and_is_said(
    size: str, tiny_models: dict[str, Backbone], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_backbone(tiny_models[f"tiny-hubert-{size}"], tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with caplog.at_level("WARNING", logger="ser_probe"):
        loaded = load_backbone(tmp_path)
    assert loaded.input.normalise == (size == "large")
    assert "has no preprocessor_config.json" in caplog.text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny-data2vec-audio-base", "normalisation on"),
        ("tiny-wav2vec2-bert", "normalisation on"),
        ("tiny-whisper", "normalisation off"),
    ],
)
def test_without_feature_extractor_settings_a_family_has_its_own(
    name: str, said: str, tiny_models: dict[str, Backbone], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_backbone(tiny_models[name], tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with caplog.at_level("WARNING", logger="ser_probe"):
        assert load_backbone(tmp_path).input == tiny_models[name].input
    assert said in caplog.text


@pytest.mark.parametrize("normalise", [True, False])
def test_the_feature_extractor_settings_decide_where_there_are_any(folder: Path, normalise: bool) -> None:
    settings = {"do_normalize": normalise, "sampling_rate": 8_000, "feature_extractor_type": "Wav2Vec2FeatureExtractor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    loaded = load_backbone(folder)
    assert (loaded.input.normalise, loaded.input.sample_rate_hz) == (normalise, 8_000)


# --------------------------------------------------------------------------------------------------------------------
# Names


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("wavlm-large", "microsoft/wavlm-large"),
        ("hubert-base-ls960", "facebook/hubert-base-ls960"),
        ("tiny-wavlm", "tiny-wavlm-large"),
        ("tiny-hubert-bas", "tiny-hubert-base"),
        ("", "`ser-probe models` lists"),
        ("not a model", "`ser-probe models` lists"),
    ],
)
def test_an_unknown_name_gets_near_matches(name: str, near: str) -> None:
    with pytest.raises(BackboneError, match="There is no backbone named") as caught:
        load_backbone(name)
    assert near in caught.value.fix
