"""Runs a classifier over clips: decoded as in its training, in batches of similar length, each clip as if alone."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from ser_probe.audio.load import AudioSpec
from ser_probe.embeddings.clock import PassClock
from ser_probe.embeddings.computation import ClipInput, load_input
from ser_probe.embeddings.feed import DecodedBatch, Reject, choose_workers, feed_batches
from ser_probe.embeddings.jobs import FIRST_BATCHES, FIRST_CLIPS
from ser_probe.embeddings.memory import MemoryGuard, choose_budget, clip_room
from ser_probe.embeddings.passes import ClipList, report_notes
from ser_probe.embeddings.plan import plan_batches
from ser_probe.errors import AudioError, BackboneError, SerProbeError
from ser_probe.models.backbone import Backbone
from ser_probe.models.embedding import evaluating
from ser_probe.models.forward import run_prepared
from ser_probe.models.heads import SerClassifier
from ser_probe.models.packing import packed
from ser_probe.models.precision import arithmetic
from ser_probe.models.targets import Targets
from ser_probe.runtime import SILENT, Progress, logger

Error = TypeVar("Error", bound=SerProbeError)


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
    """The outputs of a classifier for clips.

    Attributes:
        values: Probabilities of the classes, or values of the numeric targets in their units, float64 [N, K]; NaN for
            a clip that could not be used.
        rejects: Clips that could not be used, and clips whose output is not finite.
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
    """Return the outputs of a classifier for each clip.

    Args:
        classifier: In evaluation mode, on the device to run it on.
        clips: Checked clips: `clip_id`, `path` and `duration_s`.
        audio: How a clip becomes samples.
        settings: How to run.
        what: Name of the work.
        progress: Told of clips.

    Raises:
        AudioError: If `settings.strict` and a clip cannot be used.
        BackboneError: If one clip alone does not fit the device's memory, or the answer to none of the first clips is
            finite.
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
    unanswered: list[Reject] = []
    asked: list[int] = []
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
                rows = [row for row, _ in part]
                outputs[rows] = values
                asked += rows
                unanswered += _note_unanswered(rows, values, clips, backbone, settings.strict)
            if decoded.number + 1 >= FIRST_BATCHES and len(asked) >= FIRST_CLIPS and len(unanswered) == len(asked):
                break  # the classifier is at fault: the rest would take hours and fail as well
            progress.advance(len(decoded.rows) + len(decoded.rejects))
    progress.finish()
    report_notes(notes, clips)
    values = read_outputs(outputs, classifier.targets)
    if len(unanswered) == len(asked):
        refuse_non_finite_outputs(values, asked, clips.paths, backbone)
    values[[reject.row for reject in unanswered]] = np.nan  # one infinite number of several: no answer
    return ClipOutputs(values, [*rejects, *unanswered])


def refuse_non_finite_outputs(
    values: np.ndarray, rows: Iterable[int], inputs: Sequence[object], backbone: Backbone
) -> None:
    """Raise if a classifier's output for an input is NaN or infinite.

    Args:
        values: The outputs, [N, K].
        rows: The rows that were computed.
        inputs: Names of the inputs, N.
        backbone: Its backbone.

    Raises:
        BackboneError: For the first such input.
    """
    bad = [row for row in rows if not np.isfinite(values[row]).all()]
    if bad:
        more = f"; so for {len(bad) - 1} more" if len(bad) > 1 else ""
        raise _no_answer(BackboneError, values[bad[0]], inputs[bad[0]], backbone, more)


def _no_answer(kind: type[Error], values: np.ndarray, where: object, backbone: Backbone, more: str = "") -> Error:
    return kind(
        "The classifier's answer is not a number",
        where=where,
        expected="finite values",
        found=f"{', '.join(str(float(value)) for value in values)}{more}, from {backbone.name}",
        fix="use another checkpoint, or fp32: its weights have diverged, the clip is extreme, or fp16 overflows",
    )


def read_outputs(outputs: np.ndarray, targets: Targets) -> np.ndarray:
    """Return a head's outputs as probabilities, or as values in their units, float64 [N, K]."""
    if targets.is_numeric:
        return targets.restore(outputs)
    with np.errstate(invalid="ignore"):  # the caller, which knows the clip, refuses such values
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _forward(classifier: SerClassifier, items: Sequence[tuple[int, ClipInput]]) -> np.ndarray:
    frames = run_prepared(classifier.backbone, [clip.prepared for _, clip in items])
    outputs: torch.Tensor = classifier(frames)
    return outputs.double().cpu().numpy()


def _note_unanswered(
    rows: Sequence[int], values: np.ndarray, clips: ClipList, backbone: Backbone, strict: bool
) -> list[Reject]:
    """Return the clips whose output is not finite; with `strict`, raise for the first of them."""
    rejects = []
    for row, answer in zip(rows, values, strict=True):
        if not np.isfinite(answer).all():
            error = _no_answer(AudioError, answer, clips.paths[row], backbone)
            if strict:
                raise error
            logger.warning("left out: %s", str(error).replace("\n", "; "))
            rejects.append(Reject(row, error, lasting=False))
    return rejects


def _note_rejects(decoded: DecodedBatch, strict: bool) -> list[Reject]:
    for reject in decoded.rejects:
        if strict:
            raise reject.error
        logger.warning("left out: %s", str(reject.error).replace("\n", "; "))
    return decoded.rejects
