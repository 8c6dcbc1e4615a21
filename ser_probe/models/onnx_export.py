"""A classifier as an ONNX model, which other runtimes run without torch. The one door to onnx and its runtime.

The model takes one clip, float32 samples [1, n] of any length from the shortest that makes a frame, and normalises it
where the backbone wants that. Outputs: `logits` and `probabilities` [1, K] of classes, or `values` [1, K] of numeric
targets in their units. Clips go one by one: without padding, nothing has to be masked.

Reading, resampling and loudness are not part of the model; the metadata describe them.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ser_probe.errors import BackboneError
from ser_probe.files import fsync_path
from ser_probe.models.frames import Frames
from ser_probe.models.inputs import NORMALISE_EPS
from ser_probe.output_paths import check_output_file
from ser_probe.packages import import_fault, require

if TYPE_CHECKING:
    from ser_probe.models.heads import SerClassifier

EXTRA = "onnx"

TOLERANCE = 1e-4
"""Largest difference from torch that is accepted, relative to the largest output of the clip. The same sums in another
order reach about 1e-6 in float32 (measured); a length that was taken as a constant costs a thousand times more."""

_EXAMPLE_SAMPLES = 24_011  # not a multiple of any kernel or stride


class _OneClip(nn.Module):
    """Samples [1, n] -> outputs [1, K], as one graph: the classifier without padding, and without numpy."""

    def __init__(self, classifier: SerClassifier) -> None:
        super().__init__()
        self.classifier = classifier
        targets = classifier.targets
        if targets.is_numeric:
            self.register_buffer("offsets", torch.tensor(targets.offsets))
            self.register_buffer("scales", torch.tensor(targets.scales))

    @property
    def output_names(self) -> list[str]:
        """Names of what `forward` returns."""
        return ["values"] if self.classifier.targets.is_numeric else ["logits", "probabilities"]

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        """Return values, or logits and probabilities."""
        backbone = self.classifier.backbone
        if backbone.input.normalise:
            centred = samples - samples.mean(dim=1, keepdim=True)
            samples = centred * torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + NORMALISE_EPS)
        features = backbone.model.feature_extractor(samples).transpose(1, 2)
        outputs = self.classifier(Frames(features, torch.full((1,), features.shape[1])))
        if self.classifier.targets.is_numeric:
            return (outputs * self.scales + self.offsets,)
        return outputs, outputs.softmax(dim=1)


def require_packages() -> Any:
    """Return onnxruntime, once all that the export needs is seen to be there.

    Raises:
        MissingExtraError: If onnx or its runtime is not installed.
    """
    for package in ("onnx", "onnxscript"):
        require(package, extra=EXTRA, purpose="Exporting to ONNX")
    return require("onnxruntime", extra=EXTRA, purpose="Comparing an ONNX model with torch")


def export_onnx(classifier: SerClassifier, path: Path, metadata: Mapping[str, str] | None = None) -> float:
    """Write a classifier as an ONNX model, and compare it with torch on clips of several lengths.

    Weights of more than 2 GB go into a second file beside it, `<name>.data`.

    Args:
        classifier: The classifier, in evaluation mode.
        path: The file to write.
        metadata: Metadata besides labels, targets, sampling rate and shortest clip.

    Returns:
        The largest difference from torch, relative to the largest output of the clip.

    Raises:
        MissingExtraError: If onnx or its runtime is not installed.
        BackboneError: If the classifier cannot be exported, or the exported one computes something else.
        ConfigError: If something that is no file stands at the path.
    """
    check_output_file(path)
    runtime = require_packages()
    module = _OneClip(copy.deepcopy(classifier).cpu().eval())
    with torch.inference_mode(False), torch.no_grad():
        program = _export(module)
    program.model.metadata_props.update(_facts(classifier), **(metadata or {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        # Under its final name, because the file holds the name of a second file with the weights, if there is one.
        written = Path(folder) / path.name
        program.save(written)
        difference = _compare(module, runtime.InferenceSession(written, providers=["CPUExecutionProvider"]))
        for file in sorted(Path(folder).iterdir(), reverse=True):  # `<name>.data` before `<name>`
            fsync_path(file)
            os.replace(file, path.parent / file.name)
    fsync_path(path.parent)
    return difference


def _export(module: _OneClip) -> Any:
    """Return the ONNX program of a module."""
    backbone = module.classifier.backbone
    samples = torch.from_numpy(_test_clip(_EXAMPLE_SAMPLES))[None]
    try:
        with _silent():
            return torch.onnx.export(
                module,
                (samples,),
                input_names=["samples"],
                output_names=module.output_names,
                dynamic_shapes={"samples": {1: torch.export.Dim.DYNAMIC}},
                verbose=False,
            )
    except Exception as error:  # the exporter lets through whatever its parts raise
        if fault := import_fault(error):
            raise fault from error
        raise BackboneError(
            f"A classifier on a {backbone.family} model with this head cannot be exported to ONNX",
            where=backbone.name,
            found=next((line for line in str(error).splitlines() if line.strip()), type(error).__name__),
        ) from error


def _facts(classifier: SerClassifier) -> dict[str, str]:
    """Return the metadata of the file."""
    backbone = classifier.backbone
    return {
        "labels": json.dumps(list(classifier.targets.names), ensure_ascii=False),
        "targets": json.dumps(classifier.targets.as_json(), ensure_ascii=False),
        "sample_rate_hz": str(backbone.input.sample_rate_hz),
        "min_samples": str(backbone.min_samples),
    }


def _compare(module: _OneClip, session: Any) -> float:
    """Return the largest relative difference of the exported model's outputs from the classifier's, on the same clips.

    Raises:
        BackboneError: If it is not small.
    """
    classifier, worst, longest_off = module.classifier, 0.0, 0
    for n_samples in (classifier.backbone.min_samples, 1_000, 7_777, _EXAMPLE_SAMPLES, 50_000):
        clip = _test_clip(n_samples)
        exported_outputs = session.run(None, {"samples": clip[None]})
        with torch.inference_mode():
            outputs = classifier([clip])
        if classifier.targets.is_numeric:
            pairs = [(classifier.targets.standardise(exported_outputs[0]), outputs)]
        else:
            pairs = list(zip(exported_outputs, (outputs, outputs.softmax(dim=1)), strict=True))
        difference = max(_relative(exported, expected.numpy()) for exported, expected in pairs)
        if not difference <= worst:  # also where it is nan
            worst, longest_off = difference, n_samples
    if not worst <= TOLERANCE:
        raise BackboneError(
            "The exported model does not compute what the classifier does",
            where=classifier.backbone.name,
            expected=f"outputs that differ by less than {TOLERANCE:g}, relative",
            found=f"{worst:.1e} on a clip of {longest_off} samples",
        )
    return worst


def _relative(actual: np.ndarray, expected: np.ndarray) -> float:
    largest = max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
    return float(np.abs(actual - expected).max()) / largest


def _test_clip(n_samples: int) -> np.ndarray:
    """Return noise that is not centred, under a slow envelope, float32 [n]."""
    envelope = 0.2 + 0.1 * np.sin(np.arange(n_samples) / 1_500)
    noise = np.random.default_rng(n_samples).standard_normal(n_samples)
    return (envelope * noise + 0.02).astype(np.float32)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silence the exporter's internal messages."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
