"""ser-probe prepare: a corpus folder becomes a checked manifest with splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish


def prepare(
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help="Importer: sample, emovo, emodb or crema_d.")],
    root: Annotated[
        Path, typer.Argument(metavar="ROOT", help="Folder of the corpus; for `sample`, where to synthesise it.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Manifest to write: CSV, TSV or Parquet.")
    ],
    scheme: flags.Scheme = None,
    fold: flags.Fold = None,
    folds: flags.Folds = None,
    seed: flags.Seed = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Option of the importer, as labels=voice_vote. May be repeated."),
    ] = None,
    labels: flags.Labels = None,
    min_duration_s: flags.MinDuration = None,
    max_duration_s: flags.MaxDuration = None,
    strict: flags.Strict = False,
    overrides: flags.Overrides = None,
) -> None:
    """Import a corpus, check every clip, split the speakers, and write a manifest.

    All faults are reported at once. Unusable clips are listed beside the manifest with the reason; the others
    go into it, and the exit code is 1.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import StudyConfig, check_options
    from ser_probe.steps.prepare import prepare_corpus

    clip_options, _ = flags.clip_options(None, None, min_duration_s, max_duration_s, strict)
    options = {
        "name": flags.study_name(output),
        "backbone.name": "none",  # a manifest serves any backbone, but the schema of a study asks for one
        "data.corpus": corpus,
        "data.root": str(root),
        "data.labels": flags.names(labels),
        "split.scheme": scheme,
        "split.fold": fold,
        "split.folds": folds,
        "split.seed": seed,
        **clip_options,
    }
    chosen = [f"data.options.{each}" for each in option or []]
    study = check_options(StudyConfig, options, [*chosen, *(overrides or [])])
    with open_progress() as progress:
        outcome = prepare_corpus(study.data, study.audio, study.split, output, progress=progress)
    finish(outcome)
