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
from ser_probe.models.backbone import Backbone
from ser_probe.models.checkpoint import load_classifier, load_head, save_classifier
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.heads import SerClassifier
from ser_probe.models.loading import load_backbone

LABELS = ["joy", "anger", "tristezza è qui"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved checkpoint of a classifier."""
    torch.manual_seed(5)
    save_classifier(
        tmp_path / "checkpoint-50", SerClassifier(load_backbone("tiny-wavlm-large"), 3, dropout=0.1), LABELS
    )
    return tmp_path / "checkpoint-50"


def test_save_and_load_give_the_same_classifier(backbone: Backbone, tmp_path: Path, clips: list[np.ndarray]) -> None:
    torch.manual_seed(2)
    classifier = SerClassifier(load_backbone(backbone.name), 3, dropout=0.25)
    with torch.no_grad():  # weights that no seed would give
        for weight in classifier.parameters():
            weight += 0.01 * torch.randn_like(weight)
    save_classifier(tmp_path, classifier.train(), LABELS)

    again, labels = load_classifier(tmp_path)

    assert labels == LABELS
    assert not again.training
    assert again.settings() == classifier.settings()
    assert again.backbone.weights_hash() == classifier.backbone.weights_hash()
    assert again.backbone.input == classifier.backbone.input
    with torch.inference_mode():
        assert torch.equal(again(clips[:4]), classifier.eval()(clips[:4]))


def test_a_checkpoint_is_plain_files_that_others_open(folder: Path, clips: list[np.ndarray]) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        *("config.json", "head.json", "head.safetensors", "labels.json", "model.safetensors"),
        "preprocessor_config.json",
    ]
    classifier, _ = load_classifier(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(clips[9], sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        expected = model(inputs.input_values).last_hidden_state.mean(dim=1)
        head = load_file(folder / "head.safetensors")
        logits = expected @ head["linear.weight"].T + head["linear.bias"]
        torch.testing.assert_close(classifier([clips[9]]), logits)


def test_the_backbone_of_a_checkpoint_loads_alone(folder: Path, clips: list[np.ndarray]) -> None:
    classifier, _ = load_classifier(folder)
    backbone = load_backbone(folder)
    np.testing.assert_array_equal(pooled_layers(backbone, clips[:2]), pooled_layers(classifier.backbone, clips[:2]))


@pytest.mark.parametrize("file", ["config.json", "head.json", "head.safetensors", "labels.json"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match="not a complete checkpoint") as caught:
        load_classifier(folder)
    assert caught.value.found == f"missing: {file}"


def test_a_folder_that_is_not_there_lacks_everything(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a complete checkpoint"):
        load_classifier(tmp_path / "nowhere")


def test_missing_backbone_weights_are_the_backbone_s_fault(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match="weights of the local model could not be loaded"):
        load_classifier(folder)


@pytest.mark.parametrize("labels", [["joy"], [], {"joy": 0, "anger": 1, "fear": 2}])
def test_labels_that_do_not_fit_the_head(folder: Path, labels: Any) -> None:
    (folder / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(CheckpointError, match="head and the labels of the checkpoint do not fit") as caught:
        load_classifier(folder)
    assert caught.value.expected == "3 labels"


@pytest.mark.parametrize(
    "change",
    [{"kind": "attention"}, {"pooling": "median"}, {"pooling": ["mean"]}, {"n_classes": "3"}, {"dropout": None}],
)
def test_settings_of_another_release_are_refused(folder: Path, change: dict[str, Any]) -> None:
    settings = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps({**settings, **change}))
    with pytest.raises(CheckpointError, match="not ones that this release knows"):
        load_classifier(folder)


@pytest.mark.parametrize("text", ["[]", '{"kind": "linear"}', "3"])
def test_settings_that_are_no_settings_are_refused(folder: Path, text: str) -> None:
    (folder / "head.json").write_text(text)
    with pytest.raises(CheckpointError, match="not ones that this release knows"):
        load_classifier(folder)


@pytest.mark.parametrize("file", ["head.json", "labels.json"])
def test_a_cut_json_file_is_named(folder: Path, file: str) -> None:
    (folder / file).write_text('["joy", ')
    with pytest.raises(CheckpointError, match="is not JSON") as caught:
        load_classifier(folder)
    assert caught.value.where == folder / file


@pytest.mark.parametrize("fault", ["cut", "other shape", "other names", "gone"])
def test_head_weights_that_do_not_fit(folder: Path, fault: str) -> None:
    path = folder / "head.safetensors"
    classifier, _ = load_classifier(folder)
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:60])
    elif fault == "other shape":
        save_file({"linear.weight": torch.zeros(4, 96), "linear.bias": torch.zeros(4)}, path)
    elif fault == "other names":
        save_file({"weight": torch.zeros(3, 96)}, path)
    else:
        path.unlink()
    before = classifier.head.linear.weight.clone()
    with pytest.raises(CheckpointError, match="head's weights do not fit"):
        load_head(folder, classifier)
    assert torch.equal(classifier.head.linear.weight, before)
