"""ser-probe models: the backbones that are known by name."""

from __future__ import annotations

from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import print_json, print_result, print_table

COLUMNS = ["name", "family", "layers", "width", "parameters_m", "sample_rate_hz", "input", "norms", "licence"]


def models(
    family: Annotated[str | None, typer.Option(help="Show one family alone, such as wavlm.")] = None,
    as_json: flags.AsJson = False,
) -> None:
    """List the backbones that are known by name, and say which others work.

    Parameters are those of the encoder, in millions. Norms: in the convolutional front end, and before (pre) or after
    (post) the parts of each block. A model that hears 30 s hears a clip with silence behind it.
    """
    from ser_probe.steps.models import OTHERS, list_models

    rows = list_models(family)
    if as_json:
        print_json(rows)
        return
    print_table(rows, COLUMNS)
    print_result(f"\n{OTHERS}")
