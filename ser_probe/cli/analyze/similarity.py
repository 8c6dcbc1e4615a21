"""ser-probe analyze similarity."""

from __future__ import annotations

from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked


def similarity(
    caches: flags.CacheFiles,
    output: flags.TableFolder,
    clips: flags.Clips = None,
    name: flags.ModelNames = None,
    features: flags.Features = None,
    measures: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="What to measure: cka_debiased, procrustes, rsa and so on.",
                     show_default="cka_debiased,cka"),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Pairs of layers: within each file, across a model's files, models, all.",
                     show_default="within,across,models"),
    ] = None,
    permutations: Annotated[
        int | None, typer.Option(help="Permutations for p values; 0 for none.", show_default="199")
    ] = None,
    permute: Annotated[
        str | None, typer.Option(help="What is permuted: clips, within-speaker or speakers.", show_default="clips")
    ] = None,
    permuted: Annotated[
        str | None, typer.Option(help="Pairs that get a p value: features or all.", show_default="features")
    ] = None,
    intervals: Annotated[
        str | None, typer.Option(help="Intervals over speakers: none, fast or all.", show_default="fast")
    ] = None,
    neighbours: Annotated[int | None, typer.Option(help="The k of mutual_knn.", show_default="10")] = None,
    rdm: Annotated[
        str | None, typer.Option(help="Dissimilarity of RSA: correlation or euclidean.", show_default="correlation")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=flags.LARGEST_SEED, help="Seed of permutations, folds and minibatches.")
    ] = 0,
    splits: flags.ClipSplits = None,
    by_corpus: flags.ByCorpus = True,
) -> None:  # fmt: skip
    """Compare layers with features, with each other, and between files."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AnalyzeConfig, SimilarityConfig
    from ser_probe.steps.analyses.cache_names import name_caches
    from ser_probe.steps.analyses.entries import run_analysis
    from ser_probe.steps.analyses.figures import draw_analysis
    from ser_probe.steps.analyses.inputs import Inputs
    from ser_probe.steps.analyses.representations import read_clips

    options = {
        "splits": flags.listed(splits) or "all",
        "by_corpus": by_corpus,
        "similarity.measures": flags.names(measures),
        "similarity.egemaps": features is not None,
        "similarity.pairs": flags.names(pairs),
        "similarity.permutations": permutations,
        "similarity.permute": permute,
        "similarity.permuted": permuted,
        "similarity.intervals": intervals,
        "similarity.neighbours": neighbours,
        "similarity.rdm": rdm,
    }
    config = checked(AnalyzeConfig, options, section="analyze")
    with open_progress() as progress:
        inputs = Inputs(
            output, caches=name_caches(caches, name), features=features, clips=read_clips(clips),
            splits=config.splits, by_corpus=config.by_corpus, seed=seed, progress=progress,
        )  # fmt: skip
        outcome = run_analysis("similarity", inputs, config.section(SimilarityConfig) or SimilarityConfig())
        outcome = draw_analysis(outcome, output, progress=progress)
    finish(outcome)
