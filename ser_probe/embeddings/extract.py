"""Extraction: clips -> the pooled embeddings of every layer, of one or several checkpoints, in sealed caches.

One pass decodes each clip once, runs the front end once for all checkpoints that share it, and each encoder once for
all layers and poolings. Only pooled vectors leave the device. The batch plan depends on the clips and the budget
alone and a batch is the unit of work, so a resumed run equals an uninterrupted one bit for bit, and a pass with several
checkpoints, poolings or workers equals separate passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ser_probe.audio import speech
from ser_probe.embeddings.clock import DeviceClock, PassClock
from ser_probe.embeddings.computation import Computation, Encoder
from ser_probe.embeddings.jobs import Job
from ser_probe.embeddings.key import CacheKey, check_key
from ser_probe.embeddings.passes import (
    ClipList,
    Extraction,
    ExtractionSettings,
    measure_speeds,
    note_start,
    open_writers,
    run_batches,
    seal_job,
)
from ser_probe.embeddings.shards import committed
from ser_probe.embeddings.store_header import Layout
from ser_probe.embeddings.verification import verify_job
from ser_probe.errors import CacheError
from ser_probe.models.backbone import LAYER_CONTRACT_VERSION, Backbone
from ser_probe.models.chunks import cut_clip
from ser_probe.models.inputs import InputSpec
from ser_probe.models.pooling import parse_pooling
from ser_probe.runtime import SILENT, Progress, keep_freed_memory


@dataclass(frozen=True)
class CacheRequest:
    """One cache to write: a checkpoint in one pooling.

    Args:
        backbone: The model, on its device; requests for one model share its forward pass.
        path: The cache to write or to complete.
        pooling: The pooling of the frames, a name that `parse_pooling` knows.
        attributes: What to record in the cache: model, checkpoint, step.
    """

    backbone: Backbone
    path: Path
    pooling: str = "mean"
    attributes: dict[str, Any] = field(default_factory=dict)


def embedding_key(backbone: Backbone, settings: ExtractionSettings, pooling: str = "mean") -> CacheKey:
    """Return the key of a backbone's embeddings under these settings."""
    extra: dict[str, Any] = {}
    if settings.chunking is not None:
        extra["long_clips"] = {"chunk_s": settings.chunking.length_s, "overlap_s": settings.chunking.overlap_s}
    if parse_pooling(pooling).speech:
        extra["speech"] = speech.ingredients()
    return CacheKey(
        kind="embeddings",
        weights=backbone.weights_hash(),
        architecture=backbone.architecture(),
        model_input=backbone.input.ingredients(),
        audio=settings.audio.ingredients(),
        pooling=pooling,
        precision=settings.precision,
        storage=settings.storage,
        layer_contract=LAYER_CONTRACT_VERSION,
        extra=extra,
    )


def extract(
    requests: Sequence[CacheRequest], clips: ClipList, settings: ExtractionSettings, *, progress: Progress = SILENT
) -> list[Extraction]:
    """Extract clips with one or several checkpoints and poolings in one pass, and seal their caches.

    Clips that are in a cache or its shards already are not computed again. A clip that cannot be used is logged and
    left out; it is stored as a reject if its content is the reason. A worker with a share of the work seals a cache
    only if all others have done theirs.

    Args:
        requests: The caches to write; checkpoints with the same front end share its computation, and equal ones of one
            path are computed once.
        clips: What to extract.
        settings: How.
        progress: Told of clips.

    Returns:
        One result a request, in order.

    Raises:
        CacheError: If a cache was made from something else, or the disk is full.
        AudioError: If `settings.strict` and a clip cannot be used, or no file can be read.
        BackboneError: If one clip alone does not fit the device's memory, or the model makes nothing finite.
        ConfigError: If the device does not know the precision, or chunks are longer than what a model hears.
    """
    clips = _count_chunks(clips.unique(), requests[0].backbone, settings)
    work = _open_jobs(requests, settings)
    jobs = [job for _, job in work]
    clock = PassClock()
    if requests[0].backbone.device.type == "cpu":
        keep_freed_memory()
    note_start(jobs, clips, settings)
    audio_s = 0.0
    for group in _by_input(work):
        audio_s += _run_pass(group, clips, settings, clock, progress)
    speeds = measure_speeds(jobs, audio_s, clock, _device_memory(requests[0].backbone.device))
    # All caches are sealed before any is verified, so that computed values are safe first.
    ends = [
        seal_job(job, clips, settings, {**job.attributes, **speed}) for job, speed in zip(jobs, speeds, strict=True)
    ]
    results = {}
    for (request, job), speed, end in zip(work, speeds, ends, strict=True):
        error = None if end.n_missing else verify_job(job, request.backbone, clips, settings)
        results[job.path] = Extraction(
            job.path, job.key, len(clips.table), job.n_computed, end.rejects, speed, error, end.n_missing, end.n_others
        )
    return [results[request.path] for request in requests]


