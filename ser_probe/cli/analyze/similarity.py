"""ser-probe analyze similarity."""

from __future__ import annotations

from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish


def similarity(
    caches: flags.CacheFiles,
    output: flags.TableFolder,
    clips: flags.Clips = None,
    features: flags.Features = None,
    measures: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="cka_debiased, cka, or both.", show_default="cka_debiased,cka"),
    ] = None,
    within: Annotated[bool, typer.Option(help="All pairs of layers within each file.")] = True,
    across: Annotated[bool, typer.Option(help="All pairs of layers between the first file and each other.")] = True,
    splits: flags.ClipSplits = None,
) -> None:
    """Compare layers with features, with each other, and between files."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AnalyzeConfig, check_options
    from ser_probe.steps.analyze_similarity import compare_caches
    from ser_probe.steps.representations import read_clips

    options = {
        "splits": flags.listed(splits) or "all",
        "similarity.measures": flags.names(measures),
        "similarity.egemaps": features is not None,
        "similarity.layers_within": within,
        "similarity.across": across,
    }
    config = check_options(AnalyzeConfig, options)
    with open_progress() as progress:
        outcome = compare_caches(
            caches, output, features=features, analyze=config, clips=read_clips(clips), progress=progress
        )
    finish(outcome)
