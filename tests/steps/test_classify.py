"""A trained classifier on files and arrays: what it says is the head's word, in any batch, prepared as in training."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import ser_probe
from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.embeddings import memory
from ser_probe.errors import AudioError, CheckpointError
from ser_probe.models.checkpoint import save_classifier
from ser_probe.models.heads import HeadSettings, SerClassifier
from ser_probe.models.loading import load_backbone
from ser_probe.models.targets import Targets
from ser_probe.steps import classify
from ser_probe.steps.classify import Classifier, classify_files, export_checkpoint, load_classifier
from tests.voices import voice

LABELS = ("anger", "joy", "tristezza è qui")
SPEC = AudioSpec(loudness_lufs=-23.0, peak_dbfs=-1.0)
NUMERIC = Targets("numeric", ("arousal", "valence"), (3.5, -1.0), (2.0, 0.5))

TOLERANCE = 1e-5
"""Of probabilities in any batch: rounding in float32 reaches about 1e-6; a clip heard otherwise costs far more."""

WriteClip = Callable[..., Path]


def save(folder: Path, targets: Targets, *, spec: AudioSpec | None = SPEC) -> Path:
    """Write a checkpoint of a classifier of one block whose head tells clips apart."""
    torch.manual_seed(4)
    backbone = load_backbone("tiny-wavlm-base")
    backbone.config.num_hidden_layers = 1
    backbone.model.encoder.layers = backbone.model.encoder.layers[:1]
    classifier = SerClassifier(backbone, targets, HeadSettings()).eval()
    noise = 0.1 * np.random.default_rng(0).standard_normal(8_000).astype(np.float32)
    with torch.no_grad():
        classifier.head.linear.weight.mul_(20)
        classifier.head.linear.bias.sub_(classifier([noise])[0])  # what all clips have in common
    save_classifier(folder, classifier)
    if spec is not None:
        (folder / "audio.json").write_text(json.dumps({"audio": dataclasses.asdict(spec)}))
    return folder


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("run") / "checkpoints" / "checkpoint-50", Targets("classes", LABELS))


@pytest.fixture
def run(saved_once: Path, tmp_path: Path) -> Path:
    """A run's folder whose best checkpoint, of two, is that of step 50."""
    shutil.copytree(saved_once, tmp_path / "run" / "checkpoints" / "checkpoint-50")
    (tmp_path / "run" / "checkpoints" / "checkpoint-100").mkdir()
    (tmp_path / "run" / "best.json").write_text('{"step": 50, "metric": "uar", "value": 0.5}')
    return tmp_path / "run"


@pytest.fixture
def classifier(saved_once: Path) -> Classifier:
    return load_classifier(saved_once, device="cpu")


@pytest.fixture
def files(write_clip: WriteClip) -> list[Path]:
    lengths = (0.9, 0.31, 1.4, 0.05, 0.6)
    return [write_clip(f"{n}.wav", length, 110 + 30 * n, gain=0.1 + 0.1 * n) for n, length in enumerate(lengths)]


def probabilities(table: pd.DataFrame) -> np.ndarray:
    return table[[f"p({label})" for label in LABELS]].to_numpy()


def test_predictions_are_the_softmax_of_the_model_on_clips_prepared_as_in_training(
    classifier: Classifier, files: list[Path]
) -> None:
    table = classifier.predict(files)
    assert list(table.columns) == ["path", "duration_s", "predicted", *(f"p({label})" for label in LABELS)]
    assert table["path"].tolist() == [str(path) for path in files]
    np.testing.assert_allclose(table["duration_s"], [0.9, 0.31, 1.4, 0.05, 0.6])
    with torch.inference_mode():
        alone = [classifier.model([load_clip(path, SPEC).samples]).softmax(dim=1)[0].numpy() for path in files]
    np.testing.assert_allclose(probabilities(table), alone, atol=TOLERANCE)
    np.testing.assert_allclose(probabilities(table).sum(axis=1), 1.0)
    assert table["predicted"].tolist() == [LABELS[np.argmax(each)] for each in alone]


