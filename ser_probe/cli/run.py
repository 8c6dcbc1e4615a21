"""ser-probe run: a whole study from one YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish, print_result


def run(
    study_file: Annotated[
        Path | None, typer.Argument(metavar="STUDY.yaml", help="The study.", show_default=False)
    ] = None,
    overrides: flags.Overrides = None,
    force: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help="Run a stage though it is fresh; `all` for every one. May be repeated."),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the study with every default spelled out, and stop.")
    ] = False,
    schema_file: Annotated[
        Path | None,
        typer.Option(
            "--write-schema",
            metavar="FILE",
            help="Write the JSON schema of a study for editors, and stop.",
            callback=flags.new_file,
        ),
    ] = None,
) -> None:
    """Run a study: prepare, fine-tune, evaluate, extract, analyse, report.

    What is fresh is skipped, and said so; a study that was stopped goes on where it was. Paths in the file
    start from the current folder.
    """
    if schema_file is not None:
        from ser_probe.config import json_schema
        from ser_probe.files import write_json

        write_json(schema_file, json_schema())
        print_result(f"wrote {schema_file}")
        return
    if study_file is None:
        raise typer.BadParameter("give the study's YAML file", param_hint="STUDY.yaml")
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import load_study, study_yaml

    with open_progress() as progress:
        study = load_study(study_file, overrides or [], command="run")
        if print_config:
            print_result(study_yaml(study).rstrip())
            return
        from ser_probe.steps.study.run import run_study

        outcome = run_study(study, progress=progress, force=force or [])
    finish(outcome)
