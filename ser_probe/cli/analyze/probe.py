"""ser-probe analyze probe."""

from __future__ import annotations

from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish


def probe(
    caches: flags.CacheFiles,
    output: flags.TableFolder,
    clips: flags.Clips = None,
    features: flags.Features = None,
    target: Annotated[str | None, typer.Option(help="Column to predict.", show_default="label")] = None,
    groups: Annotated[
        str | None, typer.Option(help="Column never shared by two splits.", show_default="speaker")
    ] = None,
    families: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Kinds of probe: linear.", show_default="linear")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Initialisations per layer.", show_default="10")] = None,
    splits: Annotated[
        str | None,
        typer.Option(help="study: the splits in the file; heldout: its test speakers split anew.",
                     show_default="heldout"),
    ] = None,
    scheme: flags.Scheme = None,
    split_seed: Annotated[int | None, typer.Option(help="Seed of the new split.", show_default="0")] = None,
    controls: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="shuffled_labels, majority_class, or both.",
                     show_default="shuffled_labels,majority_class"),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.", show_default="0.01")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips per step.", show_default="16")] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Passes at most.", show_default="1000")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without improvement before stopping.", show_default="5")
    ] = None,
    min_delta: Annotated[
        float | None, typer.Option(help="Smallest improvement of the loss.", show_default="0.025")
    ] = None,
) -> None:  # fmt: skip
    """Train probe heads on every layer of every file: where is the target linearly readable?"""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import ProbeConfig, SplitConfig, check_options
    from ser_probe.steps.analyze_probe import probe_caches
    from ser_probe.steps.representations import read_clips

    config = check_options(
        ProbeConfig,
        {
            "target": target or "label",
            "groups": groups,
            "families": flags.names(families),
            "seeds": seeds,
            "splits": splits,
            "controls": flags.names(controls),
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "max_epochs": max_epochs,
            "patience": patience,
            "min_delta": min_delta,
        },
    )
    split = check_options(SplitConfig, {"scheme": scheme, "seed": split_seed})
    with open_progress() as progress:
        outcome = probe_caches(
            caches, output, probe=config, split=split, features=features, clips=read_clips(clips), progress=progress
        )
    finish(outcome)
