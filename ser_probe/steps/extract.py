"""The verb `extract`: embeddings of one or several checkpoints, and acoustic features, into caches."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from ser_probe.config import ExtractConfig, StudyConfig
from ser_probe.data.manifest import Manifest
from ser_probe.embeddings.extract import CacheRequest, embedding_key, extract
from ser_probe.embeddings.features import extract_features as extract_acoustic_features
from ser_probe.embeddings.features import feature_key
from ser_probe.embeddings.feed import choose_workers
from ser_probe.embeddings.opensmile_sets import EGEMAPS, FUNCTIONALS, find_level, find_set
from ser_probe.embeddings.passes import ClipList, Extraction, ExtractionSettings
from ser_probe.embeddings.seal import keep_clips
from ser_probe.embeddings.share import Share, detect_share
from ser_probe.errors import AnalysisError, ConfigError, collect
from ser_probe.files import slug
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import model_name
from ser_probe.models.checkpoint_folders import CHECKPOINTS, checkpoint_step, list_checkpoints, run_folder
from ser_probe.models.loading import load_backbone
from ser_probe.models.model_folder import check_name
from ser_probe.models.model_names import is_folder_name, shown_model
from ser_probe.runtime import SILENT, Progress, logger, memory_bytes
from ser_probe.steps.extraction_facts import describe, describe_all
from ser_probe.steps.extraction_settings import (
    accepted_audio,
    audio_spec,
    extraction_settings,
    pick_extraction_device,
)
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.prepare import prepare_clips, read_clips
from ser_probe.steps.study.preflight import check_packages
from ser_probe.steps.tables import write_rejects
from ser_probe.steps.trained_runs import read_audio

_SHARE_FOR_MODELS = {"cpu": 0.5, "cuda": 0.4}
"""Part of a device's memory that weights may take; checkpoints beyond it are extracted in further passes."""
_UNKNOWN_MEMORY_BYTES = 8 << 30


@dataclass(frozen=True)
class ModelSource:
    """A checkpoint to extract.

    Attributes:
        name: Backbone name, hub id or folder.
        checkpoint: What the tables call it, such as `step-50`.
        step: Optimiser steps of fine-tuning.
        revision: Commit on the hub.
        random_weights: Seed to draw the weights from instead of loading them.
        model: The model's name or folder, the same for all checkpoints of one; None: by its name.
    """

    name: str
    checkpoint: str
    step: int
    revision: str | None = None
    random_weights: int | None = None
    model: str | None = None


def clip_list(manifest: Manifest) -> ClipList:
    """Return a checked manifest as the clip list of an extraction."""
    return ClipList(manifest.table.reset_index(drop=True), manifest.audio_paths())


def extract_sources(
    sources: Sequence[ModelSource],
    manifest: Manifest,
    study: StudyConfig,
    output: Path,
    *,
    share: Share | None = None,
    progress: Progress = SILENT,
) -> list[list[Extraction]]:
    """Extract a manifest with checkpoints, as many at a time as memory allows, each in every pooling.

    Args:
        sources: The checkpoints.
        manifest: Checked clips.
        study: Its audio, extract and backbone sections.
        output: A cache file if it ends in `.h5` (one source; several poolings add their names to it), else the folder
            of the caches, which are then named after the model and their key.
        share: This process's part of the work; None: all.
        progress: Told of clips.

    Returns:
        Of each source its results in the order of the poolings. Sources of equal weights, as before and after a
        warm-up step with a learning rate of 0, share files and results.
    """
    device = pick_extraction_device(study)
    settings = extraction_settings(study, device, share)
    clips = clip_list(manifest)
    batch: list[CacheRequest] = []
    files: list[list[Path]] = []
    results: dict[Path, Extraction] = {}
    held = 0
    for warning in dict.fromkeys(filter(None, (_other_preparation(source, study) for source in sources))):
        progress.say(f"warning: {warning}")
    for source in sources:
        backbone = load_backbone(
            source.name, revision=source.revision, random_weights=source.random_weights, device=device
        )
        if batch and held + _size_bytes(backbone) > _room_for_models(device):
            results |= {result.path: result for result in extract(batch, clips, settings, progress=progress)}
            batch, held = [], 0
        model = source.model or model_name(source.name, source.random_weights)
        attributes = {
            "model": shown_model(model),
            **({"model_path": model} if is_folder_name(model) else {}),
            "checkpoint": source.checkpoint,
            "step": source.step,
            # `cache verify --rerun` looks here first.
            "source": str(source.name),
            "audio_root": str(manifest.audio_root),
        }
        files.append([])
        for pooling in study.extract.pooling:
            path = _name_file(output, model, backbone, settings, pooling, study)
            files[-1].append(path)
            if path not in results and path not in {target.path for target in batch}:
                batch.append(CacheRequest(backbone, path, pooling, attributes))
        held += _size_bytes(backbone)
    if batch:
        results |= {result.path: result for result in extract(batch, clips, settings, progress=progress)}
    return [[results[path] for path in paths] for paths in files]


