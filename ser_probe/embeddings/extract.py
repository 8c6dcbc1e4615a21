"""Extraction: clips -> the pooled embedding of every layer, of one or several checkpoints, in sealed caches.

One pass decodes each clip once, runs the convolutional front end once for all checkpoints that share it, and
each encoder once for all layers. Only pooled vectors leave the device. The batch plan depends on the clips and
the budget alone and a batch is the unit of work, so a resumed run equals an uninterrupted one bit for bit, and
several checkpoints in one pass equal as many passes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.embeddings.feed import DecodedBatch, FeedClock
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.passes import (
    ClipBatch,
    ClipList,
    Extraction,
    ExtractionSettings,
    Job,
    measure_speeds,
    run_batches,
    stored_rejects,
)
from ser_probe.embeddings.seal import seal, update_attributes
from ser_probe.embeddings.shards import committed
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_file import Layout
from ser_probe.errors import CacheError
from ser_probe.models.backbone import LAYER_CONTRACT_VERSION, Backbone
from ser_probe.models.forward import pool_layers, pooled_layers, run_front_end
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
        model_input={"sample_rate_hz": backbone.input.sample_rate_hz, "normalise": backbone.input.normalise},
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

    What is in a cache or its shards already is not computed again. A clip that cannot be decoded is logged,
    stored as a reject and left out.

    Args:
        targets: The checkpoints; those with the same front end share its computation.
        clips: What to extract.
        settings: How.
        progress: Told of clips, with audio seconds per second.

    Returns:
        One result a target, in order.

    Raises:
        CacheError: If a cache was made from something else, a value is not finite, or the disk is full.
        AudioError: If `settings.strict` and a clip cannot be used.
    """
    clips = clips.unique()
    jobs = [_open_job(target, settings) for target in targets]
    clock = FeedClock()
    with exact_float32():
        audio_s = _run_pass(targets, jobs, clips, settings, clock, progress)
        speeds = measure_speeds(jobs, audio_s, clock)
        for job, speed in zip(jobs, speeds, strict=True):
            seal(job.path, job.key, clips.table, {**job.attributes, **speed})
        return [
            _finish(target, job, clips, settings, speed)
            for target, job, speed in zip(targets, jobs, speeds, strict=True)
        ]


def _open_job(target: Target, settings: ExtractionSettings) -> Job:
    backbone = target.backbone
    if backbone.input.sample_rate_hz != settings.audio.sample_rate_hz:
        raise CacheError(
            "The backbone wants another sampling rate than the audio settings make",
            where=backbone.name,
            expected=f"{backbone.input.sample_rate_hz} Hz",
            found=f"{settings.audio.sample_rate_hz} Hz",
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
    targets: Sequence[Target],
    jobs: Sequence[Job],
    clips: ClipList,
    settings: ExtractionSettings,
    clock: FeedClock,
    progress: Progress,
) -> float:
    """Compute what the caches lack; return the seconds of audio that went through."""
    groups = _by_front_end([target.backbone for target in targets])
    audio_s = 0.0

    def compute(batch: ClipBatch, decoded: DecodedBatch) -> None:
        for members in groups:
            frames = None
            for index in members:
                if not jobs[index].lacking(batch.clip_ids).any():
                    continue
                backbone = targets[index].backbone
                if frames is None:
                    with torch.inference_mode():
                        frames = run_front_end(backbone, decoded.arrays)
                jobs[index].add(batch, pool_layers(backbone, frames, settings.pooling))

    work = functools.partial(_load_samples, spec=settings.audio)
    for batch, decoded in run_batches(jobs, clips, settings, work, clock, progress):
        if batch.clip_ids:
            frame_counts = targets[0].backbone.frame_counts([len(samples) for samples in decoded.arrays])
            batch = ClipBatch(batch.clip_ids, frame_counts, batch.duration_s)
            compute(batch, decoded)
        audio_s += float(batch.duration_s.sum())
    return audio_s


def _load_samples(path: Path, *, spec: AudioSpec) -> tuple[np.ndarray, tuple[str, ...]]:
    clip = load_clip(path, spec)
    return clip.samples, clip.notes


def _by_front_end(backbones: Sequence[Backbone]) -> list[list[int]]:
    """Group backbones whose front end computes the same, by index."""
    groups: dict[tuple[str, bool], list[int]] = {}
    for index, backbone in enumerate(backbones):
        groups.setdefault((backbone.front_end_hash(), backbone.input.normalise), []).append(index)
    return list(groups.values())


def _finish(
    target: Target, job: Job, clips: ClipList, settings: ExtractionSettings, speed: dict[str, float]
) -> Extraction:
    rejects = stored_rejects(job.path, job.key, clips)
    with EmbeddingCache.open(job.path) as cache:
        known = cache.attributes.get("verify_error")
    error = None if known is None else float(known)
    if settings.verify and (error is None or job.n_computed):
        error = verify_cache(job.path, target.backbone, clips, settings)
        update_attributes(job.path, {"verify_error": error, "verify_clips": settings.verify})
    return Extraction(job.path, job.key, len(clips.table), job.n_computed, rejects, speed, error)


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
        worst = 0.0
        for row in drawn:
            samples = load_clip(clips.paths[row], settings.audio).samples
            alone = pooled_layers(backbone, [samples], settings.pooling)[:, 0].astype(np.float64)
            place = cache.select([clips.table["clip_id"].iloc[row]])[0]
            stored = np.stack([cache.layer(name)[place] for name in cache.layer_names]).astype(np.float64)
            difference = np.linalg.norm(alone - stored, axis=1) / np.linalg.norm(alone, axis=1)
            worst = max(worst, float(difference.max()))
    # Half precision rounds each value by up to 2**-11.
    allowed = VERIFY_TOLERANCE if settings.storage == "float32" else VERIFY_TOLERANCE + 2.0**-11
    log = logger.warning if worst > allowed else logger.info
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
