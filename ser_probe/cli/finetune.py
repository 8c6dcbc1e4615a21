"""ser-probe finetune: train a backbone and a head on a manifest, with a checkpoint every k steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked


def finetune(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Manifest with labels and speakers.")],
    model: flags.Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the run; an unfinished run goes on.",
                     callback=flags.new_folder)
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
    trained: Annotated[
        str | None,
        typer.Option(help="How much trains: encoder, all, last:K, head or lora.", show_default="encoder"),
    ] = None,
    spec_augment: Annotated[
        bool, typer.Option("--spec-augment", help="Mask stretches of time and channels in training.")
    ] = False,
    pooling: Annotated[
        str | None,
        typer.Option(help="How frames become one vector: mean, std, mean+std, max, sum, attentive or ecapa.",
                     show_default="mean"),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(help="Layer the head reads: final, a number, weighted or weighted-raw.", show_default="final"),
    ] = None,
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the head's hidden layers, as 256,128.", show_default="none")
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout in the head.", show_default="0.0")] = None,
    targets: Annotated[
        str | None, typer.Option(help="What is predicted: classes, distribution or numeric.", show_default="classes")
    ] = None,
    target_columns: Annotated[
        str | None, typer.Option(help="Columns of a distribution or of numbers, such as arousal,valence.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="cross_entropy, mse or ccc.", show_default="by the targets")
    ] = None,
    class_weights: Annotated[
        str | None, typer.Option(help="none or balanced (inverse frequency).", show_default="none")
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="Share of a label spread over all classes.", show_default="0.0")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, tf32, bf16 or fp16.", show_default="fp32")
    ] = None,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="A third more time, far less memory.")
    ] = False,
    seeds: Annotated[
        str | None, typer.Option(help="Several runs, as 0-9 or 0,3,5, in DIR/seed-<n>.", show_default="one run")
    ] = None,
    loudness_lufs: flags.Loudness = None,
    peak_dbfs: flags.Peak = None,
    min_duration_s: flags.MinDuration = None,
    max_duration_s: flags.MaxDuration = None,
    device: flags.Device = None,
    must_continue: Annotated[
        bool, typer.Option("--continue", help="Go on with the run in the folder, and refuse if there is none.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete the run that is in the folder, and no other file, and train anew.")
    ] = False,
    strict: flags.Strict = False,
    overrides: flags.Overrides = None,
) -> None:  # fmt: skip
    """Fine-tune a backbone with a head, keeping a checkpoint every few steps.

    Step 0 is kept too, the run resumes exactly after an interruption, and the best checkpoint is recorded. Whatever has
    no option here (augmentation, adapters, ...) is set with --set finetune.KEY=VALUE. Several GPUs: torchrun
    --no-python --nproc-per-node N ser-probe finetune ...
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import NULL, StudyConfig
    from ser_probe.steps.finetune import finetune_manifest

    options = {
        "seed": seed,
        "data.manifest": str(manifest),
        "data.audio_root": None if audio_root is None else str(audio_root),
        "data.target": target,
        "data.labels": flags.names(labels),
        "split.scheme": scheme,
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
        "finetune.early_stopping": {None: None, True: {}, False: NULL}[early_stopping],
        "finetune.trained": trained,
        "finetune.spec_augment": spec_augment or None,
        "finetune.head.pooling": pooling,
        "finetune.head.layers": int(layers) if layers is not None and layers.isdecimal() else layers,
        "finetune.head.hidden": flags.whole_numbers(hidden, "--hidden"),
        "finetune.head.dropout": dropout,
        "finetune.targets": targets,
        "finetune.target_columns": flags.names(target_columns),
        "finetune.loss": loss,
        "finetune.class_weights": class_weights,
        "finetune.label_smoothing": label_smoothing,
        "finetune.precision": precision,
        "finetune.gradient_checkpointing": gradient_checkpointing or None,
        "finetune.device": device,
        **flags.clip_options(loudness_lufs, peak_dbfs, min_duration_s, max_duration_s, strict),
    }
    defaults = flags.study_defaults(output, split__scheme="manifest")
    study = checked(StudyConfig, options, overrides or [], defaults=defaults)
    with open_progress() as progress:
        outcome = finetune_manifest(
            study,
            output,
            seeds=flags.whole_numbers(seeds, "--seeds"),
            restart=restart,
            must_continue=must_continue,
            progress=progress,
        )
    finish(outcome)
