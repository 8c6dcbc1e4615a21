"""ser-probe classify and export-onnx: a fine-tuned classifier at work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.options import Offer, offer, offers
from ser_probe.cli.terminal import finish, print_json, print_result, print_table
from ser_probe.cli.words import checked

Checkpoint = Annotated[
    Path, typer.Argument(metavar="CHECKPOINT", help="Folder of a checkpoint, or of a run: its best checkpoint.")
]


def _offers() -> Iterator[Offer]:
    from ser_probe.config.evaluation import EvaluateConfig

    yield offer(EvaluateConfig, "", "device")


@offers(_offers)
def classify(
    checkpoint: Checkpoint,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Audio files, prepared as in training.")],
    output: Annotated[
        Path | None, flags.output("TABLE.csv", "CSV file to write, instead of printing.", flags.new_file)
    ] = None,
    as_json: flags.AsJson = False,
) -> None:
    """Classify audio files with a fine-tuned classifier: the label, and the probability of each.

    Of a classifier with numeric targets: their values, in their units. A file that cannot be used stops the command.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config.evaluation import EvaluateConfig
    from ser_probe.steps.classify import classify_files

    device = checked(EvaluateConfig).device
    with open_progress() as progress:
        table = classify_files(checkpoint, files, output=output, device=device, progress=progress)
    rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    if as_json:
        print_json(rows)
    elif output is not None:
        print_result(f"wrote {output}")
    else:
        print_table([{name: _short(value) for name, value in row.items()} for row in rows], list(table.columns))


def export_onnx(
    checkpoint: Checkpoint,
    output: Annotated[Path, flags.output("FILE", "ONNX file to write.", flags.new_file)],
) -> None:
    """Write a fine-tuned classifier as an ONNX model, and check it against torch on clips of several lengths.

    It takes the samples of one clip; labels, sampling rate and how files were prepared stand in its metadata.
    """
    from ser_probe.steps.classify import export_checkpoint

    finish(export_checkpoint(checkpoint, output))


def _short(value: object) -> object:
    return f"{value:.3f}" if isinstance(value, float) else value
