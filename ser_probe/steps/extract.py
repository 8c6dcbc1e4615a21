"""The verb `extract`: embeddings of one or several checkpoints, and acoustic features, into caches."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from ser_probe.audio.load import AudioSpec
from ser_probe.config import AudioConfig, ExtractConfig, StudyConfig
from ser_probe.data.manifest import Manifest
from ser_probe.embeddings.extract import CacheRequest, embedding_key, extract
from ser_probe.embeddings.features import extract_features as extract_acoustic_features
from ser_probe.embeddings.features import feature_key
from ser_probe.embeddings.feed import choose_workers
from ser_probe.embeddings.memory import choose_budget
from ser_probe.embeddings.opensmile_sets import EGEMAPS, FUNCTIONALS, find_level, find_set
from ser_probe.embeddings.passes import ClipList, Extraction, ExtractionSettings
from ser_probe.embeddings.seal import keep_clips
from ser_probe.embeddings.share import Share, detect_share, local_rank
from ser_probe.errors import AnalysisError, ConfigError, collect
from ser_probe.files import atomic_path, slug
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import model_name
from ser_probe.models.checkpoint_folders import CHECKPOINTS, checkpoint_step, list_checkpoints, run_folder
from ser_probe.models.chunks import Chunking
from ser_probe.models.loading import load_backbone
from ser_probe.models.model_folder import check_name
from ser_probe.models.model_names import is_folder_name, shown_model
from ser_probe.runtime import SILENT, Progress, logger, memory_bytes, pick_device
from ser_probe.steps.extraction_facts import describe, describe_all
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.prepare import prepare_clips, read_clips
from ser_probe.steps.study.preflight import check_packages

_SHARE_FOR_MODELS = {"cpu": 0.5, "cuda": 0.4}
"""Part of a device's memory that weights may take; more checkpoints than fit are extracted in several passes."""
_UNKNOWN_MEMORY_BYTES = 8 << 30
LONGEST_CLIP_S = 3600.0
"""Longest clip that is taken where long clips are not left out, in s."""


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


def accepted_audio(study: StudyConfig) -> AudioConfig:
    """Return a study's audio settings with the limit of what is taken, which is higher where long clips are kept."""
    if study.extract.long_clips == "reject":
        return study.audio
    return study.audio.model_copy(update={"max_duration_s": max(LONGEST_CLIP_S, study.audio.max_duration_s)})


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
        share: Which part of the work is this process's; None: all.
        progress: Told of clips.

    Returns:
        Of each source its results in the order of the poolings. Sources of equal weights, as before and after a
        warm-up step with a learning rate of 0, share files and results.
    """
    device = _pick_device(study)
    settings = _settings(study, device, share)
    clips = clip_list(manifest)
    batch: list[CacheRequest] = []
    files: list[list[Path]] = []
    results: dict[Path, Extraction] = {}
    held = 0
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
            # Where `cache verify --rerun` looks first.
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
    settings, path = _settings(study, torch.device("cpu"), share), output
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
        shard: Which part of the work is this process's, as `detect_share` takes it.
        prune: Whether to remove from the files what is not in the manifest.
        progress: Told of each file and clip.

    Raises:
        AnalysisError: If splits are asked for that the manifest does not name.
        ConfigError: If several models are to go into one file, or acoustic features are among them.
    """
    assert study.data.manifest is not None, "the command line gives a manifest"
    share = detect_share(shard)
    names = [name for model in models or [study.backbone.name] for name in _checkpoints_in(model)]
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
        for name in names:  # checking a corpus takes minutes: first see whether there is a model
            check_name(name)
    level = FUNCTIONALS if feature_set is None else find_level(study.extract.pooling)
    check_packages(study, ("prepare", "extract") if feature_set is None else ("prepare", "egemaps"))
    _pick_device(study)
    manifest = _choose_splits(read_clips(study.data, progress=progress), study)
    # Extraction needs no labels; what there is travels along. It decodes each clip anyway; who is strict wants to know
    # of all faults before.
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
        found = extract_sources(sources, manifest, study, output, share=share, progress=progress)
        results = list({result.path: result for row in found for result in row}.values())
    if prune:
        results = [_prune(result, manifest) for result in results]
    rejects = pd.concat([prepared.report.rejects, *(result.rejects for result in results)])[["path", "reason"]]
    rejects = rejects.drop_duplicates("path")
    rejects_path = _rejects_path(output, share)
    rejects_path.unlink(missing_ok=True)  # of an earlier run, whose clips may be mended by now
    if len(rejects):
        with atomic_path(rejects_path) as temporary:
            rejects.to_csv(temporary, index=False)
    sealed = tuple(result.path for result in results if not result.n_missing)
    summary = describe(results[0]) if len(results) == 1 else describe_all(results)
    return Outcome(sealed, summary, len(rejects), rejects_path if len(rejects) else None)


def _refuse_of_models(study: StudyConfig, name: str) -> None:
    """Refuse what is set for a model where acoustic features are extracted, which it would not change."""
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
    """Remove what is not in the manifest, once the file is finished."""
    if result.n_missing or not result.n_others:
        return result
    n_removed = keep_clips(result.path, set(manifest.table["clip_id"]))
    logger.info("%s: %d clips that are not in the manifest were removed", result.path, n_removed)
    return dataclasses.replace(result, n_others=0)


def _checkpoints_in(model: str) -> list[str]:
    """Return the checkpoints of a fine-tuning run's folder in the order of their steps; any other name as it is."""
    folder = Path(model).expanduser()
    if folder.is_dir() and not (folder / "config.json").exists():
        for place in (folder, folder / CHECKPOINTS):
            if checkpoints := list_checkpoints(place):
                return [str(path) for _, path in checkpoints]
    return [model]


def _run_of(name: str) -> str | None:
    """Return the folder of the fine-tuning run that a checkpoint is of; None for anything else."""
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


def _settings(study: StudyConfig, device: torch.device, share: Share | None) -> ExtractionSettings:
    config = study.extract
    chunking = None
    if config.long_clips == "chunk":
        chunking = Chunking(study.audio.max_duration_s, config.chunk_overlap_s)
    return ExtractionSettings(
        audio=audio_spec(accepted_audio(study)),
        precision=config.precision,
        storage=config.storage,
        chunking=chunking,
        batch_seconds=choose_budget(device) if config.batch_seconds == "auto" else config.batch_seconds,
        max_clips=config.max_clips,
        workers=choose_workers(device) if config.workers == "auto" else config.workers,
        verify=config.verify,
        strict=study.data.strict,
        share=share or Share(),
    )


def _pick_device(study: StudyConfig) -> torch.device:
    """Return the device; of several GPUs torchrun says which."""
    device, rank = pick_device(study.extract.device), local_rank()
    if device.type == "cuda" and device.index is None and rank is not None:
        return torch.device("cuda", rank % torch.cuda.device_count())
    return device


def _room_for_models(device: torch.device) -> float:
    total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else memory_bytes()
    return _SHARE_FOR_MODELS[device.type] * (_UNKNOWN_MEMORY_BYTES if total is None else total)


def _size_bytes(backbone: Backbone) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in backbone.model.parameters())
