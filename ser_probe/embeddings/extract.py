"""Extraction: clips -> the pooled embedding of every layer, of one or several checkpoints, in sealed caches.

One pass decodes each clip once, runs the convolutional front end once for all checkpoints that share it, and
each encoder once for all layers. Only pooled vectors leave the device. The batch plan depends on the clips and
the budget alone and a batch is the unit of work, so a resumed run equals an uninterrupted one bit for bit, and
several checkpoints in one pass equal as many passes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.embeddings.feed import DecodedBatch, FeedClock
from ser_probe.embeddings.key import CacheKey, check_key
from ser_probe.embeddings.passes import (
    ClipBatch,
    ClipList,
    Extraction,
    ExtractionSettings,
    Job,
    measure_speeds,
    run_batches,
    seal_job,
)
from ser_probe.embeddings.seal import update_attributes
from ser_probe.embeddings.shards import committed
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_file import Layout
from ser_probe.errors import CacheError
from ser_probe.files import fingerprint
from ser_probe.models.backbone import LAYER_CONTRACT_VERSION, Backbone
from ser_probe.models.embedding import pool_layers, pooled_layers
from ser_probe.models.forward import run_front_end
from ser_probe.runtime import SILENT, Progress, derive_seed, logger

VERIFY_TOLERANCE = 1e-5
"""Largest relative difference between a clip in a batch and alone, in fp32, that is rounding and no fault."""


@dataclass(frozen=True)
class Target:
    """One checkpoint to extract.

    Args:
        backbone: The model, on its device.
        path: The cache to write or to complete.
        attributes: What to record of it: model, checkpoint, step.
    """

    backbone: Backbone
    path: Path
    attributes: dict[str, Any] = field(default_factory=dict)


def embedding_key(backbone: Backbone, settings: ExtractionSettings) -> CacheKey:
    """Return the key of a backbone's embeddings under these settings."""
    return CacheKey(
        kind="embeddings",
        weights=backbone.weights_hash(),
        architecture=backbone.architecture(),
        model_input=backbone.input.ingredients(),
        audio=settings.audio.ingredients(),
        pooling=settings.pooling,
        precision="fp32",
        storage=settings.storage,
        layer_contract=LAYER_CONTRACT_VERSION,
    )


def extract(
    targets: Sequence[Target], clips: ClipList, settings: ExtractionSettings, *, progress: Progress = SILENT
) -> list[Extraction]:
    """Extract clips with one or several checkpoints in one pass, and seal their caches.

    What is in a cache or its shards already is not computed again. A clip that cannot be used is logged and left
    out; it is stored as a reject where its content is the reason.

    Args:
        targets: The checkpoints; those with the same front end share its computation, and equal ones of one path
            are computed once.
        clips: What to extract.
        settings: How.
        progress: Told of clips, with audio seconds per second.

    Returns:
        One result a target, in order.

    Raises:
        CacheError: If a cache was made from something else, a value is not finite, or the disk is full.
        AudioError: If `settings.strict` and a clip cannot be used, or no file can be read.
    """
    clips = clips.unique()
    work = _open_jobs(targets, settings)
    backbones, jobs = [target.backbone for target, _ in work], [job for _, job in work]
    clock = FeedClock()
    with exact_float32():
        audio_s = _run_pass(backbones, jobs, clips, settings, clock, progress)
        speeds = measure_speeds(jobs, audio_s, clock)
        # All are sealed before any is verified: what was computed is safe first.
        rejects = [seal_job(job, clips, {**job.attributes, **speed}) for job, speed in zip(jobs, speeds, strict=True)]
        results = {}
        for backbone, job, speed, unused in zip(backbones, jobs, speeds, rejects, strict=True):
            error = _verify(job, backbone, clips, settings)
            results[job.path] = Extraction(job.path, job.key, len(clips.table), job.n_computed, unused, speed, error)
        return [results[target.path] for target in targets]


def _open_jobs(targets: Sequence[Target], settings: ExtractionSettings) -> list[tuple[Target, Job]]:
    """Return each cache to write with its first target; checkpoints of equal weights may share one."""
    opened: dict[Path, tuple[Target, Job]] = {}
    for target in targets:
        job = _open_job(target, settings)
        if target.path in opened:
            check_key(opened[target.path][1].key, job.key, where=target.path)
        opened.setdefault(target.path, (target, job))
    return list(opened.values())


