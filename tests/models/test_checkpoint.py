"""A checkpoint's model files: whole round trips, plain formats, and a message for each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from ser_probe.errors import BackboneError, CheckpointError
from ser_probe.files import write_json
from ser_probe.models.backbone import Backbone
from ser_probe.models.checkpoint import load_classifier, read_targets, save_classifier
from ser_probe.models.contents import CONTENTS, describe_contents
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.frame_pooling import HEAD_POOLINGS
from ser_probe.models.heads import HeadSettings, SerClassifier
from ser_probe.models.loading import load_backbone
from ser_probe.models.targets import Targets

TARGETS = Targets("classes", ("joy", "anger", "tristezza è qui"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved checkpoint of a classifier."""
    torch.manual_seed(5)
    classifier = SerClassifier(load_backbone("tiny-wavlm-large"), TARGETS, HeadSettings(dropout=0.1))
    save_classifier(tmp_path / "checkpoint-50", classifier)
    return tmp_path / "checkpoint-50"


def shake(classifier: SerClassifier) -> None:
    """Give a classifier weights and stored statistics that no seed would give it."""
    with torch.no_grad():
        for name, tensor in classifier.state_dict().items():
            if tensor.is_floating_point():
                noise = 0.01 * torch.randn_like(tensor)
                tensor += noise.abs() if name.endswith("running_var") else noise


def test_what_it_predicts_is_known_without_its_weights(folder: Path) -> None:
    write_json(folder / CONTENTS, describe_contents(folder))
    (folder / "model.safetensors").write_bytes(b"")
    assert read_targets(folder) == TARGETS
    labels = (folder / "labels.json").read_text(encoding="utf-8")
    (folder / "labels.json").write_text(labels.replace("joy", "jay"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="The checkpoint is not as fine-tuning wrote it"):
        read_targets(folder)
    (folder / "labels.json").unlink()
    with pytest.raises(CheckpointError, match="The folder is not a complete checkpoint"):
        read_targets(folder)


def test_save_and_load_give_the_same_classifier(backbone: Backbone, tmp_path: Path, clips: list[np.ndarray]) -> None:
    torch.manual_seed(2)
    classifier = SerClassifier(load_backbone(backbone.name), TARGETS, HeadSettings(dropout=0.25))
    shake(classifier)
    save_classifier(tmp_path, classifier.train())

    again = load_classifier(tmp_path)

    assert again.targets == TARGETS
    assert not again.training
    assert again.settings == classifier.settings
    assert again.backbone.weights_hash() == classifier.backbone.weights_hash()
    assert again.backbone.input == classifier.backbone.input
    with torch.inference_mode():
        assert torch.equal(again(clips[:4]), classifier.eval()(clips[:4]))


LAYERS: list[tuple[str | int, str]] = [("weighted", "pooled"), ("final", "frames"), (2, "frames")]
# What the layers add to a checkpoint does not depend on the pooling: every one of either, and all pairs when slow.
HEADS = [
    pytest.param(pooling, *layers, marks=() if layers == LAYERS[0] or pooling == "mean" else pytest.mark.slow)
    for pooling in HEAD_POOLINGS
    for layers in LAYERS
]


@pytest.mark.parametrize(("pooling", "layers", "mix"), HEADS)
def test_every_head_comes_back_bit_for_bit(
    pooling: str, layers: str | int, mix: str, tmp_path: Path, clips: list[np.ndarray]
) -> None:
    settings = HeadSettings(pooling, layers, mix, hidden=(8, 4), relu=True, batch_norm=True, dropout=0.5)
    torch.manual_seed(2)
    classifier = SerClassifier(load_backbone("tiny-wavlm-large"), TARGETS, settings)
    shake(classifier)
    save_classifier(tmp_path, classifier)
    again = load_classifier(tmp_path)
    assert again.settings == settings
    assert again.layer_weights() == classifier.layer_weights()
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    with torch.inference_mode():
        assert torch.equal(again(clips[:4]), classifier.eval()(clips[:4]))


def test_numeric_targets_come_back_with_their_units(tmp_path: Path) -> None:
    targets = Targets("numeric", ("arousal", "valence"), (3.25, 1 / 3), (0.5, 1e-3))
    save_classifier(tmp_path, SerClassifier(load_backbone("tiny-wavlm-base"), targets))
    assert load_classifier(tmp_path).targets == targets


def test_loading_leaves_the_random_state_as_it_was(folder: Path) -> None:
    torch.manual_seed(8)
    expected = torch.rand(3)
    torch.manual_seed(8)
    load_classifier(folder)
    assert torch.equal(torch.rand(3), expected)


def test_a_checkpoint_is_plain_files_that_others_open(folder: Path, clips: list[np.ndarray]) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        *("config.json", "head.json", "head.safetensors", "labels.json", "model.safetensors"),
        "preprocessor_config.json",
    ]
    classifier = load_classifier(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(clips[9], sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        expected = model(inputs.input_values).last_hidden_state.mean(dim=1)
        head = load_file(folder / "head.safetensors")
        logits = expected @ head["linear.weight"].T + head["linear.bias"]
        torch.testing.assert_close(classifier([clips[9]]), logits)


def test_the_backbone_of_a_checkpoint_loads_alone(folder: Path, clips: list[np.ndarray]) -> None:
    classifier = load_classifier(folder)
    backbone = load_backbone(folder)
    np.testing.assert_array_equal(pooled_layers(backbone, clips[:2]), pooled_layers(classifier.backbone, clips[:2]))


@pytest.mark.parametrize("file", ["config.json", "head.json", "head.safetensors", "labels.json"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match="not a complete checkpoint") as caught:
        load_classifier(folder)
    assert caught.value.found == f"missing: {file}"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no such folder"):
        load_classifier(tmp_path / "nowhere")


def test_missing_backbone_weights_are_the_backbone_s_fault(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match="weights of the local model could not be loaded"):
        load_classifier(folder)


@pytest.mark.parametrize("names", [["joy"], [], ["joy", "anger", "fear", "sadness"]])
def test_targets_that_do_not_fit_the_head(folder: Path, names: list[str]) -> None:
    (folder / "labels.json").write_text(json.dumps({"kind": "classes", "names": names}))
    with pytest.raises(CheckpointError, match="head and the targets of the checkpoint do not fit") as caught:
        load_classifier(folder)
    assert caught.value.where == folder / "labels.json"
    assert caught.value.expected == "3 names, one an output of the head"


@pytest.mark.parametrize("targets", [["joy", "anger", "fear"], {"kind": "classes"}, {"kind": "ranks", "names": ["a"]}])
def test_targets_of_another_release_are_refused(folder: Path, targets: Any) -> None:
    (folder / "labels.json").write_text(json.dumps(targets))
    with pytest.raises(CheckpointError, match="targets of the classifier are not ones that this release knows"):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "attention"}, "kind is not known"),
        ({"pooling": "median"}, "pooling must be one of"),
        ({"pooling": ["mean"]}, "pooling must be one of"),
        ({"layers": None}, "layers must be"),
        ({"hidden": "wide"}, "hidden must be"),
        ({"dropout": None}, "dropout must be"),
    ],
)
def test_settings_of_another_release_are_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    settings = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps({**settings, **change}))
    with pytest.raises(CheckpointError, match=f"not ones that this release knows(.|\n)*{message}"):
        load_classifier(folder)


