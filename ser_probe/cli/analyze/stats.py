"""ser-probe analyze stats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked


def stats(
    table: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="Results, a row each (or means, with --from-moments): CSV, TSV, Parquet."),
    ],
    response: Annotated[str, typer.Option(metavar="COLUMN", help="Column that is explained; numbers.")],
    factors: Annotated[str, typer.Option(metavar="A,B,...", help="Columns that explain it.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to.",
                                           callback=flags.new_folder)],
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE,...", help="Rows to take, as measure=uar,split=test. May be repeated.",
                     show_default="all rows"),
    ] = None,
    apart: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns whose values are analysed apart.", show_default="none"),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(metavar="COLUMN",
                     help="What counts as one observation: its rows of a cell are averaged; pairs match by it.",
                     show_default="every row"),
    ] = None,
    random: Annotated[
        str | None,
        typer.Option(metavar="COLUMN|off", help="Add a mixed model with this random effect (speaker, seed).",
                     show_default="auto: the unit"),
    ] = None,
    order: Annotated[int | None, typer.Option(help="Highest order of interaction.", show_default="all")] = None,
    type: Annotated[int | None, typer.Option(help="Type of sums of squares, 2 or 3.", show_default="3")] = None,
    contrasts: Annotated[
        str | None,
        typer.Option(metavar="A,A:B,...", help="Compare the levels of A; of A within each level of B.",
                     show_default="every factor"),
    ] = None,
    pairs: Annotated[
        str | None, typer.Option(help="all pairs of levels, or each against the first.", show_default="all")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(help="welch, pooled, mann-whitney, paired or residual.",
                     show_default="auto: paired by the unit, else welch"),
    ] = None,
    correct: Annotated[
        str | None, typer.Option(help="Correction that the words go by: holm or bh.", show_default="holm")
    ] = None,
    equivalence: Annotated[
        str | None,
        typer.Option(metavar="BOUND", help="Test equivalence within 0.02, or 0.5g standard deviations.",
                     show_default="no test"),
    ] = None,
    effects: Annotated[
        str | None,
        typer.Option(metavar="D,D,...", help="Smallest effects of interest, in standard deviations.",
                     show_default="0.5,0.8,1.2"),
    ] = None,
    power: Annotated[float | None, typer.Option(help="Power that is wanted.", show_default="0.8")] = None,
    alpha: Annotated[float | None, typer.Option(help="Level of all tests.", show_default="0.05")] = None,
    sd: Annotated[
        str | None,
        typer.Option(help="Standard deviation printed, or read from means: sample or population.",
                     show_default="sample"),
    ] = None,
    from_moments: Annotated[
        bool, typer.Option("--from-moments", help="The table has a row a cell, with columns mean, sd and n.")
    ] = False,
) -> None:  # fmt: skip
    """Test what explains a result: analysis of variance, comparisons, effect sizes, power, in tables and words."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import NULL, StatsConfig
    from ser_probe.steps.analyses.entries import run_analysis
    from ser_probe.steps.analyses.figures import draw_analysis
    from ser_probe.steps.analyses.inputs import Inputs

    options: dict[str, Any] = {
        "response": response,
        "factors": flags.names(factors),
        "where": _filters(where or []),
        "apart": flags.names(apart) or [],
        "unit": unit or NULL,
        "random": NULL if random == flags.OFF else random,
        "order": order,
        "type": type,
        "contrasts": flags.names(contrasts) or [],
        "pairs": pairs or "all",
        "test": test,
        "correct": correct,
        "equivalence": equivalence,
        "effects": _numbers(effects),
        "power": power,
        "alpha": alpha,
        "sd": sd,
    }
    config = checked(StatsConfig, options, section="analyze.stats")
    with open_progress() as progress:
        inputs = Inputs(output, table=table, from_moments=from_moments, progress=progress)
        outcome = run_analysis("stats", inputs, config)
        outcome = draw_analysis(outcome, output, progress=progress)
    finish(outcome)


def _filters(texts: list[str]) -> dict[str, Any]:
    """Return `measure=uar,split=test` as values by column; a column that comes twice has both values.

    Raises:
        typer.BadParameter: If an entry has no `=`.
    """
    found: dict[str, list[str]] = {}
    for entry in (entry for text in texts for entry in flags.names(text) or []):
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not (equals and name and value):
            raise typer.BadParameter(f"expected COLUMN=VALUE, found {entry!r}", param_hint="--where")
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _numbers(text: str | None) -> list[float] | None:
    """Return `0.5,0.8` as numbers.

    Raises:
        typer.BadParameter: If an entry is none.
    """
    try:
        return None if text is None else [float(entry) for entry in flags.names(text) or []]
    except ValueError as error:
        raise typer.BadParameter(f"expected numbers, found {text!r}", param_hint="--effects") from error
