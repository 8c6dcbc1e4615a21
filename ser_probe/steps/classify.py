"""The verbs `classify` and `export-onnx`: a trained classifier at work on files and arrays, here or elsewhere.

As a library: `ser_probe.load_classifier("runs/x").predict(["a.wav", "b.wav"])`.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.embeddings.memory import choose_budget, clip_room
from ser_probe.embeddings.plan import plan_batches
from ser_probe.errors import AudioError, CheckpointError
from ser_probe.models import checkpoint, onnx_export
from ser_probe.models.heads import SerClassifier
from ser_probe.models.precision import arithmetic
from ser_probe.runtime import SILENT, Progress, logger, pick_device
from ser_probe.steps.evaluation_tables import prediction, probability
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.predictions import read_outputs, refuse_non_finite_outputs
from ser_probe.steps.study.preflight import check_packages
from ser_probe.steps.tables import write_csv
from ser_probe.steps.trained_runs import AUDIO_FILE, find_runs, read_audio, untrained_remarks

_CLIPS_AT_ONCE = 512
"""Clips that are decoded before they are run, longest first: 512 clips of 4 s at 16 kHz are 130 MB."""

Input = str | Path | np.ndarray


class Classifier:
    """A trained classifier, which prepares clips as in its training. Made by `load_classifier`.

    Args:
        model: The classifier, in evaluation mode.
        audio: How clips are prepared.
        folder: The checkpoint it was read from.
    """

    def __init__(self, model: SerClassifier, audio: AudioSpec, folder: Path) -> None:
        self.model, self.audio, self.folder = model, audio, folder

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, or names of the numeric targets, in the order of the outputs."""
        return self.model.targets.names

    @property
    def columns(self) -> list[str]:
        """Columns of a prediction, as in the tables of an evaluation: the predicted class and the probability of each,
        or a column a numeric target, in its unit."""
        if self.model.targets.is_numeric:
            return [prediction(name) for name in self.names]
        return ["predicted", *map(probability, self.names)]

    def predict(
        self, inputs: Input | Sequence[Input], *, sample_rate_hz: int | None = None, progress: Progress = SILENT
    ) -> pd.DataFrame:
        """Predict one clip or many. The prediction for a clip does not depend on the others.

        Args:
            inputs: An audio file, mono samples (floating, shape [n], full scale at 1), or a sequence of either.
            sample_rate_hz: Sampling rate of the arrays among them, in Hz.
            progress: Told of each clip.

        Returns:
            One row an input, in their order: `path` (missing for an array), `duration_s`, and `columns`.

        Raises:
            AudioError: If an input cannot be decoded or used, or is too long for the memory; it says which.
            BackboneError: If a clip makes no frame.
        """
        listed = [inputs] if isinstance(inputs, Input) else list(inputs)
        progress.start("classify", len(listed), "clips")
        parts = [
            self._predict_part(listed[start : start + _CLIPS_AT_ONCE], start, sample_rate_hz, progress)
            for start in range(0, len(listed), _CLIPS_AT_ONCE)
        ]
        progress.finish()
        columns = ["path", "duration_s", *self.columns]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def _predict_part(
        self, inputs: Sequence[Input], start: int, sample_rate_hz: int | None, progress: Progress
    ) -> pd.DataFrame:
        """Predict some inputs; `start` is the number of the first."""
        clips = [
            _load_array(source, sample_rate_hz, self.audio, where=f"input {start + index}")
            if isinstance(source, np.ndarray)
            else _load_file(Path(source), self.audio)
            for index, source in enumerate(inputs)
        ]
        room = clip_room([self.model.backbone])
        for index, (source, clip) in enumerate(zip(inputs, clips, strict=True)):
            room.check(f"input {start + index}" if isinstance(source, np.ndarray) else source, len(clip))
        durations_s = [len(clip) / self.audio.sample_rate_hz for clip in clips]
        outputs = np.empty((len(clips), len(self.names)))
        for rows, values in self._run(clips, durations_s):
            outputs[rows] = values
            progress.advance(len(rows))
        paths = [None if isinstance(source, np.ndarray) else str(source) for source in inputs]
        values = read_outputs(outputs, self.model.targets)
        named = [path or f"input {start + index}" for index, path in enumerate(paths)]
        refuse_non_finite_outputs(values, range(len(clips)), named, self.model.backbone)
        return pd.DataFrame({"path": paths, "duration_s": durations_s, **self._predictions(values)})

    def _run(self, clips: Sequence[np.ndarray], durations_s: list[float]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield rows and their outputs [B, K], in batches of clips of similar length."""
        device = self.model.backbone.device
        order = [f"{row:09d}" for row in range(len(clips))]
        with arithmetic("fp32", device), torch.inference_mode():
            for rows in plan_batches(durations_s, order, budget_s=choose_budget(device)):
                yield rows, self.model([clips[row] for row in rows]).double().cpu().numpy()

    def _predictions(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns of probabilities or targets [N, K]."""
        if self.model.targets.is_numeric:
            return dict(zip(self.columns, values.T, strict=True))
        predicted = np.array(self.names, dtype=object)[values.argmax(axis=1)]
        return dict(zip(self.columns, [predicted, *values.T], strict=True))


def load_classifier(path: str | Path, *, device: str = "auto") -> Classifier:
    """Load a fine-tuned classifier.

    Args:
        path: A checkpoint, or the folder of a run: of that the best checkpoint is taken.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        CheckpointError: If there is no checkpoint, or it is incomplete.
        BackboneError: If the backbone's weights are incomplete.
        SerProbeError: If the device does not exist.
    """
    folder = _find_checkpoint(Path(path))
    model = checkpoint.load_classifier(folder, device=pick_device(device))
    audio = read_audio(folder) or _without_preparation(folder, model.backbone.input.sample_rate_hz)
    return Classifier(model, audio, folder)


def export_onnx(classifier: Classifier, path: str | Path) -> float:
    """Write a classifier as an ONNX model, compared with torch; see `ser_probe.models.onnx_export`.

    Args:
        classifier: The classifier.
        path: The file to write.

    Returns:
        The largest difference from torch, relative to the largest output of the clip.

    Raises:
        MissingExtraError: If onnx or its runtime is not installed.
        BackboneError: If the classifier cannot be exported.
    """
    audio = json.dumps(dataclasses.asdict(classifier.audio))
    return onnx_export.export_onnx(classifier.model, Path(path), {"audio": audio})


def classify_files(
    path: Path, files: Sequence[Path], *, output: Path | None = None, device: str = "auto", progress: Progress = SILENT
) -> pd.DataFrame:
    """Predict audio files: the whole verb `classify`.

    Args:
        path: A checkpoint, or the folder of a run.
        files: The files.
        output: CSV file to write the table to.
        device: Where to run.
        progress: Told of each clip.
    """
    check_packages(None, ("classify",))
    # Checked first, before a model is loaded and hundreds of files are decoded.
    missing = [str(file) for file in files if not file.expanduser().is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more do not)" if len(missing) > 1 else ""
        raise AudioError(f"The clip does not exist{more}", where=missing[0])
    table = load_classifier(path, device=device).predict(list(files), progress=progress)
    if output is not None:
        write_csv(table, output)
    return table


def export_checkpoint(path: Path, output: Path) -> Outcome:
    """Write a checkpoint as an ONNX model: the whole verb `export-onnx`.

    Args:
        path: A checkpoint, or the folder of a run.
        output: The file to write.
    """
    onnx_export.require_packages()
    classifier = load_classifier(path, device="cpu")
    difference = export_onnx(classifier, output)
    backbone = classifier.model.backbone
    facts: dict[str, object] = {
        "checkpoint": classifier.folder,
        "input": f"samples [1, n] at {backbone.input.sample_rate_hz} Hz, n >= {backbone.min_samples}",
        "outputs": ", ".join(classifier.names),
        "largest relative difference from torch": f"{difference:.1e}",
    }
    return Outcome((output,), facts)


def _find_checkpoint(path: Path) -> Path:
    """Return the one checkpoint that a path means."""
    runs, _ = find_runs(path)
    if len(runs) > 1:
        raise CheckpointError(
            "The folder holds runs of several seeds, and a classifier is one",
            where=path,
            found=", ".join(str(run.checkpoint) for run in runs),
            fix=f"name one of them, such as {runs[0].checkpoint}",
        )
    for remark in untrained_remarks(runs):
        logger.warning("%s", remark)
    return runs[0].checkpoint


def _without_preparation(folder: Path, sample_rate_hz: int) -> AudioSpec:
    logger.warning("%s has no %s: clips are heard as they are, resampled to %d Hz", folder, AUDIO_FILE, sample_rate_hz)
    return AudioSpec(sample_rate_hz)


def _load_file(path: Path, spec: AudioSpec) -> np.ndarray:
    clip = load_clip(path, spec)
    for note in clip.notes:
        logger.warning("%s: %s", path, note)
    return clip.samples


def _load_array(samples: np.ndarray, sample_rate_hz: int | None, spec: AudioSpec, *, where: str) -> np.ndarray:
    """Return samples [n] prepared like a file, by writing them to one, so that the two ways cannot differ."""
    from scipy.io import wavfile

    if sample_rate_hz is None:
        raise AudioError("Samples need their sampling rate", where=where, fix="predict(samples, sample_rate_hz=16000)")
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(
            "Samples must be mono and floating, with full scale at 1",
            where=where,
            expected="shape [n], float32 or float64",
            found=f"shape {list(samples.shape)}, {samples.dtype}",
            fix="take the mean over channels, and divide int16 samples by 32768",
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        wavfile.write(path, int(sample_rate_hz), samples.astype(np.float64))
        try:
            return load_clip(path, spec).samples
        except AudioError as error:
            error.where = where
            raise
