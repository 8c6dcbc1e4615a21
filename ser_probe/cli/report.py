"""ser-probe report: figures and one HTML file from the tables of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli.terminal import finish


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a study, with its tables.")],
) -> None:
    """Draw the figures of a study again and write its report, one HTML file that needs no network."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.steps.report import write_report

    with open_progress() as progress:
        outcome = write_report(run_dir, progress=progress)
    finish(outcome)
