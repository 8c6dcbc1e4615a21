"""ser-probe search: find values for some keys of a study before its final training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish


def search(
    study_file: Annotated[
        Path, typer.Argument(metavar="STUDY.yaml", help="The study; its section `search` says what is tried.")
    ],
    overrides: flags.Overrides = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trainings to compare, those done before included.", show_default="20")
    ] = None,
    then_train: Annotated[
        bool,
        typer.Option("--then-train", help="Train with the best values on all training speakers afterwards."),
    ] = False,
) -> None:
    """Search for values of some keys of a study: by default the learning rate, on half of the training speakers.

    Trials lie in runs/NAME/search/, with tables, figures, and best.yaml: the study with the best values. A search
    that was stopped goes on where it was; more trials can be asked for later. Needs the extra `search`.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import load_study
    from ser_probe.steps.search import search_study

    asked_for = [] if trials is None else [f"search.trials={trials}"]
    with open_progress() as progress:
        study = load_study(study_file, [*(overrides or []), *asked_for], command="search")
        outcome = search_study(study, then_train=then_train, progress=progress)
    finish(outcome)
