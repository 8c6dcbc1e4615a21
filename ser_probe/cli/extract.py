"""ser-probe extract: the embeddings of every layer of one model, for every clip of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish


def extract(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Manifest of the clips: CSV, TSV or Parquet.")],
    model: flags.Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.h5", help="Embedding file to write, or to complete.")
    ],
    audio_root: flags.AudioRoot = None,
    revision: flags.Revision = None,
    splits: flags.ClipSplits = None,
    loudness_lufs: flags.Loudness = None,
    peak_dbfs: flags.Peak = None,
    min_duration_s: flags.MinDuration = None,
    max_duration_s: flags.MaxDuration = None,
    storage: Annotated[
        str | None, typer.Option(help="Type on disk: float32 or float16.", show_default="float32")
    ] = None,
    batch_seconds: Annotated[
        float | None, typer.Option(help="Largest padded batch, in s of audio.", show_default="60.0")
    ] = None,
    max_clips: Annotated[int | None, typer.Option(help="Most clips in a batch.", show_default="64")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode audio ahead.", show_default="1")] = None,
    verify: Annotated[
        int | None, typer.Option(help="Clips to run again alone, to prove batching exact.", show_default="4")
    ] = None,
    device: flags.Device = None,
    strict: flags.Strict = False,
    overrides: flags.Overrides = None,
) -> None:
    """Extract the embeddings of all layers into one HDF5 file.

    A run that was stopped, even killed, goes on where it was; a file that was made from other weights or
    other preprocessing is refused. The models `eGeMAPSv02`,
    `GeMAPSv01b` and `ComParE_2016` are opensmile's sets of acoustic features.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import StudyConfig, check_options
    from ser_probe.steps.extract import extract_manifest

    clip_options, switched_off = flags.clip_options(loudness_lufs, peak_dbfs, min_duration_s, max_duration_s, strict)
    options = {
        "name": flags.study_name(output),
        "data.manifest": str(manifest),
        "data.audio_root": None if audio_root is None else str(audio_root),
        "split.scheme": "manifest",
        "backbone.name": model,
        "backbone.revision": revision,
        "extract.splits": flags.listed(splits),
        "extract.storage": storage,
        "extract.batch_seconds": batch_seconds,
        "extract.max_clips": max_clips,
        "extract.workers": workers,
        "extract.verify": verify,
        "extract.device": device,
        # Extracting a part of the clips must not clash with analyses that nobody asked for.
        "analyze.splits": "all" if splits is None else flags.listed(splits),
        **clip_options,
    }
    unused = ["analyze.probe=null", "analyze.similarity=null", "analyze.umap=null"]
    study = check_options(StudyConfig, options, [*unused, *switched_off, *(overrides or [])])
    with open_progress() as progress:
        outcome = extract_manifest(study, output, progress=progress)
    finish(outcome)
