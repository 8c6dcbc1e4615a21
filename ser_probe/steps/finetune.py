"""The verb `finetune`: train a backbone and a head on the clips of a study, keeping a checkpoint every k steps."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from ser_probe.config import FinetuneConfig, StudyConfig
from ser_probe.data.manifest import Manifest
from ser_probe.embeddings.share import local_rank
from ser_probe.errors import CheckpointError, ConfigError
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import model_name
from ser_probe.models.checkpoint_folders import CHECKPOINTS, list_checkpoints
from ser_probe.models.heads import refuse_untrainable
from ser_probe.models.loading import load_backbone
from ser_probe.models.model_names import shown_model
from ser_probe.report.figures import write_figures
from ser_probe.report.training.figures import TRAINING_FIGURES
from ser_probe.runtime import SILENT, Progress, pick_device
from ser_probe.steps.extraction_settings import audio_spec
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.prepare import PreparedClips, read_clips, require_splits, wanted_split, write_prepared
from ser_probe.steps.study.preflight import check_packages
from ser_probe.steps.tables import write_table
from ser_probe.steps.trained_runs import AUDIO_FILE, untrained_remark
from ser_probe.steps.training_task import label_clips, make_task, prepare_study_clips
from ser_probe.training.fine_tuning import fine_tune
from ser_probe.training.locks import training_lock
from ser_probe.training.processes import is_first, n_processes
from ser_probe.training.run import OnEvaluation, OtherRunError, TrainingResult
from ser_probe.training.run_files import BEST, EVENTS, RECORD
from ser_probe.training.settings import TrainingSettings

_CACHE = "front_ends"


def train_study(
    study: StudyConfig,
    manifest: Manifest,
    folder: Path,
    *,
    restart: bool = False,
    progress: Progress = SILENT,
    on_evaluation: OnEvaluation | None = None,
) -> list[Path]:
    """Fine-tune on the splits of a study, or go on where it was stopped.

    If the folder holds a run made from other settings or clips, that run is kept under another name: hours of training
    are never deleted because a config was edited.

    Args:
        study: The resolved config.
        manifest: Checked clips with splits.
        folder: The study's folder.
        restart: Train again even if nothing changed; the existing run is kept under another name too.
        progress: Told of each step.
        on_evaluation: Told step and measures of each evaluation; what it raises ends the training.

    Returns:
        The training tables and the weights of each checkpoint.
    """
    backbone = _load_trainable(study)
    if restart and (kept := _set_aside(folder)) is not None:
        progress.say(f"the checkpoints of the run before are kept in {kept}")
    try:
        result = _train(study, backbone, manifest, folder, progress, on_evaluation=on_evaluation)
    except OtherRunError as error:
        kept = _set_aside(folder)
        if kept is not None:
            progress.say(f"the checkpoints of another configuration are kept in {kept}\n  found: {error.found}")
        result = _train(study, backbone, manifest, folder, progress, on_evaluation=on_evaluation)
    except CheckpointError as error:
        if error.fix is not None:
            error.fix = error.fix.replace("--restart", "--force finetune")
        raise
    return _write(result, study, folder)


def finetune_manifest(
    study: StudyConfig,
    output: Path,
    *,
    seeds: Sequence[int] | None = None,
    restart: bool = False,
    must_continue: bool = False,
    progress: Progress = SILENT,
) -> Outcome:
    """Check a manifest, split it if asked for, and fine-tune on it, once or with several seeds: the whole verb.

    Args:
        study: `data.manifest`, backbone, audio, split, finetune.
        output: Folder of the run; of several seeds each has its own in it, `seed-<n>/`.
        seeds: Seeds of training; None: the study's, in `output` itself.
        restart: Delete the run that is in the folder, and train anew.
        must_continue: Refuse a folder in which no run was begun.
        progress: Told of each file and step.

    Raises:
        ConfigError: If a seed of the split is given where none is drawn.
        CheckpointError: If `must_continue` and there is nothing to go on with.
        SplitError: If the manifest has no splits and none are asked for.
    """
    assert study.data.manifest is not None, "the command line gives a manifest"
    progress = progress if is_first() else SILENT
    if wanted_split(study.split) is None and study.split.seed != study.seed:
        raise ConfigError(
            "split.seed would be ignored: the manifest's own splits are taken", fix="set split.scheme, or leave it out"
        )
    pick_device(study.finetune.device)
    manifest = label_clips(read_clips(study.data, progress=progress), study.finetune)
    require_splits(manifest, study.split, fix="name a scheme with --scheme study_e")
    runs = _runs(study, output, seeds)
    if must_continue and not any((folder / RECORD).is_file() for _, folder in runs):
        raise CheckpointError("There is no run to go on with", where=output, fix="leave out --continue to begin one")
    # Decoding a corpus takes minutes: packages and the backbone are checked before.
    check_packages(study, ("prepare", "finetune"))
    backbone: Backbone | None = _load_trainable(study)
    prepared = prepare_study_clips(study, manifest, study.audio, progress=progress)
    rejects = output / "rejects.csv"
    if is_first():
        write_prepared(prepared, output / "manifest.csv", output / "tables", rejects)
    results = []
    for run, folder in runs:
        if len(runs) > 1:
            progress.say(f"seed {run.finetune.seed}")
        # The next seed needs a fresh backbone, not the trained one.
        backbone = backbone or _load_trainable(run)
        results.append(_train(run, backbone, prepared.manifest, folder, progress, restart=restart))
        backbone = None
    return _report_runs(results, [run for run, _ in runs], prepared, output)


def _runs(study: StudyConfig, output: Path, seeds: Sequence[int] | None) -> list[tuple[StudyConfig, Path]]:
    """Return the study of each seed, and the folder of its run."""
    if seeds is None:
        return [(study, output)]
    configs = [study.finetune.model_copy(update={"seed": seed}) for seed in seeds]
    return [(study.model_copy(update={"finetune": config}), output / f"seed-{config.seed}") for config in configs]


def _report_runs(
    results: Sequence[TrainingResult], runs: Sequence[StudyConfig], prepared: PreparedClips, output: Path
) -> Outcome:
    """Write tables and curves of all runs, in the first of several processes, and return how they ended."""
    n_rejected, rejects = len(prepared.report.rejects), output / "rejects.csv"
    if not is_first():
        return Outcome(n_rejected=n_rejected, rejects=rejects)
    table = pd.concat([result.table for result in results], ignore_index=True)
    marks: dict[str, object] = {}
    if len(results) == 1:
        saved = [step for step, _ in results[0].checkpoints]
        marks = {"best_step": results[0].best_step, "saved_steps": saved}
    options = {"training": marks}
    entries, _ = write_figures({"training": table}, output / "figures", specs=TRAINING_FIGURES, options=options)
    files = _write_training(table, runs[0], output)
    files += [path for entry in entries for path in (entry.svg, entry.png)]
    files += [result.checkpoints[0][1].parents[1] / BEST for result in results]
    metric = training_settings(runs[0]).metric
    facts: dict[str, object] = {
        "trained": results[0].part["words"],
        "checkpoints": ", ".join(str(step) for step, _ in results[0].checkpoints),
        "best step": ", ".join(f"{run.best_step} (validation {metric} {run.best_value:.4g})" for run in results),
        "stopped early": ", ".join("yes" if run.stopped_early else "no" for run in results),
    }
    folders = [result.checkpoints[0][1].parents[1] for result in results if result.best_step == 0]
    if folders:
        facts["warning"] = "; ".join(map(untrained_remark, folders))
    return Outcome(tuple(files), facts, n_rejected, rejects)


def _load_trainable(study: StudyConfig) -> Backbone:
    """Return the backbone to train; raise early if it cannot be trained."""
    config, device = study.backbone, pick_device(study.finetune.device)
    if n_processes() > 1 and device.type == "cuda" and device.index is None:
        device = torch.device("cuda", local_rank() or 0)
    backbone = load_backbone(config.name, revision=config.revision, random_weights=config.random_weights, device=device)
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
    on_evaluation: OnEvaluation | None = None,
) -> TrainingResult:
    spec = audio_spec(study.audio)
    return fine_tune(
        backbone,
        make_task(study, manifest),
        training_settings(study),
        folder,
        cache_folder=study.output.cache / _CACHE,
        recipe=spec.ingredients(),
        notes={AUDIO_FILE: {"audio": dataclasses.asdict(spec)}},
        progress=progress,
        restart=restart,
        on_evaluation=on_evaluation,
    )


def training_settings(study: StudyConfig) -> TrainingSettings:
    """Return the training settings of a study."""
    config, stopping = study.finetune, study.finetune.early_stopping
    same_name = {*TrainingSettings.__dataclass_fields__} & {*FinetuneConfig.model_fields}
    same_name -= {"cache_front_end", "class_weights"}
    return TrainingSettings(
        **{name: getattr(config, name) for name in same_name},
        metric=stopping.metric if stopping else "loss",
        early_stopping_threshold=stopping.threshold if stopping else 0.0,
        early_stopping_patience=stopping.patience if stopping else None,
        head_l2=config.head.l2,
        class_weights=config.class_weights == "balanced",
        cache_front_end=config.cache_front_end is not False,
    )


def _write(result: TrainingResult, study: StudyConfig, folder: Path) -> list[Path]:
    weights = [path / "model.safetensors" for _, path in result.checkpoints]
    return [*_write_training(result.table, study, folder), folder / BEST, *weights]


def _write_training(table: pd.DataFrame, study: StudyConfig, folder: Path) -> list[Path]:
    model = model_name(study.backbone.name, study.backbone.random_weights)
    return write_table(table.assign(model=shown_model(model)), folder / "tables", "training")


def _set_aside(folder: Path) -> Path | None:
    """Rename a run's checkpoints and record, so that another run can take their place; None if there are none.

    A run that was stopped before its first checkpoint left only its record, which is deleted.
    """
    with training_lock(folder):
        if not list_checkpoints(folder / CHECKPOINTS):
            (folder / RECORD).unlink(missing_ok=True)
            return None
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        kept = folder / f"replaced-{stamp}"
        kept.mkdir()
        for name in (CHECKPOINTS, RECORD, BEST, EVENTS):
            if (folder / name).exists():
                (folder / name).rename(kept / name)
        return kept
