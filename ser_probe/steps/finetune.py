"""The verb `finetune`: train a backbone and a head on the clips of a study, keeping a checkpoint every k steps."""

from __future__ import annotations

import datetime
import functools
from pathlib import Path

import numpy as np
import pandas as pd

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.config import FinetuneConfig, StudyConfig
from ser_probe.data.manifest import Manifest, read_manifest
from ser_probe.errors import CheckpointError, SplitError
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import model_name
from ser_probe.models.heads import refuse_untrainable
from ser_probe.models.loading import load_backbone
from ser_probe.runtime import SILENT, Progress, pick_device
from ser_probe.steps.extract import audio_spec
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.prepare import prepare_clips, write_prepared
from ser_probe.steps.tables import write_table
from ser_probe.training.checkpoints import list_checkpoints
from ser_probe.training.fine_tuning import OtherRunError, TrainingResult, fine_tune
from ser_probe.training.locks import exclusive
from ser_probe.training.settings import Clips, TrainingSettings

_FRONT_ENDS = "front_ends"


def train_study(
    study: StudyConfig, manifest: Manifest, folder: Path, *, restart: bool = False, progress: Progress = SILENT
) -> list[Path]:
    """Fine-tune on the splits of a study, or go on where it was stopped.

    A folder that holds a run made from other settings or clips keeps it under another name: what has taken hours is
    never deleted because a config was edited.

    Args:
        study: The resolved config.
        manifest: Checked clips with splits.
        folder: The study's folder.
        restart: Train anew even if nothing changed; the run that is there is kept under another name too.
        progress: Told of each step.

    Returns:
        The training tables and the weights of each checkpoint.
    """
    backbone = _load_trainable(study)
    if restart and (kept := _set_aside(folder)) is not None:
        progress.say(f"the checkpoints of the run before are kept in {kept}")
    try:
        result = _train(study, backbone, manifest, folder, progress)
    except OtherRunError as error:
        kept = _set_aside(folder)
        if kept is not None:
            progress.say(f"the checkpoints of another configuration are kept in {kept}\n  found: {error.found}")
        result = _train(study, backbone, manifest, folder, progress)
    except CheckpointError as error:
        if error.fix is not None:
            error.fix = error.fix.replace("--restart", "--force finetune")
        raise
    return _write(result, study, folder)


def finetune_manifest(
    study: StudyConfig, output: Path, *, restart: bool = False, progress: Progress = SILENT
) -> Outcome:
    """Check a manifest, split it if asked for, and fine-tune on it: the whole verb.

    Args:
        study: `data.manifest`, backbone, audio, split, finetune.
        output: Folder of the run.
        restart: Delete the run that is in the folder, and train anew.
        progress: Told of each file and step.
    """
    assert study.data.manifest is not None, "the command line gives a manifest"
    split = None if study.split.scheme == "manifest" else study.split
    manifest = read_manifest(study.data.manifest, audio_root=study.data.audio_root)
    # Decoding a corpus takes minutes: first see whether there is something to train.
    backbone = _load_trainable(study)
    prepared = prepare_clips(manifest, study.audio, split, strict=study.data.strict, progress=progress)
    if "split" not in prepared.manifest.table:
        raise SplitError(
            "The manifest has no column 'split'", where=study.data.manifest, fix="name a scheme with --split study_e"
        )
    progress.say(prepared.report.summary())
    rejects = output / "rejects.csv"
    write_prepared(prepared, output / "manifest.csv", output / "tables", rejects)
    result = _train(study, backbone, prepared.manifest, output, progress, restart=restart)
    files = _write(result, study, output)
    facts: dict[str, object] = {
        "checkpoints": ", ".join(str(step) for step, _ in result.checkpoints),
        "best step": f"{result.best_step} (validation {_metric(study.finetune)} {result.best_value:.4g})",
        "stopped early": "yes" if result.stopped_early else "no",
    }
    return Outcome((*files, output / "best.json"), facts, len(prepared.report.rejects), rejects)


