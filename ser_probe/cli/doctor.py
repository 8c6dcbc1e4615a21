"""ser-probe doctor: what works here, what does not, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import EXIT_FAULT, print_json, print_result, print_table


def doctor(
    runs: Annotated[Path, typer.Option(help="Folder of the studies, to look for space.")] = Path("runs"),
    cache: Annotated[Path, typer.Option(help="Folder of the embedding files, to look for space.")] = Path("cache"),
    as_json: flags.AsJson = False,
) -> None:
    """Check this machine: packages, device, threads, memory, disk, audio formats, model downloads.

    Exit code 1 if something that every study needs cannot be used; what is optional is only listed.
    """
    from ser_probe.steps.doctor import examine

    findings = examine(runs=runs, cache=cache)
    usable = not any(finding.state == "fault" for finding in findings)
    if as_json:
        print_json({"usable": usable, "findings": [finding.as_dict() for finding in findings]})
    else:
        print_table([finding.as_dict() for finding in findings], ["state", "what", "found"])
        for finding in findings:
            if finding.fix is not None:
                print_result(f"\n{finding.what}: {finding.fix}")
    if not usable:
        raise typer.Exit(EXIT_FAULT)
