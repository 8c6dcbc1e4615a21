"""ser-probe prepare audio: a tree of clips, levelled, trimmed and resampled, beside the originals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli.options import Offer, offer, offers
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked
from ser_probe.names.sample_formats import SAMPLE_FORMATS


def _offers() -> Iterator[Offer]:
    from ser_probe.config.sections import AudioConfig

    yield offer(AudioConfig, "audio", "loudness_lufs peak_dbfs trim max_duration_s")


@offers(_offers)
def prepare_audio(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Folder of clips, or a manifest: CSV, TSV, Parquet or Excel.")
    ],
    output: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Folder for the prepared clips; new, or of the same command before."),
    ],
    sample_rate_hz: Annotated[int, typer.Option(min=1000, max=192_000, help="Sampling rate to write, in Hz.")] = 16_000,
    sample_format: Annotated[
        str,
        typer.Option(
            metavar="|".join(SAMPLE_FORMATS), help="Samples in the files; float32 keeps them as extraction hears them."
        ),
    ] = "float32",
    audio_root: Annotated[
        Path | None,
        typer.Option(help="Folder that a manifest's paths start from.", show_default="the manifest's own folder"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes; 0 works in this one.", show_default="one a processor")
    ] = None,
) -> None:
    """Write prepared copies of clips: mono, resampled, with silence removed and loudness normalised as asked.

    The originals stay untouched. OUT gets the same tree, manifest.csv with the new paths, and preparation.csv with what
    was done to each clip. Extraction with the same settings hears the same samples in the originals. A run that was
    stopped goes on where it was.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AudioConfig
    from ser_probe.steps.prepare_audio import prepare_audio as prepare

    if sample_format not in SAMPLE_FORMATS:
        expected = " or ".join(SAMPLE_FORMATS)
        raise typer.BadParameter(f"expected {expected}, found {sample_format!r}", param_hint="--sample-format")
    audio = checked(AudioConfig, section="audio")
    with open_progress() as progress:
        outcome = prepare(
            source, output, audio, sample_rate_hz=sample_rate_hz, sample_format=sample_format, audio_root=audio_root,
            workers=workers, progress=progress,
        )  # fmt: skip
    finish(outcome)
