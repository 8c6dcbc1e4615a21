"""ser-probe prepare join: manifests of several corpora become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish

_SPLITS = ("auto", "keep", "drop")


def join(
    files: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Manifests, two or more.")],
    output: Annotated[Path, flags.output("FILE", "Manifest to write: CSV, TSV or Parquet.", flags.new_file)],
    labels: Annotated[
        str,
        typer.Option(metavar="common|all|LIST", help="Labels to keep: those of every corpus (common), all, or a list."),
    ] = "common",
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OLD=NEW",
            help="New name of a label, as excitement=happiness; of one corpus alone, as iemocap:excitement=happiness; "
            "OLD=- leaves it out. May be repeated.",
        ),
    ] = None,
    splits: Annotated[
        str,
        typer.Option(
            metavar="|".join(_SPLITS), help="auto keeps splits where every manifest has them; keep insists; drop drops."
        ),
    ] = "auto",
    audio_root: Annotated[
        Path | None,
        typer.Option(
            help="Folder that paths are to start from.",
            show_default="the output's own where all clips lie below it, else absolute paths",
        ),
    ] = None,
) -> None:
    """Join manifests of several corpora: people and clips kept apart, labels in one set of names.

    Words that mean one emotion become one name (joy, happy: happiness); two emotions are made one by --map alone. What
    is left out is counted by corpus and label, and listed beside the manifest. Speakers whose id is found in two
    corpora are named corpus/id.
    """
    from ser_probe.config.evaluation import parse_pairs
    from ser_probe.steps.prepare_join import join_files

    if splits not in _SPLITS:
        raise typer.BadParameter(f"expected {' or '.join(_SPLITS)}, found {splits!r}", param_hint="--splits")
    keep = labels if labels in ("common", "all") else flags.names(labels) or []
    outcome = join_files(
        files, output, labels=keep, label_map=parse_pairs(mapped or [], "--map", "excitement=happiness"),
        splits=splits, audio_root=audio_root,
    )  # fmt: skip
    finish(outcome)
