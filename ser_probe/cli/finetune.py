"""ser-probe finetune: train a backbone and a head on a manifest, with a checkpoint every k steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.options import Flag, Offer, offer, offers
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked


def _offers() -> Iterator[Offer]:
    from ser_probe.config.finetune import FinetuneConfig, HeadConfig
    from ser_probe.config.sections import BackboneConfig, DataConfig, SplitConfig

    yield offer(DataConfig, "data", "audio_root target labels")
    yield offer(BackboneConfig, "backbone", "revision random_weights")
    new_split = Flag(default="manifest", help="How to split the speakers anew; manifest: its split column.")
    yield offer(SplitConfig, "split", "scheme fold folds", flags={"scheme": new_split})
    yield offer(FinetuneConfig, "finetune", but="enabled seed head lora augment keep_optimizer device")
    yield offer(HeadConfig, "finetune.head")
    yield from flags.clip_offers()
    yield offer(FinetuneConfig, "finetune", "device")


@offers(_offers, spelled=flags.OF_A_MANIFEST | {"seed": "--seed"}, former={"--split": "--scheme"})
def finetune(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Manifest with labels and speakers.")],
    model: flags.Model,
    output: Annotated[Path, flags.output("DIR", "Folder of the run; an unfinished run goes on.")],
    seeds: Annotated[
        str | None, typer.Option(help="Several runs, as 0-9 or 0,3,5, in DIR/seed-<n>.", show_default="one run")
    ] = None,
    must_continue: Annotated[
        bool, typer.Option("--continue", help="Go on with the run in the folder, and refuse if there is none.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete the run that is in the folder, and no other file, and train anew.")
    ] = False,
    seed: flags.Seed = None,
    overrides: flags.Overrides = None,
) -> None:
    """Fine-tune a backbone with a head, keeping a checkpoint every few steps.

    Step 0 is kept too, the run resumes exactly after an interruption, and the best checkpoint is recorded. Whatever has
    no option here (augmentation, adapters, ...) is set with --set finetune.KEY=VALUE. Several GPUs: torchrun
    --no-python --nproc-per-node N ser-probe finetune ...
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import StudyConfig
    from ser_probe.steps.finetune import finetune_manifest

    given = {"seed": seed, "data.manifest": str(manifest), "backbone.name": model}
    study = checked(StudyConfig, given, overrides or [], defaults=flags.study_defaults(output))
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