def _other_preparation(source: ModelSource, study: StudyConfig) -> str | None:
    """Return a warning where a checkpoint hears clips that are prepared otherwise than in its training."""
    folder = Path(source.name)
    trained = read_audio(folder) if checkpoint_step(folder.name) is not None else None
    if trained is None:
        return None
    now = audio_spec(study.audio)
    names = ("loudness_lufs", "peak_dbfs", "trim")
    differing = [name for name in names if getattr(trained, name) != getattr(now, name)]
    if not differing:
        return None
    values = [(name, getattr(trained, name)) for name in differing]
    flags = [f"--{name.replace('_', '-')} {'off' if value is None else value}" for name, value in values]
    return (
        f"{run_folder(folder)} was trained on clips that were prepared otherwise; they are as in training with "
        f"{' '.join(flags)} (in a study: {', '.join(f'audio.{name}' for name in differing)})"
    )


def _name_file(
    output: Path, model: str, backbone: Backbone, settings: ExtractionSettings, pooling: str, study: StudyConfig
) -> Path:
    kind = slug(pooling.replace("+", "-and-"))
    if output.suffix == ".h5":
        return output if len(study.extract.pooling) == 1 else output.with_name(f"{output.stem}-{kind}.h5")
    middle = "" if pooling == "mean" else f"-{kind}"
    return output / f"{slug(model)}{middle}-{embedding_key(backbone, settings, pooling).short}.h5"


def extract_features(
    manifest: Manifest,
    study: StudyConfig,
    output: Path,
    *,
    feature_set: str = EGEMAPS,
    level: str = FUNCTIONALS,
    share: Share | None = None,
    progress: Progress = SILENT,
) -> Extraction:
    """Extract the acoustic features of a manifest; `output` as in `extract_sources`.

    Raises:
        MissingExtraError: If opensmile is not installed.
    """
    settings, path = extraction_settings(study, torch.device("cpu"), share), output
    if study.extract.workers == "auto":
        settings = dataclasses.replace(settings, workers=choose_workers(None))
    if output.suffix != ".h5":
        middle = "" if level == FUNCTIONALS else f"-{level}"
        path = output / f"{feature_set}{middle}-{feature_key(settings, feature_set, level).short}.h5"
    return extract_acoustic_features(
        path, clip_list(manifest), settings, feature_set=feature_set, level=level, progress=progress
    )


def extract_manifest(
    study: StudyConfig,
    output: Path,
    *,
    models: Sequence[str] = (),
    shard: str | None = None,
    prune: bool = False,
    progress: Progress = SILENT,
) -> Outcome:
    """Check a manifest and extract it: the whole verb.

    Args:
        study: `data.manifest`, `backbone.name` (or a set of acoustic features), audio, extract.
        output: The cache to write or to complete, or the folder of several.
        models: Several checkpoints, or folders of `checkpoint-*`, instead of the one of `backbone.name`.
        shard: This process's part of the work, as `detect_share` takes it.
        prune: Whether to remove clips from the files that are not in the manifest.
        progress: Told of each file and clip.

    Raises:
        AnalysisError: If splits are asked for that the manifest does not name.
        ConfigError: If several models are to go into one file, or acoustic features are among them.
    """
    assert study.data.manifest is not None, "the command line gives a manifest"
    share = detect_share(shard)
    names = [name for model in models or [study.backbone.name] for name in checkpoints_in(model)]
    if len(names) > 1 and output.suffix == ".h5":
        raise ConfigError(
            f"{len(names)} models do not go into one file", where=output, fix="name a folder for them: -o cache/"
        )
    feature_set = find_set(names[0])
    if len(names) > 1 and any(find_set(name) for name in names):
        raise ConfigError(
            "Acoustic features are extracted by themselves", found=", ".join(names), fix="run a command for each set"
        )
    if feature_set is not None:
        _refuse_of_models(study, names[0])
    else:
        for name in names:  # first, because checking a corpus takes minutes
            check_name(name)
    level = FUNCTIONALS if feature_set is None else find_level(study.extract.pooling)
    check_packages(study, ("prepare", "extract") if feature_set is None else ("prepare", "egemaps"))
    pick_extraction_device(study)
    manifest = _choose_splits(read_clips(study.data, progress=progress), study)
    # Extraction needs no labels. It decodes each clip anyway; with `strict` all faults are wanted before.
    prepared = prepare_clips(
        manifest,
        accepted_audio(study),
        None,
        strict=study.data.strict,
        for_learning=False,
        decode=study.data.strict,
        progress=progress,
    )
    progress.say(prepared.report.summary())
    manifest = prepared.manifest
    if feature_set is not None:
        features = extract_features(
            manifest, study, output, feature_set=feature_set, level=level, share=share, progress=progress
        )
        results = [features]
    else:
        origin = study.backbone.revision, study.backbone.random_weights
        steps = {name: checkpoint_step(Path(name).name) or 0 for name in names}  # else it is not fine-tuned here
        sources = [ModelSource(name, f"step-{step}", step, *origin, _run_of(name)) for name, step in steps.items()]
        by_source = extract_sources(sources, manifest, study, output, share=share, progress=progress)
        results = list({result.path: result for row in by_source for result in row}.values())
    if prune:
        results = [_prune(result, manifest) for result in results]
    rejects = pd.concat([prepared.report.rejects, *(result.rejects for result in results)])[["path", "reason"]]
    rejects = rejects.drop_duplicates("path")
    rejects_path = write_rejects(rejects, _rejects_path(output, share))
    sealed = tuple(result.path for result in results if not result.n_missing)
    summary = describe(results[0]) if len(results) == 1 else describe_all(results)
    return Outcome(sealed, summary, len(rejects), rejects_path)


