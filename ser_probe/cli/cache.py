"""ser-probe cache: look into embedding files, and check them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import EXIT_FAULT, print_json, print_result, print_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look into embedding files, and check them.")

Files = Annotated[list[Path], typer.Argument(metavar="CACHE", help="Embedding files, or folders of them.")]


@app.command("info")
def info(files: Files, as_json: flags.AsJson = False) -> None:
    """Show what embedding files hold: model, checkpoint, layers, clips, preprocessing, key."""
    from ser_probe.steps.cache import describe_caches

    descriptions = describe_caches(files)
    if as_json:
        print_json(descriptions)
        return
    for index, description in enumerate(descriptions):
        if index:
            print_result()
        for name, value in description.items():
            print_result(f"{name}: {value}")


@app.command("verify")
def verify(files: Files, as_json: flags.AsJson = False) -> None:
    """Check embedding files: structure, key, finite values, one row per clip. Exit code 1 if one is damaged."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.steps.cache import verify_caches

    with open_progress() as progress:
        checks = verify_caches(files, progress=progress)
    if as_json:
        print_json(checks)
    else:
        print_table(checks, ["file", "state", "detail"])
    if any(check["state"] != "ok" for check in checks):
        raise typer.Exit(EXIT_FAULT)
