"""ser-probe analyze acoustics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked


def acoustics(
    caches: flags.CacheFiles,
    features: Annotated[Path, typer.Option(metavar="EGEMAPS.h5", help="File of acoustic functionals to predict.")],
    output: flags.TableFolder,
    clips: flags.Clips = None,
    name: flags.ModelNames = None,
    random: Annotated[
        Path | None,
        typer.Option(metavar="CACHE", help="File of the same architecture with random weights, as a control."),
    ] = None,
    transform: Annotated[
        str | None,
        typer.Option(help="none, or rank: predict normal scores of the ranks, so that no clip decides alone.",
                     show_default="none"),
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Folds of speakers.", show_default="5")] = None,
    inner_folds: Annotated[
        int | None, typer.Option(help="Folds of training speakers that choose each ridge.", show_default="4")
    ] = None,
    controls: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Controls, or an empty text for none.",
                     show_default="shuffled_clips,gender_only"),
    ] = None,
    cka: Annotated[bool, typer.Option(help="CKA with each group of functionals, beside.")] = True,
    splits: flags.ClipSplits = None,
    by_corpus: flags.ByCorpus = True,
    seed: Annotated[
        int, typer.Option(min=0, max=flags.LARGEST_SEED, help="Seed of the folds and of the shuffled clips.")
    ] = 0,
) -> None:  # fmt: skip
    """Predict every acoustic functional from each layer: what is kept of the voice, what is lost and gained?"""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AcousticsConfig, AnalyzeConfig
    from ser_probe.steps.analyses.cache_names import name_caches
    from ser_probe.steps.analyses.entries import run_analysis
    from ser_probe.steps.analyses.figures import draw_analysis
    from ser_probe.steps.analyses.inputs import Inputs
    from ser_probe.steps.analyses.representations import read_clips

    options = {
        "splits": flags.listed(splits) or "all",
        "by_corpus": by_corpus,
        "acoustics.transform": transform,
        "acoustics.folds": folds,
        "acoustics.inner_folds": inner_folds,
        "acoustics.controls": flags.names(controls),
        "acoustics.cka": cka,
    }
    config = checked(AnalyzeConfig, options, section="analyze")
    with open_progress() as progress:
        inputs = Inputs(
            output, caches=name_caches(caches, name), features=features, control=random, clips=read_clips(clips),
            splits=config.splits, by_corpus=config.by_corpus, seed=seed, progress=progress,
        )  # fmt: skip
        outcome = run_analysis("acoustics", inputs, config.section(AcousticsConfig) or AcousticsConfig())
        outcome = draw_analysis(outcome, output, progress=progress)
    finish(outcome)
