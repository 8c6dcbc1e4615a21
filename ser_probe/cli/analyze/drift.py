"""ser-probe analyze drift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked


def drift(
    caches: flags.CacheFiles,
    reference: Annotated[Path, typer.Option(metavar="CACHE", help="File to measure from, usually step 0.")],
    output: flags.TableFolder,
    clips: flags.Clips = None,
    name: flags.ModelNames = None,
    floor: Annotated[
        list[Path] | None,
        typer.Option(metavar="CACHE", help="The reference extracted again, with another precision or batch size: what "
                     "drift has to exceed. May be repeated."),
    ] = None,
    seed_caches: Annotated[
        list[Path] | None,
        typer.Option(metavar="CACHE", help="A checkpoint of the same step of another fine-tuning seed, for a floor "
                     "between seeds. May be repeated."),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Checkpoint, or folder of them such as runs/<study>/checkpoints, for the "
                     "drift of weights. May be repeated."),
    ] = None,
    measures: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="What to measure.",
                     show_default="cka_debiased,procrustes,mean_cosine,mean_cosine_centred,knn_overlap,"
                     "relative_norm_change,mean_shift,covariance_shift"),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="first: the reference; previous: the checkpoint before.",
                     show_default="first,previous"),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns of the clips to give drift by.", show_default="label,speaker"),
    ] = None,
    neighbours: Annotated[
        int | None, typer.Option(help="Nearest clips that knn_overlap counts.", show_default="10")
    ] = None,
    splits: flags.ClipSplits = None,
    by_corpus: flags.ByCorpus = True,
) -> None:  # fmt: skip
    """Measure how far each layer moved from a reference file and from the checkpoint before."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AnalyzeConfig, DriftConfig
    from ser_probe.steps.analyses.cache_names import name_caches, named_like
    from ser_probe.steps.analyses.checkpoint_weights import find_checkpoints
    from ser_probe.steps.analyses.entries import run_analysis
    from ser_probe.steps.analyses.figures import draw_analysis
    from ser_probe.steps.analyses.inputs import Inputs
    from ser_probe.steps.analyses.representations import read_clips

    options = {
        "splits": flags.listed(splits) or "all",
        "by_corpus": by_corpus,
        "drift.measures": flags.names(measures),
        "drift.against": flags.names(against),
        "drift.by": flags.names(by),
        "drift.neighbours": neighbours,
    }
    config = checked(AnalyzeConfig, options, section="analyze")
    checkpoints = find_checkpoints(weights) if weights else {}
    named = name_caches(caches, name)
    with open_progress() as progress:
        inputs = Inputs(
            output, caches=named, reference=named_like(reference, named), repeats=floor or (),
            seed_caches=seed_caches or (), checkpoints=checkpoints, clips=read_clips(clips),
            splits=config.splits, by_corpus=config.by_corpus, progress=progress,
        )  # fmt: skip
        outcome = run_analysis("drift", inputs, config.section(DriftConfig) or DriftConfig())
        outcome = draw_analysis(outcome, output, progress=progress)
    finish(outcome)
