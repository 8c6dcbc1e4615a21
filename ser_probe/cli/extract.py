"""ser-probe extract: the embeddings of every layer of one model, for every clip of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked


def extract(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Manifest of the clips: CSV, TSV or Parquet.")],
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            metavar="NAME_OR_DIR",
            help="Hugging Face id, local folder, checkpoint, tiny-*, or a fine-tuning run's folder for all of its "
            "checkpoints. May be repeated: checkpoints of one model share a pass.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.h5|DIR",
            help="Embedding file to write or to complete, or a folder.",
            callback=flags.new_cache,
        ),
    ],
    audio_root: flags.AudioRoot = None,
    revision: flags.Revision = None,
    random_weights: flags.RandomWeights = None,
    splits: flags.ClipSplits = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="What is stored of a clip's frames: mean, std, mean+std, max, sum, speech-mean, segments:K, frames. "
            "Several come from one pass, a file each.",
            show_default="mean",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Arithmetic: fp32 (exact), tf32, bf16, fp16; verify measures the cost.", show_default="fp32"),
    ] = None,
    loudness_lufs: flags.Loudness = None,
    peak_dbfs: flags.Peak = None,
    min_duration_s: flags.MinDuration = None,
    max_duration_s: flags.MaxDuration = None,
    long_clips: Annotated[
        str | None,
        typer.Option(
            metavar="reject|whole|chunk",
            help="What becomes of clips over --max-duration-s; chunk cuts them into overlapping pieces of that length.",
            show_default="reject",
        ),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Type on disk: float32 or float16.", show_default="float32")
    ] = None,
    batch_seconds: Annotated[
        float | None,
        typer.Option(help="Largest padded batch, in s of audio.", show_default="auto: 30 on a CPU, by memory on a GPU"),
    ] = None,
    max_clips: Annotated[int | None, typer.Option(help="Most clips in a batch.", show_default="off")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that decode audio ahead.", show_default="auto: on a CPU 0 or 1, up to 8 beside a GPU"
        ),
    ] = None,
    verify: Annotated[
        int | None, typer.Option(help="Clips to run again alone, to prove batching exact.", show_default="4")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N|auto",
            help="Do one of N parts, side by side with others; auto asks the SLURM array. torchrun is recognised.",
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove clips from the file that are not in the manifest (any more).")
    ] = False,
    device: flags.Device = None,
    strict: flags.Strict = False,
    overrides: flags.Overrides = None,
) -> None:
    """Extract the embeddings of all layers into HDF5 files, one per checkpoint and pooling.

    A run that was stopped, even killed, goes on where it was; a file that was made from other weights or
    other preprocessing is refused. The models eGeMAPSv02, GeMAPSv01b and
    ComParE_2016 are opensmile's acoustic features.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import StudyConfig
    from ser_probe.steps.extract import extract_manifest

    options = {
        "data.manifest": str(manifest),
        "data.audio_root": None if audio_root is None else str(audio_root),
        "backbone.name": model[0],
        "backbone.revision": revision,
        "backbone.random_weights": random_weights,
        "extract.splits": flags.listed(splits),
        "extract.pooling": flags.listed(pooling),
        "extract.precision": precision,
        "extract.long_clips": long_clips,
        "extract.storage": storage,
        "extract.batch_seconds": batch_seconds,
        "extract.max_clips": max_clips,
        "extract.workers": workers,
        "extract.verify": verify,
        "extract.device": device,
        **flags.clip_options(loudness_lufs, peak_dbfs, min_duration_s, max_duration_s, strict),
    }
    defaults = flags.study_defaults(output, split__scheme="manifest")
    study = checked(StudyConfig, options, overrides or [], defaults=defaults)
    with open_progress() as progress:
        outcome = extract_manifest(study, output, models=model, shard=shard, prune=prune, progress=progress)
    finish(outcome)