def test_the_preparation_counts(saved_once: Path, files: list[Path]) -> None:
    """The counter-case: a classifier that heard clips at their own level says something else."""
    prepared = load_classifier(saved_once, device="cpu").predict(files)
    as_they_are = load_classifier(saved_once, device="cpu")
    as_they_are.audio = AudioSpec()
    assert np.abs(probabilities(as_they_are.predict(files)) - probabilities(prepared)).max() > 100 * TOLERANCE


def test_an_input_alone_is_one_row_and_says_the_same(classifier: Classifier, files: list[Path]) -> None:
    together = classifier.predict(files)
    for row, path in enumerate(files):
        alone = classifier.predict(str(path))
        assert len(alone) == 1
        np.testing.assert_allclose(probabilities(alone)[0], probabilities(together)[row], atol=TOLERANCE)


def test_many_inputs_go_in_parts(classifier: Classifier, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = classifier.predict(files)
    monkeypatch.setattr(classify, "_CLIPS_AT_ONCE", 2)
    pd.testing.assert_frame_equal(classifier.predict(files), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("sample_rate_hz", [16_000, 44_100])
def test_an_array_is_heard_as_its_file(
    classifier: Classifier, write_clip: WriteClip, tmp_path: Path, sample_rate_hz: int
) -> None:
    path = write_clip("clip.wav", 0.7, sample_rate_hz=sample_rate_hz)
    samples, _ = soundfile.read(path)
    from_file = classifier.predict(path)
    from_array = classifier.predict(samples, sample_rate_hz=sample_rate_hz)
    assert from_array["path"].isna().all()
    pd.testing.assert_frame_equal(from_array.drop(columns="path"), from_file.drop(columns="path"), check_exact=True)


def test_files_and_arrays_mix(classifier: Classifier, files: list[Path], rng: np.random.Generator) -> None:
    noise = 0.1 * rng.standard_normal(8_000).astype(np.float32)
    table = classifier.predict([files[0], noise, str(files[1])], sample_rate_hz=16_000)
    assert table["path"].isna().tolist() == [False, True, False]
    assert table["path"].dropna().tolist() == [str(path) for path in files[:2]]
    expected = probabilities(classifier.predict(files[:2]))
    np.testing.assert_allclose(probabilities(table)[[0, 2]], expected, atol=TOLERANCE)


def test_nothing_gives_an_empty_table(classifier: Classifier) -> None:
    assert list(classifier.predict([]).columns) == ["path", "duration_s", *classifier.columns]


def test_numeric_targets_are_in_their_units(tmp_path: Path, files: list[Path]) -> None:
    classifier = load_classifier(save(tmp_path / "numeric", NUMERIC), device="cpu")
    table = classifier.predict(files)
    assert list(table.columns) == ["path", "duration_s", "predicted(arousal)", "predicted(valence)"]
    with torch.inference_mode():
        outputs = np.concatenate([classifier.model([load_clip(path, SPEC).samples]).numpy() for path in files])
    expected = outputs * [2.0, 0.5] + [3.5, -1.0]
    np.testing.assert_allclose(table[["predicted(arousal)", "predicted(valence)"]], expected, atol=10 * TOLERANCE)


def test_a_distribution_gives_shares(tmp_path: Path, files: list[Path]) -> None:
    classifier = load_classifier(save(tmp_path / "votes", Targets("distribution", LABELS)), device="cpu")
    np.testing.assert_allclose(probabilities(classifier.predict(files)).sum(axis=1), 1.0)


def test_a_run_means_its_best_checkpoint(run: Path, files: list[Path]) -> None:
    classifier = load_classifier(run, device="cpu")
    assert classifier.folder == run / "checkpoints" / "checkpoint-50"
    assert classifier.names == LABELS
    assert len(classifier.predict(files[:1])) == 1


def test_runs_of_several_seeds_are_named(run: Path) -> None:
    seeds = run.parent / "seeds"
    for seed in (0, 1):
        shutil.copytree(run, seeds / f"seed-{seed}")
    with pytest.raises(CheckpointError, match="runs of several seeds, and a classifier is one") as caught:
        load_classifier(seeds)
    assert caught.value.fix == f"name one of them, such as {seeds / 'seed-0' / 'checkpoints' / 'checkpoint-50'}"


def test_without_audio_settings_clips_are_heard_as_they_are(
    tmp_path: Path, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = save(tmp_path / "old", Targets("classes", LABELS), spec=None)
    with caplog.at_level(logging.WARNING, logger="ser_probe"):
        classifier = load_classifier(folder, device="cpu")
    assert classifier.audio == AudioSpec()
    assert "has no audio.json: clips are heard as they are, resampled to 16000 Hz" in caplog.text


def test_a_file_that_cannot_be_used_is_named(classifier: Classifier, files: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    with pytest.raises(AudioError, match="cannot be opened as audio") as caught:
        classifier.predict([files[0], broken])
    assert caught.value.where == broken


def test_a_clip_too_long_for_the_memory_is_named(
    classifier: Classifier, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 1 << 20)
    with pytest.raises(AudioError, match=r"goes through the model whole, and 0\.0 GiB are free") as caught:
        classifier.predict(files)
    assert caught.value.where == files[0]


def test_an_array_over_full_scale_is_no_clipped_one(classifier: Classifier) -> None:
    """On its way arrays are a WAV file: in 16 bits it would wrap, so it is floating point."""
    samples = voice(3, 140, 0.6).astype(np.float64)
    as_it_is, loud = (classifier.predict(gain * samples, sample_rate_hz=16_000) for gain in (1.0, 8.0))
    values = [column for column in classifier.columns if column != "predicted"]
    np.testing.assert_allclose(loud[values], as_it_is[values], rtol=1e-4)


@pytest.mark.parametrize(
    ("samples", "fault"),
    [
        (np.zeros((2, 8_000)), "mono and floating"),
        (np.ones(8_000, np.int16), "mono and floating"),
        (np.zeros(8_000), "silent"),
        (np.full(8_000, np.nan), "NaN or infinite"),
        (np.array([0.1, -0.1]), "too short"),
    ],
)
def test_an_array_that_cannot_be_used_is_named(classifier: Classifier, samples: np.ndarray, fault: str) -> None:
    good = 0.1 * np.sin(np.arange(8_000))
    with pytest.raises(AudioError, match=fault) as caught:
        classifier.predict([good, samples], sample_rate_hz=16_000)
    assert caught.value.where == "input 1"


def test_an_array_needs_its_rate(classifier: Classifier) -> None:
    with pytest.raises(AudioError, match="Samples need their sampling rate"):
        classifier.predict(np.sin(np.arange(8_000.0)))


def test_the_verb_writes_a_table(saved_once: Path, files: list[Path], tmp_path: Path) -> None:
    table = classify_files(saved_once, files, output=tmp_path / "out" / "table.csv", device="cpu")
    written = pd.read_csv(tmp_path / "out" / "table.csv")
    pd.testing.assert_frame_equal(written, table, rtol=1e-12)


def test_the_package_has_it_on_use(saved_once: Path) -> None:
    assert ser_probe.load_classifier is load_classifier
    assert ser_probe.export_onnx is classify.export_onnx
    with pytest.raises(AttributeError, match="has no attribute 'load_clasifier'"):
        ser_probe.load_clasifier  # noqa: B018
    script = "import sys, ser_probe; assert 'torch' not in sys.modules; ser_probe.load_classifier"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_checkpoint_as_onnx(saved_once: Path, files: list[Path], tmp_path: Path, classifier: Classifier) -> None:
    """The exported model, fed what the file's samples are, says what the classifier says of the file."""
    onnxruntime = pytest.importorskip("onnxruntime")
    outcome = export_checkpoint(saved_once, tmp_path / "model.onnx")
    assert outcome.files == (tmp_path / "model.onnx",)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["labels"]) == list(LABELS)
    spec = AudioSpec(**json.loads(facts["audio"]))
    assert spec == SPEC
    samples = load_clip(files[2], spec).samples[None]
    (found,) = session.run(["probabilities"], {"samples": samples})
    np.testing.assert_allclose(found, probabilities(classifier.predict(files[2])), atol=TOLERANCE)
