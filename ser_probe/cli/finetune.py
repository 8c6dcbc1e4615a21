"""ser-probe finetune: train a backbone and a head on a manifest, with a checkpoint every k steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish


def finetune(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Manifest with labels and speakers.")],
    model: flags.Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the run; an unfinished run goes on.")
    ],
    audio_root: flags.AudioRoot = None,
    revision: flags.Revision = None,
    random_weights: flags.RandomWeights = None,
    target: Annotated[str | None, typer.Option(help="Column to learn.", show_default="label")] = None,
    labels: flags.Labels = None,
    scheme: Annotated[
        str | None,
        typer.Option("--scheme", "--split", help="Split the speakers anew: study_e, study_b, loso or kfold.",
                     show_default="manifest: its split column"),
    ] = None,
    fold: flags.Fold = None,
    folds: flags.Folds = None,
    seed: flags.Seed = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the training split.", show_default="10.0")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimiser steps to stop at.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips per forward pass.", show_default="16")] = None,
    gradient_accumulation: Annotated[
        int | None, typer.Option(help="Forward passes per optimiser step.", show_default="1")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Highest learning rate.", show_default="1e-05")
    ] = None,
    head_learning_rate: Annotated[
        float | None, typer.Option(help="Own learning rate of the head.", show_default="as the backbone")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Weight decay of AdamW.", show_default="0.01")
    ] = None,
    warmup_ratio: Annotated[
        float | None, typer.Option(help="Share of steps to warm up.", show_default="0.1")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="linear, cosine or constant.", show_default="linear")
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between evaluations and checkpoints.", show_default="50")
    ] = None,
    early_stopping: Annotated[
        bool | None,
        typer.Option("--early-stopping/--no-early-stopping", help="Stop when validation no longer improves.",
                     show_default="on: 5 evaluations, 0.025"),
    ] = None,
    train_front_end: Annotated[
        bool, typer.Option("--train-front-end", help="Also train the convolutions; twice the time and memory.")
    ] = False,
    spec_augment: Annotated[
        bool, typer.Option("--spec-augment", help="Mask stretches of time and channels in training.")
    ] = False,
    dropout: Annotated[float | None, typer.Option(help="Dropout before the head.", show_default="0.0")] = None,
    loudness_lufs: flags.Loudness = None,
    peak_dbfs: flags.Peak = None,
    min_duration_s: flags.MinDuration = None,
    max_duration_s: flags.MaxDuration = None,
    device: flags.Device = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete the run that is in the folder, and train anew.")
    ] = False,
    strict: flags.Strict = False,
    overrides: flags.Overrides = None,
) -> None:  # fmt: skip
    """Fine-tune a backbone with a linear head, keeping a checkpoint every few steps.

    Step 0 is kept too, the run resumes exactly after an interruption, and the best checkpoint is recorded.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import StudyConfig, check_options
    from ser_probe.steps.finetune import finetune_manifest

    clip_options, switched_off = flags.clip_options(loudness_lufs, peak_dbfs, min_duration_s, max_duration_s, strict)
    options = {
        "name": flags.study_name(output),
        "seed": seed,
        "data.manifest": str(manifest),
        "data.audio_root": None if audio_root is None else str(audio_root),
        "data.target": target,
        "data.labels": flags.names(labels),
        "split.scheme": scheme or "manifest",
        "split.fold": fold,
        "split.folds": folds,
        "backbone.name": model,
        "backbone.revision": revision,
        "backbone.random_weights": random_weights,
        "finetune.epochs": epochs,
        "finetune.max_steps": max_steps,
        "finetune.batch_size": batch_size,
        "finetune.gradient_accumulation": gradient_accumulation,
        "finetune.learning_rate": learning_rate,
        "finetune.head_learning_rate": head_learning_rate,
        "finetune.weight_decay": weight_decay,
        "finetune.warmup_ratio": warmup_ratio,
        "finetune.scheduler": scheduler,
        "finetune.checkpoint_every": checkpoint_every,
        "finetune.early_stopping": {} if early_stopping else None,
        "finetune.train_front_end": train_front_end or None,
        "finetune.spec_augment": spec_augment or None,
        "finetune.dropout": dropout,
        "finetune.device": device,
        **clip_options,
    }
    if early_stopping is False:
        switched_off.append("finetune.early_stopping=null")
    study = check_options(StudyConfig, options, ["analyze.umap=null", *switched_off, *(overrides or [])])
    with open_progress() as progress:
        outcome = finetune_manifest(study, output, restart=restart, progress=progress)
    finish(outcome)