def _load_trainable(study: StudyConfig) -> Backbone:
    """Return the backbone to train, or say at once that it cannot be."""
    config = study.backbone
    backbone = load_backbone(
        config.name,
        revision=config.revision,
        random_weights=config.random_weights,
        device=pick_device(study.finetune.device),
    )
    refuse_untrainable(backbone)
    return backbone


def _train(
    study: StudyConfig,
    backbone: Backbone,
    manifest: Manifest,
    folder: Path,
    progress: Progress,
    *,
    restart: bool = False,
) -> TrainingResult:
    spec = audio_spec(study.audio)
    labels = sorted(manifest.table["label"].astype(str).unique())
    return fine_tune(
        backbone,
        _clips(manifest, "train", labels, spec),
        _clips(manifest, "validation", labels, spec),
        labels,
        training_settings(study),
        folder,
        front_end_folder=study.output.cache / _FRONT_ENDS,
        recipe=spec.ingredients(),
        progress=progress,
        restart=restart,
    )


def training_settings(study: StudyConfig) -> TrainingSettings:
    """Return the training settings of a study."""
    config, stopping = study.finetune, study.finetune.early_stopping
    same_name = (
        *("epochs", "max_steps", "batch_size", "gradient_accumulation", "learning_rate", "head_learning_rate"),
        *("weight_decay", "warmup_ratio", "scheduler", "max_grad_norm", "checkpoint_every", "train_front_end"),
        *("spec_augment", "seed", "precision", "keep_optimizer"),
    )
    return TrainingSettings(
        **{name: getattr(config, name) for name in same_name},
        metric=_metric(config),
        early_stopping_threshold=stopping.threshold if stopping else 0.0,
        early_stopping_patience=stopping.patience if stopping else None,
        pooling="mean",
        head_dropout=config.dropout,
        cache_front_end=config.cache_front_end is not False,
    )


def _metric(config: FinetuneConfig) -> str:
    return config.early_stopping.metric if config.early_stopping else "loss"


def _clips(manifest: Manifest, split: str, labels: list[str], spec: AudioSpec) -> Clips:
    # Longer clips are there only where extraction takes them; training needs the activations of a whole batch.
    chosen = (manifest.table["split"] == split) & (manifest.table["duration_s"] <= spec.max_duration_s + 1e-3)
    table = manifest.table[chosen]
    paths = [path for path, keep in zip(manifest.audio_paths(), chosen, strict=True) if keep]
    return Clips(
        ids=table["clip_id"].tolist(),
        labels=np.array([labels.index(label) for label in table["label"].astype(str)], dtype=np.int64),
        durations_s=table["duration_s"].to_numpy(dtype=np.float64),
        load=functools.partial(_load, paths=paths, spec=spec),
    )


def _load(row: int, *, paths: list[Path], spec: AudioSpec) -> np.ndarray:
    return load_clip(paths[row], spec).samples


def _write(result: TrainingResult, study: StudyConfig, folder: Path) -> list[Path]:
    table: pd.DataFrame = result.table.assign(model=model_name(study.backbone.name, study.backbone.random_weights))
    weights = [path / "model.safetensors" for _, path in result.checkpoints]
    return [*write_table(table, folder / "tables", "training"), *weights]


def _set_aside(folder: Path) -> Path | None:
    """Rename a run's checkpoints and record, so that another run can take their place; None if there are none.

    A run that was stopped before its first checkpoint has left its record alone, which nobody needs.
    """
    with exclusive(folder / ".training.lock", "trains in this folder"):
        if not list_checkpoints(folder / "checkpoints"):
            (folder / "training.json").unlink(missing_ok=True)
            return None
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        kept = folder / f"replaced-{stamp}"
        kept.mkdir()
        for name in ("checkpoints", "training.json", "best.json", "tensorboard"):
            if (folder / name).exists():
                (folder / name).rename(kept / name)
        return kept