def _refuse_of_models(study: StudyConfig, name: str) -> None:
    """Refuse settings of a model for acoustic features, on which they would have no effect."""
    default = ExtractConfig()
    changed = {
        "backbone.revision": study.backbone.revision is not None,
        "backbone.random_weights": study.backbone.random_weights is not None,
        "extract.precision": study.extract.precision != default.precision,
        "extract.verify": study.extract.verify != default.verify,
        "extract.device": study.extract.device not in (default.device, "cpu"),
        "extract.long_clips": study.extract.long_clips == "chunk",
    }
    faults = [f"{key}: would be ignored by acoustic features" for key, is_changed in changed.items() if is_changed]
    if faults:
        raise collect(ConfigError, f"{name} cannot be extracted so", faults)


def _prune(result: Extraction, manifest: Manifest) -> Extraction:
    """Remove clips that are not in the manifest, once the file is finished."""
    if result.n_missing or not result.n_others:
        return result
    n_removed = keep_clips(result.path, set(manifest.table["clip_id"]))
    logger.info("%s: %d clips that are not in the manifest were removed", result.path, n_removed)
    return dataclasses.replace(result, n_others=0)


def checkpoints_in(model: str) -> list[str]:
    """Return the checkpoints of a fine-tuning run's folder in the order of their steps; other names unchanged."""
    folder = Path(model).expanduser()
    if folder.is_dir() and not (folder / "config.json").exists():
        for place in (folder, folder / CHECKPOINTS):
            if checkpoints := list_checkpoints(place):
                return [str(path) for _, path in checkpoints]
    return [model]


def _run_of(name: str) -> str | None:
    """Return the folder of a checkpoint's fine-tuning run; None for anything else."""
    folder = Path(name)
    if not folder.is_dir() or checkpoint_step(folder.name) is None:
        return None
    run = run_folder(folder)
    return str(run) if run.name else None


def _choose_splits(manifest: Manifest, study: StudyConfig) -> Manifest:
    if study.extract.splits == "all":
        return manifest
    if "split" not in manifest.table:
        raise AnalysisError("The manifest has no column 'split'", where=study.data.manifest, fix="extract all clips")
    table = manifest.table[manifest.table["split"].isin(study.extract.splits)]
    if table.empty and len(manifest):
        counts = manifest.table["split"].value_counts()
        raise AnalysisError(
            f"No clip of the manifest is in the split {' or '.join(study.extract.splits)}",
            where=study.data.manifest, found=", ".join(f"{count} {name or '(none)'}" for name, count in counts.items()),
            fix="name other splits (extract.splits), or extract all clips",
        )  # fmt: skip
    return dataclasses.replace(manifest, table=table.reset_index(drop=True))


def _rejects_path(output: Path, share: Share | None) -> Path:
    worker = "" if share is None or share.count == 1 else f".{share.index}-of-{share.count}"
    if output.suffix == ".h5":
        return output.with_suffix(f"{worker}.rejects.csv")
    return output / f"extract{worker}.rejects.csv"


def _room_for_models(device: torch.device) -> float:
    total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else memory_bytes()
    return _SHARE_FOR_MODELS[device.type] * (_UNKNOWN_MEMORY_BYTES if total is None else total)


def _size_bytes(backbone: Backbone) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in backbone.model.parameters())
