"""ser-probe extract: the embeddings of every layer of one model, for every clip of a manifest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.options import Offer, offer, offers
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked


def _offers() -> Iterator[Offer]:
    from ser_probe.config.sections import BackboneConfig, DataConfig, ExtractConfig

    yield offer(DataConfig, "data", "audio_root")
    yield offer(BackboneConfig, "backbone", "revision random_weights")
    yield offer(ExtractConfig, "extract", but="layers checkpoints egemaps random_control")
    yield from flags.clip_offers()


@offers(_offers, spelled=flags.OF_A_MANIFEST)
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
        Path, flags.output("FILE.h5|DIR", "Embedding file to write or to complete, or a folder.", flags.new_cache)
    ],
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

    given = {"data.manifest": str(manifest), "backbone.name": model[0]}
    defaults = flags.study_defaults(output, split__scheme="manifest")
    study = checked(StudyConfig, given, overrides or [], defaults=defaults)
    with open_progress() as progress:
        outcome = extract_manifest(study, output, models=model, shard=shard, prune=prune, progress=progress)
    finish(outcome)
