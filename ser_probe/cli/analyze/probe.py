"""ser-probe analyze probe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked


def probe(
    caches: flags.CacheFiles,
    output: flags.TableFolder,
    clips: flags.Clips = None,
    name: flags.ModelNames = None,
    features: flags.Features = None,
    random: Annotated[
        Path | None,
        typer.Option(metavar="CACHE", help="The same architecture with random weights, as a control."),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option("--target", "--targets", metavar="A,B,...",
                     help="Columns to predict; egemaps or egemaps:NAME for acoustic functionals.",
                     show_default="label"),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="What targets are: auto (numbers, if over 10 different ones), classes or numbers.",
                     show_default="auto"),
    ] = None,
    groups: Annotated[
        str | None, typer.Option(help="Column never shared by two splits.", show_default="speaker")
    ] = None,
    families: Annotated[
        str | None,
        typer.Option(metavar="A,B,...",
                     help="Kinds of probe: linear, logistic, mlp, knn, layer_sum; numbers have ridge.",
                     show_default="linear"),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Initialisations per layer.", show_default="10")] = None,
    splits: Annotated[
        str | None,
        typer.Option(help="study: the splits in the file; heldout: its test speakers split anew; kfold or loso: each "
                     "tests once; study_e_published: clips at random; auto: heldout where that can be, else said.",
                     show_default="auto"),
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Groups of speakers for kfold.", show_default="5")] = None,
    among: Annotated[
        str | None,
        typer.Option(help="Clips that kfold and loso divide: test, or all of the file.", show_default="test"),
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
    description_length: Annotated[
        bool, typer.Option("--description-length", help="Also the code length of the labels given each layer.")
    ] = False,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Also scores over growing shares of the training clips.")
    ] = False,
    transfer: Annotated[bool, typer.Option(help="Also each file's probes applied to the other files.")] = True,
    directions: Annotated[bool, typer.Option(help="Also cosines between the directions of files' probes.")] = True,
) -> None:  # fmt: skip
    """Train probe heads on every layer of every file: where is the target readable, and did that change?"""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import ProbeConfig, SplitConfig
    from ser_probe.steps.analyses.cache_names import name_caches
    from ser_probe.steps.analyses.entries import run_analysis
    from ser_probe.steps.analyses.figures import draw_analysis
    from ser_probe.steps.analyses.inputs import Inputs
    from ser_probe.steps.analyses.representations import read_clips

    config = checked(
        ProbeConfig,
        {
            "targets": flags.names(targets),
            "task": task,
            "groups": groups,
            "families": flags.names(families),
            "seeds": seeds,
            "splits": splits,
            "folds": folds,
            "among": among,
            "controls": flags.names(controls),
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "max_epochs": max_epochs,
            "patience": patience,
            "min_delta": min_delta,
            "description_length": description_length or None,
            "learning_curve": learning_curve or None,
            "transfer": transfer,
            "directions": directions,
        },
        section="analyze.probe",
    )
    split = checked(SplitConfig, {"scheme": scheme, "seed": split_seed}, section="split")
    with open_progress() as progress:
        inputs = Inputs(
            output, caches=name_caches(caches, name), split=split, features=features, control=random,
            clips=read_clips(clips), progress=progress,
        )  # fmt: skip
        outcome = run_analysis("probe", inputs, config)
        outcome = draw_analysis(outcome, output, progress=progress)
    finish(outcome)
