"""ser-probe analyze drift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish


def drift(
    caches: flags.CacheFiles,
    reference: Annotated[Path, typer.Option(metavar="CACHE", help="File to measure from, usually step 0.")],
    output: flags.TableFolder,
    clips: flags.Clips = None,
    measures: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="What to measure.",
                     show_default="cka_debiased,mean_cosine,relative_norm_change"),
    ] = None,
    splits: flags.ClipSplits = None,
) -> None:  # fmt: skip
    """Measure how far each layer moved from the same layer of a reference file."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AnalyzeConfig, check_options
    from ser_probe.steps.analyze_drift import measure_drift
    from ser_probe.steps.representations import read_clips

    options = {"splits": flags.listed(splits) or "all", "drift.measures": flags.names(measures)}
    config = check_options(AnalyzeConfig, options)
    with open_progress() as progress:
        outcome = measure_drift(
            caches, output, reference=reference, analyze=config, clips=read_clips(clips), progress=progress
        )
    finish(outcome)
