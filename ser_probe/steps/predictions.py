"""A classifier run over clips: decoded as in its training, in batches of similar length, each clip as if alone."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ser_probe.audio.load import AudioSpec
from ser_probe.embeddings.clock import PassClock
from ser_probe.embeddings.computation import ClipInput, load_input
from ser_probe.embeddings.feed import DecodedBatch, Reject, choose_workers, feed_batches
from ser_probe.embeddings.memory import MemoryGuard, choose_budget, clip_room
from ser_probe.embeddings.passes import ClipList, report_notes
from ser_probe.embeddings.plan import plan_batches
from ser_probe.errors import BackboneError
from ser_probe.models.backbone import Backbone
from ser_probe.models.embedding import evaluating
from ser_probe.models.forward import run_prepared
from ser_probe.models.heads import SerClassifier
from ser_probe.models.packing import packed
from ser_probe.models.precision import arithmetic
from ser_probe.models.targets import Targets
from ser_probe.runtime import SILENT, Progress, logger


@dataclass(frozen=True)
class PredictionSettings:
    """How to run a classifier.

    Args:
        precision: Arithmetic, one of `models.precision.PRECISIONS`.
        batch_seconds: Padded seconds a batch may hold; None: by the device.
        max_clips: Largest number of clips in a batch; None for no limit.
        workers: Processes that decode ahead; None: by the device.
        strict: Whether the first clip that cannot be used stops everything.
    """

    precision: str = "fp32"
    batch_seconds: float | None = None
    max_clips: int | None = None
    workers: int | None = None
    strict: bool = False


@dataclass(frozen=True, eq=False)
class ClipOutputs:
    """What a classifier says of clips.

    Attributes:
        values: Probabilities of the classes, or values of the numeric targets in their units, float64 [N, K]; NaN for
            a clip that could not be decoded.
        rejects: Those clips.
    """

    values: np.ndarray
    rejects: list[Reject]


def predict_clips(
    classifier: SerClassifier,
    clips: ClipList,
    audio: AudioSpec,
    settings: PredictionSettings | None = None,
    *,
    what: str = "evaluate",
    progress: Progress = SILENT,
) -> ClipOutputs:
    """Return what a classifier says of each clip.

    Args:
        classifier: In evaluation mode, on the device to run it on.
        clips: Checked clips: `clip_id`, `path` and `duration_s`.
        audio: How a clip becomes samples.
        settings: How to run.
        what: What the work is called.
        progress: Told of clips.

    Raises:
        AudioError: If `settings.strict` and a clip cannot be used.
        BackboneError: If one clip alone does not fit the device's memory.
    """
    settings = settings or PredictionSettings()
    backbone, device = classifier.backbone, classifier.backbone.device
    ids, durations_s = clips.table["clip_id"].tolist(), clips.table["duration_s"].to_numpy(np.float64)
    budget_s = choose_budget(device) if settings.batch_seconds is None else settings.batch_seconds
    plan = [
        (number, rows.tolist())
        for number, rows in enumerate(plan_batches(durations_s, ids, budget_s=budget_s, max_clips=settings.max_clips))
    ]
    work = functools.partial(
        load_input,
        audio=audio,
        model_input=backbone.input,
        shortest=backbone.min_samples,
        cut_over=None,
        speech=None,
        room=clip_room([backbone]),
    )
    workers = choose_workers(device) if settings.workers is None else settings.workers
    outputs = np.full((len(ids), len(classifier.targets.names)), np.nan)
    rejects: list[Reject] = []
    notes: list[tuple[int, str]] = []
    guard = MemoryGuard()
    progress.start(what, len(ids), "clips")
    # Half precision has kernels of its own.
    to_pack = [backbone] if settings.precision == "fp32" else []
    with arithmetic(settings.precision, device), evaluating([backbone]), packed(to_pack):
        for decoded in feed_batches(clips.paths, ids, plan, work, workers=workers, clock=PassClock()):
            rejects += _note_rejects(decoded, settings.strict)
            notes += decoded.notes
            items = list(zip(decoded.rows, decoded.results, strict=True))
            for part, values in guard.run(
                items, lambda item: float(durations_s[item[0]]), functools.partial(_forward, classifier)
            ):
                outputs[[row for row, _ in part]] = values
            progress.advance(len(decoded.rows) + len(decoded.rejects))
    progress.finish()
    report_notes(notes, clips)
    values = read_outputs(outputs, classifier.targets)
    left_out = {reject.row for reject in rejects}
    refuse_non_finite_outputs(values, [row for row in range(len(ids)) if row not in left_out], clips.paths, backbone)
    return ClipOutputs(values, rejects)


def refuse_non_finite_outputs(
    values: np.ndarray, rows: Iterable[int], inputs: Sequence[object], backbone: Backbone
) -> None:
    """Raise where a classifier says NaN or infinity of an input.

    Args:
        values: What it says, [N, K].
        rows: The inputs that it was asked about.
        inputs: What to call the inputs, N.
        backbone: Its backbone.

    Raises:
        BackboneError: For the first such input.
    """
    bad = [row for row in rows if not np.isfinite(values[row]).all()]
    if bad:
        more = f"; so for {len(bad) - 1} more" if len(bad) > 1 else ""
        raise BackboneError(
            "The classifier's answer is not a number",
            where=inputs[bad[0]],
            expected="finite values",
            found=f"{', '.join(str(float(value)) for value in values[bad[0]])}{more}, from {backbone.name}",
            fix="its weights have diverged, or half precision overflows: use another checkpoint, or fp32",
        )


def read_outputs(outputs: np.ndarray, targets: Targets) -> np.ndarray:
    """Return a head's outputs as what they stand for, float64 [N, K]: probabilities, or values in their units."""
    if targets.is_numeric:
        return targets.restore(outputs)
    with np.errstate(invalid="ignore"):  # refused by who knows the clip
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _forward(classifier: SerClassifier, items: Sequence[tuple[int, ClipInput]]) -> np.ndarray:
    frames = run_prepared(classifier.backbone, [clip.prepared for _, clip in items])
    outputs: torch.Tensor = classifier(frames)
    return outputs.double().cpu().numpy()


def _note_rejects(decoded: DecodedBatch, strict: bool) -> list[Reject]:
    for reject in decoded.rejects:
        if strict:
            raise reject.error
        logger.warning("left out: %s", str(reject.error).replace("\n", "; "))
    return decoded.rejects