@pytest.mark.parametrize("text", ["[]", '{"pooling": "mean"}', "3"])
def test_settings_that_are_no_settings_are_refused(folder: Path, text: str) -> None:
    (folder / "head.json").write_text(text)
    with pytest.raises(CheckpointError, match="not ones that this release knows"):
        load_classifier(folder)


def test_a_layer_that_the_backbone_does_not_have(folder: Path) -> None:
    (folder / "head.json").write_text(json.dumps({**HeadSettings().as_json(), "layers": 99}))
    with pytest.raises(CheckpointError, match=r"head does not fit the backbone(.|\n)*found: 99"):
        load_classifier(folder)


@pytest.mark.parametrize("file", ["head.json", "labels.json"])
def test_a_cut_json_file_is_named(folder: Path, file: str) -> None:
    (folder / file).write_text('["joy", ')
    with pytest.raises(CheckpointError, match="is not JSON") as caught:
        load_classifier(folder)
    assert caught.value.where == folder / file


@pytest.mark.parametrize("fault", ["cut", "other shape", "other names", "other pooling"])
def test_head_weights_that_do_not_fit(folder: Path, fault: str) -> None:
    path = folder / "head.safetensors"
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:60])
    elif fault == "other shape":
        save_file({"linear.weight": torch.zeros(3, 97), "linear.bias": torch.zeros(3)}, path)
    elif fault == "other names":
        save_file({"weight": torch.zeros(3, 96)}, path)
    else:
        other = SerClassifier(load_backbone("tiny-wavlm-large"), TARGETS, HeadSettings("attentive"))
        save_file(other.head.state_dict(), path)
    with pytest.raises(CheckpointError, match="head's weights do not fit, or are damaged") as caught:
        load_classifier(folder)
    assert caught.value.where == path


@pytest.mark.parametrize("hidden", [[10**9], [10**9, 10**9], [8] * 100_000])
def test_a_head_of_a_thousand_million_is_refused_before_memory_is_taken(folder: Path, hidden: list[int]) -> None:
    (folder / "head.json").write_text(json.dumps({**HeadSettings().as_json(), "hidden": hidden}))
    with pytest.raises(CheckpointError, match=r"head's weights do not fit(.|\n)*of one checkpoint") as caught:
        load_classifier(folder)
    assert caught.value.where == folder / "head.safetensors"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_head_that_is_not_finite_is_named(folder: Path, value: float) -> None:
    weights = load_file(folder / "head.safetensors")
    weights["linear.bias"][1] = value
    save_file(weights, folder / "head.safetensors")
    with pytest.raises(
        CheckpointError, match=r"Weights are NaN or infinite(.|\n)*linear.bias: 1 of 3 values"
    ) as caught:
        load_classifier(folder)
    assert caught.value.where == folder / "head.safetensors"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "classes", "names": ["joy", "joy", "anger"]}, "each name must be another"),
        ({"kind": "classes", "names": ["joy", None, "anger"]}, "expected a list of names"),
        ({"kind": "numeric", "names": ["x"], "offsets": [float("nan")], "scales": [1]}, "offsets must be finite"),
        ({"kind": "numeric", "names": ["x"], "offsets": [0], "scales": [0]}, "scales above 0"),
    ],
)
def test_targets_that_make_no_answer(folder: Path, values: dict[str, Any], message: str) -> None:
    (folder / "labels.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=rf"targets of the classifier are not ones(.|\n)*{message}"):
        load_classifier(folder)
