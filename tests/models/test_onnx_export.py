"""A classifier as an ONNX model: every family, every pooling, any length, and a refusal where it would be wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ser_probe.errors import BackboneError, MissingExtraError
from ser_probe.models import onnx_export
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.frame_pooling import HEAD_POOLINGS
from ser_probe.models.heads import PLAIN_HEAD, HeadSettings, SerClassifier
from ser_probe.models.loading import load_backbone
from ser_probe.models.onnx_export import TOLERANCE, export_onnx
from ser_probe.models.targets import Targets
from tests.models.conftest import relative_difference

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

TRAINABLE = [name for name, config in TINY_CONFIGS.items() if config["model_type"] not in ("wav2vec2-bert", "whisper")]
CLASSES = Targets("classes", ("anger", "joy", "tristezza è qui"))
NUMERIC = Targets("numeric", ("arousal", "valence"), (3.5, -1.0), (2.0, 0.5))
MIXED = HeadSettings(layers="weighted", mix="pooled", pooling="mean+std", hidden=(16,), relu=True, batch_norm=True)


def make(name: str, targets: Targets = CLASSES, settings: HeadSettings = PLAIN_HEAD, *, blocks: int) -> SerClassifier:
    torch.manual_seed(0)
    backbone = load_backbone(name)
    backbone.model.encoder.layers = backbone.model.encoder.layers[:blocks]
    return SerClassifier(backbone, targets, settings).eval()


def run(path: Path, clip: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"samples": clip[None]})
    return dict(zip((output.name for output in session.get_outputs()), outputs, strict=True))


def check(classifier: SerClassifier, path: Path, clips: list[np.ndarray]) -> None:
    """Compare on the shortest clip possible, and on lengths that nobody exported."""
    for clip in (clips[0], clips[3], clips[9], clips[20]):
        found = run(path, clip)
        with torch.inference_mode():
            expected = classifier([clip])
        assert list(found) == ["logits", "probabilities"]
        assert relative_difference(found["logits"], expected.numpy()) < TOLERANCE
        assert relative_difference(found["probabilities"], expected.softmax(dim=1).numpy()) < TOLERANCE


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[SerClassifier, Path]:
    """A classifier that was training when it was exported, and the file."""
    classifier = make("tiny-wavlm-large", settings=MIXED, blocks=2).train()
    path = tmp_path_factory.mktemp("onnx") / "below" / "model.onnx"
    before = {name: weight.clone() for name, weight in classifier.state_dict().items()}
    assert export_onnx(classifier, path, {"audio": "as it is"}) < TOLERANCE
    assert classifier.training
    assert before.keys() == classifier.state_dict().keys()
    assert all(torch.equal(weight, before[name]) for name, weight in classifier.state_dict().items())
    return classifier.eval(), path


def test_an_exported_classifier_says_the_same(exported: tuple[SerClassifier, Path], clips: list[np.ndarray]) -> None:
    check(*exported, clips)


def test_it_is_one_file_that_says_what_one_must_know(exported: tuple[SerClassifier, Path]) -> None:
    path = exported[1]
    assert [each.name for each in path.parent.iterdir()] == ["model.onnx"]
    model = onnx.load(path)
    onnx.checker.check_model(model)
    facts = {each.key: each.value for each in model.metadata_props}
    assert json.loads(facts["labels"]) == list(CLASSES.names)
    assert Targets.from_json(json.loads(facts["targets"])) == CLASSES
    assert (facts["sample_rate_hz"], facts["min_samples"], facts["audio"]) == ("16000", "400", "as it is")


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINABLE)
def test_every_family_can_be_exported(name: str, tmp_path: Path, clips: list[np.ndarray]) -> None:
    classifier = make(name, blocks=4)
    export_onnx(classifier, tmp_path / "model.onnx")
    check(classifier, tmp_path / "model.onnx", clips)


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["final", 0, 1, "weighted", "weighted-raw"])
def test_every_choice_of_layers_can_be_exported(layers: str | int, tmp_path: Path, clips: list[np.ndarray]) -> None:
    classifier = make("tiny-hubert-large", settings=HeadSettings(layers=layers), blocks=2)
    export_onnx(classifier, tmp_path / "model.onnx")
    check(classifier, tmp_path / "model.onnx", clips)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", HEAD_POOLINGS)
def test_every_pooling_can_be_exported(pooling: str, tmp_path: Path, clips: list[np.ndarray]) -> None:
    if pooling == "ecapa":
        pytest.importorskip("speechbrain")
    classifier = make("tiny-wavlm-base", settings=HeadSettings(pooling=pooling), blocks=1)
    export_onnx(classifier, tmp_path / "model.onnx")
    check(classifier, tmp_path / "model.onnx", clips)


def test_numeric_targets_come_out_in_their_units_of_a_large_model_too(
    tmp_path: Path, clips: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a model over 2 GB the weights lie in a second file, which the first one finds by its name."""
    monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 0)
    classifier = make("tiny-hubert-base", NUMERIC, blocks=1)
    export_onnx(classifier, tmp_path / "model.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    found = run(tmp_path / "model.onnx", clips[9])
    with torch.inference_mode():
        expected = NUMERIC.restore(classifier([clips[9]]).numpy())
    assert list(found) == ["values"]
    np.testing.assert_allclose(found["values"], expected, rtol=TOLERANCE)


def test_a_model_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the comparison is for: here the export is that of a classifier with another head."""
    classifier, other = (make("tiny-hubert-large", blocks=1) for _ in range(2))
    with torch.no_grad():
        other.head.linear.weight.mul_(1.001)
    export = onnx_export._export
    monkeypatch.setattr(onnx_export, "_export", lambda _module: export(onnx_export._OneClip(other)))
    with pytest.raises(BackboneError, match="does not compute what the classifier does") as caught:
        export_onnx(classifier, tmp_path / "model.onnx")
    assert "on a clip of" in str(caught.value.found)
    assert list(tmp_path.iterdir()) == []


def test_a_head_that_cannot_be_exported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = make("tiny-wavlm-base", blocks=1)

    def depends_on_the_values(self: Any, pooled: torch.Tensor) -> torch.Tensor:
        return self.linear(pooled if float(pooled.sum()) > 0 else -pooled)

    monkeypatch.setattr(type(classifier.head), "classify", depends_on_the_values)
    with pytest.raises(BackboneError, match="a wavlm model with this head cannot be exported to ONNX") as caught:
        export_onnx(classifier, tmp_path / "model.onnx")
    assert caught.value.found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_onnx_is_an_extra(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as Python does where a package is not installed
    with pytest.raises(MissingExtraError, match=f"needs the package '{package}'") as caught:
        export_onnx(make("tiny-wavlm-base", blocks=1), tmp_path / "model.onnx")
    assert caught.value.fix == "pip install 'ser-probe[onnx]'"
