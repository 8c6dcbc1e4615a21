"""ser-probe curves: training curves side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish


def curves(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Folders of runs or studies.")],
    output: Annotated[Path, flags.output("DIR", "Folder for the figure and its table.")],
) -> None:
    """Draw the training curves of one or many runs side by side: losses, validation scores, learning rate."""
    from ser_probe.steps.curves import compare_runs

    finish(compare_runs(runs, output))