def _open_job(target: Target, settings: ExtractionSettings) -> Job:
    backbone = target.backbone
    if backbone.input.sample_rate_hz != settings.audio.sample_rate_hz:
        raise CacheError(
            "The backbone wants another sampling rate than the audio settings make",
            where=backbone.name,
            expected=f"{backbone.input.sample_rate_hz} Hz",
            found=f"{settings.audio.sample_rate_hz} Hz",
            fix=f"set audio.sample_rate_hz to {backbone.input.sample_rate_hz}",
        )
    key = embedding_key(backbone, settings)
    attributes = {
        "model": backbone.name,
        "revision": backbone.revision,
        "pooling": settings.pooling,
        "device": str(backbone.device),
        **target.attributes,
    }
    layout = Layout(backbone.layer_names, backbone.width, backbone.aliases)
    return Job(target.path, key, layout, committed(target.path, key), attributes)


def _run_pass(
    backbones: Sequence[Backbone],
    jobs: Sequence[Job],
    clips: ClipList,
    settings: ExtractionSettings,
    clock: FeedClock,
    progress: Progress,
) -> float:
    """Compute what the caches lack; return the seconds of audio that went through."""
    groups = _by_front_end(backbones)
    audio_s = 0.0

    def compute(batch: ClipBatch, decoded: DecodedBatch) -> None:
        for members in groups:
            frames = None
            for index in members:
                if not jobs[index].lacking(batch.clip_ids).any():
                    continue
                if frames is None:
                    with torch.inference_mode():
                        frames = run_front_end(backbones[index], decoded.arrays)
                    batch = replace(batch, n_frames=frames.n_frames.cpu().numpy())
                jobs[index].add(batch, pool_layers(backbones[index], frames, settings.pooling))

    work = functools.partial(_load_samples, spec=settings.audio)
    with closing(run_batches(jobs, clips, settings, work, clock, progress)) as batches:
        for batch, decoded in batches:
            if batch.clip_ids:
                compute(batch, decoded)
            audio_s += float(batch.duration_s.sum())
    return audio_s


def _load_samples(path: Path, *, spec: AudioSpec) -> tuple[np.ndarray, tuple[str, ...]]:
    clip = load_clip(path, spec)
    return clip.samples, clip.notes


def _by_front_end(backbones: Sequence[Backbone]) -> list[list[int]]:
    """Group backbones whose front end computes the same, by index."""
    groups: dict[str, list[int]] = {}
    for index, backbone in enumerate(backbones):
        groups.setdefault(fingerprint(backbone.front_end_ingredients()), []).append(index)
    return list(groups.values())


def _verify(job: Job, backbone: Backbone, clips: ClipList, settings: ExtractionSettings) -> float | None:
    """Verify a sealed cache where that is due, and return what is known of its error."""
    with EmbeddingCache.open(job.path) as cache:
        known = cache.attributes.get("verify_error")
    error = None if known is None else float(known)
    if settings.verify and (error is None or job.n_computed):
        error = verify_cache(job.path, backbone, clips, settings)
        update_attributes(job.path, {"verify_error": error, "verify_clips": settings.verify})
    return error


def verify_cache(path: Path, backbone: Backbone, clips: ClipList, settings: ExtractionSettings) -> float:
    """Run random clips again, each alone, and compare them with what the cache holds.

    Args:
        path: A sealed cache.
        backbone: The model it was made with.
        clips: The clips to draw from; those that the cache rejected are left aside.
        settings: As in extraction; `verify` clips are drawn, by the cache's key.

    Returns:
        The largest relative difference ||alone - stored|| / ||alone|| over clips and layers.
    """
    with EmbeddingCache.open(path) as cache, exact_float32():
        stored_ids = set(cache.clip_ids)
        candidates = [row for row, clip_id in enumerate(clips.table["clip_id"]) if clip_id in stored_ids]
        rng = np.random.default_rng(derive_seed("verify", cache.key.digest))
        drawn = rng.choice(candidates, size=min(settings.verify, len(candidates)), replace=False)
        differences = []
        for row in drawn:
            samples = load_clip(clips.paths[row], settings.audio).samples
            alone = pooled_layers(backbone, [samples], settings.pooling)[:, 0].astype(np.float64)
            place = cache.select([clips.table["clip_id"].iloc[row]])[0]
            stored = np.stack([cache.layer(name)[place] for name in cache.layer_names]).astype(np.float64)
            differences.append(np.linalg.norm(alone - stored, axis=1) / np.linalg.norm(alone, axis=1))
    worst = float(np.max(differences, initial=0.0))
    # Half precision rounds each value by up to 2**-11.
    allowed = VERIFY_TOLERANCE if settings.storage == "float32" else VERIFY_TOLERANCE + 2.0**-11
    log = logger.info if worst <= allowed else logger.warning  # NaN is above any tolerance
    log("%s: %d clips alone differ from their batch by at most %.1e (relative)", path.name, len(drawn), worst)
    return worst


@contextmanager
def exact_float32() -> Iterator[None]:
    """Keep CUDA from rounding float32 products to TF32, which costs three decimal digits."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
