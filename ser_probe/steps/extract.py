"""The verb `extract`: embeddings of one or several checkpoints, and acoustic features, into caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ser_probe.audio.load import AudioSpec
from ser_probe.config import AudioConfig, StudyConfig
from ser_probe.data.manifest import Manifest, read_manifest
from ser_probe.embeddings.extract import Target, embedding_key, extract
from ser_probe.embeddings.features import extract_features as extract_acoustic_features
from ser_probe.embeddings.features import feature_key
from ser_probe.embeddings.opensmile_sets import EGEMAPS, FUNCTIONALS, find_level, find_set
from ser_probe.embeddings.passes import ClipList, Extraction, ExtractionSettings
from ser_probe.errors import AnalysisError
from ser_probe.files import atomic_path, slug
from ser_probe.models.backbone import Backbone
from ser_probe.models.loading import load_backbone
from ser_probe.runtime import SILENT, Progress, pick_device
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.prepare import prepare_clips

_MODEL_BYTES_AT_ONCE = 8 << 30
"""Weights held at a time; more checkpoints than fit are extracted in several passes."""


@dataclass(frozen=True)
class Source:
    """A checkpoint to extract.

    Attributes:
        name: Backbone name, hub id or folder.
        checkpoint: What the tables call it, such as `step-50`.
        step: Optimiser steps of fine-tuning.
        revision: Commit on the hub.
    """

    name: str
    checkpoint: str
    step: int
    revision: str | None = None


def audio_spec(audio: AudioConfig) -> AudioSpec:
    """Return the decoding settings of a study."""
    return AudioSpec(
        sample_rate_hz=audio.sample_rate_hz,
        loudness_lufs=audio.loudness_lufs,
        peak_dbfs=audio.peak_dbfs,
        max_duration_s=audio.max_duration_s,
    )


def clip_list(manifest: Manifest) -> ClipList:
    """Return a checked manifest as the extractor wants it."""
    return ClipList(manifest.table.reset_index(drop=True), manifest.audio_paths())


def extract_sources(
    sources: Sequence[Source],
    manifest: Manifest,
    study: StudyConfig,
    output: Path,
    *,
    progress: Progress = SILENT,
) -> list[Extraction]:
    """Extract a manifest with checkpoints of one architecture, as many at a time as memory allows.

    Args:
        sources: The checkpoints.
        manifest: Checked clips.
        study: Its audio, extract and backbone sections.
        output: A cache file if it ends in `.h5` (one source), else the folder of the caches, which are then named
            after the model and their key.
        progress: Told of clips.

    Returns:
        One result a source, in order. Sources of equal weights, as before and after a warm-up step with a learning
        rate of 0, share a file and its result.
    """
    settings = _settings(study)
    device = pick_device(study.extract.device)
    clips = clip_list(manifest)
    batch: list[Target] = []
    files: list[Path] = []
    results: dict[Path, Extraction] = {}
    for position, source in enumerate(sources):
        backbone = load_backbone(source.name, revision=source.revision, device=device)
        path = output
        if output.suffix != ".h5":
            path = output / f"{slug(study.backbone.name)}-{embedding_key(backbone, settings).short}.h5"
        if path not in files:
            attributes = {"model": study.backbone.name, "checkpoint": source.checkpoint, "step": source.step}
            batch.append(Target(backbone, path, attributes))
        files.append(path)
        if batch and (position + 1 == len(sources) or (len(batch) + 1) * _size_bytes(backbone) > _MODEL_BYTES_AT_ONCE):
            results |= {result.path: result for result in extract(batch, clips, settings, progress=progress)}
            batch = []
    return [results[path] for path in files]


def extract_features(
    manifest: Manifest,
    study: StudyConfig,
    output: Path,
    *,
    feature_set: str = EGEMAPS,
    level: str = FUNCTIONALS,
    progress: Progress = SILENT,
) -> Extraction:
    """Extract the acoustic features of a manifest; `output` as in `extract_sources`.

    Raises:
        MissingExtraError: If opensmile is not installed.
    """
    settings, path = _settings(study), output
    if output.suffix != ".h5":
        middle = "" if level == FUNCTIONALS else f"-{level}"
        path = output / f"{feature_set}{middle}-{feature_key(settings, feature_set, level).short}.h5"
    return extract_acoustic_features(
        path, clip_list(manifest), settings, feature_set=feature_set, level=level, progress=progress
    )


def extract_manifest(study: StudyConfig, output: Path, *, progress: Progress = SILENT) -> Outcome:
    """Check a manifest and extract it into one cache: the whole verb.

    Args:
        study: `data.manifest`, `backbone.name` (or a set of acoustic features), audio, extract.
        output: The cache to write or to complete.
        progress: Told of each file and clip.

    Raises:
        AnalysisError: If splits are asked for that the manifest does not name.
    """
    assert study.data.manifest is not None, "the command line gives a manifest"
    manifest = read_manifest(study.data.manifest, audio_root=study.data.audio_root)
    # Extraction needs no labels; what there is travels along.
    prepared = prepare_clips(
        manifest, study.audio, None, strict=study.data.strict, for_learning=False, progress=progress
    )
    progress.say(prepared.report.summary())
    manifest = prepared.manifest
    if study.extract.splits != "all":
        if "split" not in manifest.table:
            raise AnalysisError(
                "The manifest has no column 'split'", where=study.data.manifest, fix="extract all clips"
            )
        table = manifest.table[manifest.table["split"].isin(study.extract.splits)]
        manifest = Manifest(table.reset_index(drop=True), manifest.audio_root, manifest.source)
    feature_set = find_set(study.backbone.name)
    if feature_set is not None:
        level = find_level((study.extract.pooling,))
        result = extract_features(manifest, study, output, feature_set=feature_set, level=level, progress=progress)
    else:
        name = study.backbone.name
        source = Source(name, f"step-{_step(name)}", _step(name), study.backbone.revision)
        result = extract_sources([source], manifest, study, output, progress=progress)[0]
    rejects = pd.concat([prepared.report.rejects[["path", "reason"]], result.rejects[["path", "reason"]]])
    rejects_path = output.with_suffix(".rejects.csv")
    rejects_path.unlink(missing_ok=True)  # of an earlier run, whose clips may be mended by now
    if len(rejects):
        with atomic_path(rejects_path) as temporary:
            rejects.to_csv(temporary, index=False)
    return Outcome((result.path,), describe(result), len(rejects), rejects_path if len(rejects) else None)


def describe(result: Extraction) -> dict[str, object]:
    """Return an extraction's facts for the terminal."""
    facts: dict[str, object] = {
        "clips": f"{result.n_clips}, {result.n_computed} computed now",
        "key": result.key.short,
    }
    if result.speed:
        facts["speed"] = (
            f"{result.speed['clips_per_s']:.1f} clips/s, {result.speed['audio_s_per_s']:.0f} s of audio per s"
        )
        facts["waited for audio"] = f"{result.speed['wait_share']:.0%} of the time"
        facts["peak memory"] = f"{result.speed['peak_memory_mib']:.0f} MiB"
    if result.verify_error is not None:
        facts["largest difference of a clip alone"] = f"{result.verify_error:.1e} (relative)"
    return facts


def _settings(study: StudyConfig) -> ExtractionSettings:
    extract = study.extract
    return ExtractionSettings(
        audio=audio_spec(study.audio),
        pooling=extract.pooling,
        storage=extract.storage,
        batch_seconds=extract.batch_seconds,
        max_clips=extract.max_clips,
        workers=extract.workers,
        verify=extract.verify,
        strict=study.data.strict,
    )


def _size_bytes(backbone: Backbone) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in backbone.model.parameters())


def _step(name: str) -> int:
    """Return the step that a checkpoint folder's name tells; 0 for anything else, which is not fine-tuned here."""
    step = Path(name).name.removeprefix("checkpoint-")
    return int(step) if step.isdecimal() and Path(name).name != step else 0
