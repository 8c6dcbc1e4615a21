"""ser-probe audit: what in a corpus would make results false."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.options import Flag, Offer, offer, offers
from ser_probe.cli.terminal import EXIT_FAULT, finish, print_json, print_note, print_result
from ser_probe.cli.words import checked


def _offers() -> Iterator[Offer]:
    from ser_probe.config.audit import AuditConfig

    yield offer(AuditConfig, "", flags={"fail_on": Flag(metavar="KIND,...")})


@offers(_offers)
def audit(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Manifest of the clips: CSV, TSV or Parquet.")],
    output: Annotated[Path, flags.output("DIR", "Folder of the tables and figures.")],
    audio_root: flags.AudioRoot = None,
    splits: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|FILE",
            help="A split made elsewhere: a column of the manifest, or a file with columns path and split.",
            show_default="the manifest's column split",
        ),
    ] = None,
    as_json: flags.AsJson = False,
) -> None:
    """Say what in a corpus would make results false: leaks, shortcuts that are not voice, faults of files.

    Every file is opened and decoded once. Copies are found under other levels, cuts, rates and containers; speakers
    and sentences across splits are named. Exit code 1 where --fail-on names a kind of which more than notes was found.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config.audit import AuditConfig
    from ser_probe.steps.audit import audit_manifest

    config = checked(AuditConfig)
    with open_progress() as progress:
        found = audit_manifest(manifest, output, config, audio_root=audio_root, splits=splits, progress=progress)
    if as_json:
        print_json({"findings": found.findings.to_dict("records"), "files": found.outcome.files})
    else:
        for row in found.findings.to_dict("records"):
            print_result(f"{row['severity']}, {row['kind']}: {row['words']}")
        if found.findings.empty:
            print_result("nothing was found that would make results false")
        print_result()
        finish(found.outcome)
    if found.failing:
        print_note(f"--fail-on: {', '.join(dict.fromkeys(finding.check for finding in found.failing))}")
        raise typer.Exit(EXIT_FAULT)
