"""Acoustic features in the same file format: a "model" with one layer, `functionals` or the frames `descriptors`."""

from __future__ import annotations

import dataclasses
import functools
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.embeddings import opensmile_sets
from ser_probe.embeddings.clock import PassClock
from ser_probe.embeddings.jobs import Job
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.opensmile_level import reduction_db
from ser_probe.embeddings.opensmile_sets import (
    DESCRIPTOR_HOP_S,
    DESCRIPTORS,
    EGEMAPS,
    FEATURE_CONTRACT_VERSION,
    FUNCTIONALS,
)
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
from ser_probe.errors import AudioError
from ser_probe.runtime import SILENT, Progress

SCALED = "scaled down for opensmile"
"""Beginning of the note on a clip that had to be scaled."""

LAYERS = {FUNCTIONALS: "functionals", DESCRIPTORS: "descriptors"}
"""The one layer of a file of each level."""

_POOLINGS = {FUNCTIONALS: "functionals", DESCRIPTORS: "frames"}


def feature_key(settings: ExtractionSettings, feature_set: str = EGEMAPS, level: str = FUNCTIONALS) -> CacheKey:
    """Return the key of acoustic features under these settings.

    Raises:
        MissingExtraError: If opensmile is not installed.
    """
    return CacheKey(
        kind="features",
        weights=feature_set,
        architecture=opensmile_sets.ingredients(feature_set, level),
        model_input={"sample_rate_hz": settings.audio.sample_rate_hz},
        audio=settings.audio.ingredients(),
        pooling=_POOLINGS[level],
        precision="fp32",
        storage=settings.storage,
        layer_contract=FEATURE_CONTRACT_VERSION,
    )


def extract_features(
    path: Path,
    clips: ClipList,
    settings: ExtractionSettings,
    *,
    feature_set: str = EGEMAPS,
    level: str = FUNCTIONALS,
    progress: Progress = SILENT,
) -> Extraction:
    """Extract acoustic features into the same kind of file, as a model with one layer.

    Args:
        path: The cache to write or to complete.
        clips: What to extract.
        settings: The settings; features are computed in the worker processes.
        feature_set: A name of `FEATURE_SETS`.
        level: `functionals`, a vector a clip, or `lld`, low-level descriptors, whose frames are stored ragged.
        progress: Told of clips.

    Raises:
        CacheError: As `extract`.
        AudioError: As `extract`.
        MissingExtraError: If opensmile is not installed.
    """
    clips = clips.unique()
    key = feature_key(settings, feature_set, level)
    names = opensmile_sets.feature_names(feature_set, level)
    layout = Layout((LAYERS[level],), len(names), ragged=level == DESCRIPTORS)
    attributes: dict[str, Any] = {"model": feature_set, "pooling": key.pooling, "feature_names": names}
    if layout.ragged:
        attributes["hop_s"] = DESCRIPTOR_HOP_S
    job = Job(path, key, layout, committed(path, key), attributes)
    note_start([job], clips, settings)
    clock, audio_s, n_scaled = PassClock(), 0.0, 0
    work = functools.partial(_load_features, spec=settings.audio, feature_set=feature_set, level=level)
    feed = run_batches([job], clips, settings, work, clock, progress, what=feature_set)
    with open_writers([job], settings, clips), closing(feed) as batches:
        for batch, decoded in batches:
            if batch.clip_ids:
                if layout.ragged:
                    n_frames = np.array([len(frames) for frames in decoded.results], dtype=np.int32)
                    batch = dataclasses.replace(batch, n_frames=n_frames)
                job.add(batch, np.concatenate(decoded.results)[None])
            n_scaled += sum(note.startswith(SCALED) for _, note in decoded.notes)
            audio_s += float(batch.duration_s.sum())
    speed = measure_speeds([job], audio_s, clock)[0]
    end = seal_job(job, clips, settings, {**job.attributes, **speed})
    return Extraction(
        path, key, len(clips.table), job.n_computed, end.rejects, speed,
        n_missing=end.n_missing, n_others=end.n_others, n_scaled=n_scaled,
    )  # fmt: skip


def _load_features(path: Path, *, spec: AudioSpec, feature_set: str, level: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a clip's features, float32 [1, D] or [T, D], and notes on its preparation."""
    clip = load_clip(path, spec)
    notes = clip.notes
    try:
        reduced_db = reduction_db(clip.samples)
        if reduced_db:
            notes = (*notes, f"{SCALED} by {reduced_db:.2g} dB, because its 16-bit samples end at full scale")
        if level == DESCRIPTORS:
            return opensmile_sets.descriptors(clip.samples, spec.sample_rate_hz, feature_set), notes
        return opensmile_sets.functionals([clip.samples], spec.sample_rate_hz, feature_set), notes
    except AudioError as error:
        # opensmile's errors do not know the file.
        raise AudioError(error.what, where=path, expected=error.expected, found=error.found, fix=error.fix) from error
