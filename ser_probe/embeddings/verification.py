"""Checks that batching changed nothing: random clips computed again alone, in exact float32 by torch's kernels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from ser_probe.embeddings.computation import load_input, pad_speech, speech_or_all
from ser_probe.embeddings.jobs import Job
from ser_probe.embeddings.passes import ClipList, ExtractionSettings
from ser_probe.embeddings.seal import update_attributes
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.files import content_id
from ser_probe.models.backbone import Backbone
from ser_probe.models.chunks import Chunk, cut_clip
from ser_probe.models.embedding import evaluating, pool_chunks, pool_layers
from ser_probe.models.forward import run_prepared
from ser_probe.models.pooling import Pooling, parse_pooling
from ser_probe.models.precision import arithmetic
from ser_probe.runtime import derive_seed, logger

VERIFY_TOLERANCE = 1e-5
"""Largest relative difference between a clip in a batch and alone, in fp32, that is rounding and no fault."""

# What a faster arithmetic may cost before it is worth a warning: some times the rounding of one product's factors.
_TOLERANCES = {"fp32": VERIFY_TOLERANCE, "tf32": 5e-3, "bf16": 5e-2, "fp16": 5e-3}
# Half precision rounds each stored value by up to that much.
_STORAGE_ROUNDING = {"float32": 0.0, "float16": 2.0**-11}


def verify_job(job: Job, backbone: Backbone, clips: ClipList, settings: ExtractionSettings) -> float | None:
    """Verify a sealed cache if needed, and return its error."""
    with EmbeddingCache.open(job.path) as cache:
        recorded = cache.attributes.get("verify_error")
    error = None if recorded is None else float(recorded)
    if settings.verify and (error is None or job.n_computed):
        error = verify_cache(job.path, backbone, clips, settings)
        update_attributes(job.path, {"verify_error": error, "verify_clips": settings.verify})
    return error


def verify_cache(path: Path, backbone: Backbone, clips: ClipList, settings: ExtractionSettings) -> float:
    """Run random clips again, each alone and in fp32, and compare them with what the cache holds.

    In fp32 that measures what batching changed, in another precision also what that costs.

    Args:
        path: A sealed cache.
        backbone: The model it was made with.
        clips: The clips to draw from; those that the cache rejected, or whose file is another now, are left aside.
        settings: As in extraction; `verify` clips are drawn, by the cache's key.

    Returns:
        The largest relative difference ||alone - stored|| / ||alone|| over clips and layers.
    """
    with EmbeddingCache.open(path) as cache:
        pooling = parse_pooling(cache.key.pooling)
        stored_ids = set(cache.clip_ids)
        candidates = [row for row, clip_id in enumerate(clips.table["clip_id"]) if clip_id in stored_ids]
        rng = np.random.default_rng(derive_seed("verify", cache.key.digest))
        shuffled = (int(row) for row in rng.permutation(candidates))
        # Files that were changed or removed since cannot be compared with stored values.
        present = (row for row in shuffled if _is_the_clip(clips.paths[row], clips.table["clip_id"].iloc[row]))
        drawn = list(itertools.islice(present, settings.verify))
        differences = [0.0]
        for row in drawn:
            alone = embed_alone(backbone, clips.paths[row], pooling, settings).astype(np.float64)
            stored = _read_clip(cache, clips.table["clip_id"].iloc[row])
            # One number a layer, over all frames where there are several.
            norm = np.linalg.norm(alone, axis=(1, 2))
            difference = np.linalg.norm(alone - stored, axis=(1, 2))
            # A layer of zeros (the deviation of a single frame) has no relative error; it must stay zero.
            differences.append(float(np.max(difference / np.where(norm > 0, norm, 1.0))))
    worst = float(np.max(differences))
    allowed = allowed_difference(settings)
    log = logger.info if worst <= allowed else logger.warning  # NaN is above any tolerance
    log("%s: %d clips alone, in fp32, differ from what is stored by at most %.1e", path.name, len(drawn), worst)
    return worst


def allowed_difference(settings: ExtractionSettings) -> float:
    """Return the largest relative difference that rounding explains in this precision and storage."""
    return _TOLERANCES[settings.precision] + _STORAGE_ROUNDING[settings.storage]


def _is_the_clip(path: Path, clip_id: str) -> bool:
    return path.is_file() and content_id(path) == clip_id


def _read_clip(cache: EmbeddingCache, clip_id: str) -> np.ndarray:
    """Return what a cache holds of a clip, float64 of shape [L, 1 or T, D]."""
    if cache.ragged:
        return np.stack([cache.frames(name, clip_id) for name in cache.layer_names]).astype(np.float64)
    place = cache.positions([clip_id])
    return np.asarray(cache.array[:, place], dtype=np.float64)


def embed_alone(backbone: Backbone, path: Path, pooling: Pooling, settings: ExtractionSettings) -> np.ndarray:
    """Return the embedding of one clip that nothing else is run with, in fp32, by torch's own kernels.

    Returns:
        float32 of shape [L, 1, D'], of a ragged pooling [L, T, D].
    """
    chunking = settings.chunking
    rate_hz = backbone.input.sample_rate_hz
    clip, _ = load_input(
        path,
        audio=settings.audio,
        model_input=backbone.input,
        shortest=backbone.min_samples,
        cut_over=None if chunking is None else int(chunking.length_s * rate_hz),
        speech=backbone.samples_per_frame if pooling.speech else None,
    )
    n_frames = backbone.frame_counts([clip.n_samples])
    with evaluating([backbone]), arithmetic("fp32", backbone.device):
        if clip.is_long and chunking is not None:
            chunks = cut_clip(backbone, clip.n_samples, chunking)
            speech = None if clip.speech is None else speech_or_all(clip.speech[: n_frames[0]])
            pooled = pool_chunks(backbone, clip.prepared, chunks, [pooling], speech, run=_one_by_one)
        else:
            frames = run_prepared(backbone, [clip.prepared])
            spoken = None
            if clip.speech is not None:
                spoken = torch.from_numpy(pad_speech([clip], n_frames, frames.mask.shape[1])).to(frames.mask.device)
            pooled = pool_layers(backbone, frames, [pooling], spoken)
        return pooled[0].cpu().numpy()


def _one_by_one(chunks: Sequence[Chunk], forward: Callable[[Sequence[Chunk]], np.ndarray]) -> Iterator[np.ndarray]:
    for chunk in chunks:
        yield forward([chunk])