def _count_chunks(clips: ClipList, backbone: Backbone, settings: ExtractionSettings) -> ClipList:
    """Return the clips, if they are cut with a column `n_chunks`, which is stored beside the embeddings."""
    chunking = settings.chunking
    if chunking is None:
        return clips
    samples = (clips.table["duration_s"] * backbone.input.sample_rate_hz).round().astype(int)
    cut = clips.table["duration_s"] > chunking.length_s
    counts = [
        len(cut_clip(backbone, n_samples, chunking)) if is_cut else 1
        for n_samples, is_cut in zip(samples, cut, strict=True)
    ]
    return ClipList(clips.table.assign(n_chunks=counts), clips.paths)


def _open_jobs(requests: Sequence[CacheRequest], settings: ExtractionSettings) -> list[tuple[CacheRequest, Job]]:
    """Return each cache to write with its first request; checkpoints of equal weights may share one."""
    opened: dict[Path, tuple[CacheRequest, Job]] = {}
    for request in requests:
        job = _open_job(request, settings)
        if request.path in opened:
            check_key(opened[request.path][1].key, job.key, where=request.path)
        opened.setdefault(request.path, (request, job))
    return list(opened.values())


def _open_job(request: CacheRequest, settings: ExtractionSettings) -> Job:
    backbone, pooling = request.backbone, parse_pooling(request.pooling)
    if backbone.input.sample_rate_hz != settings.audio.sample_rate_hz:
        raise CacheError(
            "The backbone wants another sampling rate than the audio settings make",
            where=backbone.name,
            expected=f"{backbone.input.sample_rate_hz} Hz",
            found=f"{settings.audio.sample_rate_hz} Hz",
            fix=f"set audio.sample_rate_hz to {backbone.input.sample_rate_hz}",
        )
    key = embedding_key(backbone, settings, pooling.name)
    attributes = {
        "model": backbone.name,
        "revision": backbone.revision,
        "pooling": pooling.name,
        "precision": settings.precision,
        "device": _describe(backbone.device),
        "batch_seconds": settings.batch_seconds,
        **request.attributes,
    }
    layout = Layout(backbone.layer_names, pooling.factor * backbone.width, backbone.aliases, ragged=pooling.ragged)
    return Job(request.path, key, layout, committed(request.path, key), attributes)


def _by_input(work: Sequence[tuple[CacheRequest, Job]]) -> list[list[tuple[CacheRequest, Job]]]:
    """Group caches whose models take the same input and frames: those share the decoded clips."""
    groups: list[tuple[tuple[InputSpec, int], list[tuple[CacheRequest, Job]]]] = []
    for request, job in work:
        key = request.backbone.input, request.backbone.samples_per_frame
        for group_key, members in groups:
            if group_key == key:
                members.append((request, job))
                break
        else:
            groups.append((key, [(request, job)]))
    return [members for _, members in groups]


def _run_pass(
    work: Sequence[tuple[CacheRequest, Job]],
    clips: ClipList,
    settings: ExtractionSettings,
    clock: PassClock,
    progress: Progress,
) -> float:
    """Compute the clips that the caches lack; return the seconds of audio."""
    encoders = _by_model(work)
    device = encoders[0].backbone.device
    if device.type == "cuda" and clock.device is None:
        clock.device = DeviceClock()
    jobs = [job for _, job in work]
    computation = Computation(encoders, settings, clock)
    feed = run_batches(
        jobs, clips, settings, computation.clip_work(), clock, progress, state=lambda: _shown_memory(device)
    )
    audio_s = 0.0
    # The contexts are left from right to left: pending results are stored before the shards are committed.
    with open_writers(jobs, settings, clips), closing(feed) as batches, computation:
        for batch, decoded in batches:
            computation.add(batch, decoded.results)
            audio_s += float(batch.duration_s.sum())
    return audio_s


def _device_memory(device: torch.device) -> dict[str, float]:
    """Return the most memory that tensors took on a GPU so far, in MiB; nothing for a CPU."""
    if device.type != "cuda":
        return {}
    return {"device_memory_mib": torch.cuda.max_memory_allocated(device) / 2**20}


def _shown_memory(device: torch.device) -> dict[str, str]:
    mib = _device_memory(device).get("device_memory_mib")
    return {} if mib is None else {"memory": f"{mib / 1024:.1f} GiB"}


def _describe(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def _by_model(work: Sequence[tuple[CacheRequest, Job]]) -> list[Encoder]:
    """Return each model once, with all the caches it fills."""
    encoders: dict[int, Encoder] = {}
    for request, job in work:
        encoder = encoders.setdefault(id(request.backbone), Encoder(request.backbone, []))
        encoder.outputs.append((job, parse_pooling(request.pooling)))
    return list(encoders.values())
