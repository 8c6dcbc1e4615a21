"""ser-probe analyze geometry."""

from __future__ import annotations

from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked


def geometry(
    caches: flags.CacheFiles,
    output: flags.TableFolder,
    clips: flags.Clips = None,
    name: flags.ModelNames = None,
    features: flags.Features = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns by which classes should lie apart: silhouette, Fisher ratio.",
                     show_default="label,speaker"),
    ] = None,
    factors: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns among which the variance is shared out.",
                     show_default="label,speaker,gender,sentence"),
    ] = None,
    permutations: Annotated[
        int | None, typer.Option(help="Permutations of each column for the null; 0 for none.", show_default="20")
    ] = None,
    components: Annotated[
        int | None, typer.Option(help="Components of the spectrum that are listed.", show_default="64")
    ] = None,
    rank_intervals: Annotated[
        bool, typer.Option("--rank-intervals", help="Intervals of the effective ranks too; slower.")
    ] = False,
    splits: flags.ClipSplits = None,
    by_corpus: flags.ByCorpus = True,
    seed: Annotated[int, typer.Option(min=0, max=flags.LARGEST_SEED, help="Seed of the permutations.")] = 0,
) -> None:  # fmt: skip
    """Measure the shape of each layer: dimension, isotropy, and what its variance is about."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AnalyzeConfig, GeometryConfig
    from ser_probe.steps.analyses.cache_names import name_caches
    from ser_probe.steps.analyses.entries import run_analysis
    from ser_probe.steps.analyses.figures import draw_analysis
    from ser_probe.steps.analyses.inputs import Inputs
    from ser_probe.steps.analyses.representations import read_clips

    options = {
        "splits": flags.listed(splits) or "all",
        "by_corpus": by_corpus,
        "geometry.by": flags.names(by),
        "geometry.factors": flags.names(factors),
        "geometry.permutations": permutations,
        "geometry.components": components,
        "geometry.rank_intervals": rank_intervals or None,
    }
    config = checked(AnalyzeConfig, options, section="analyze")
    with open_progress() as progress:
        inputs = Inputs(
            output, caches=name_caches(caches, name), features=features, clips=read_clips(clips),
            splits=config.splits, by_corpus=config.by_corpus, seed=seed, progress=progress,
        )  # fmt: skip
        outcome = run_analysis("geometry", inputs, config.section(GeometryConfig) or GeometryConfig())
        outcome = draw_analysis(outcome, output, progress=progress)
    finish(outcome)
