"""What the command line prints: results on stdout, progress and errors on stderr. Text from files is only text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ser_probe.steps.outcome import Outcome

EXIT_FAULT = 1
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def plain(text: object) -> str:
    """Return a text that a terminal shows and does not obey: control characters are written out."""
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in str(text))


def print_result(text: object = "") -> None:
    """Print a line of a result on stdout."""
    typer.echo(plain(text))


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_error(text: object) -> None:
    """Print a message on stderr, the word `error` in red where it is a terminal."""
    typer.echo(f"{typer.style('error', fg='red', bold=True)}: {plain(text)}", err=True)


def print_note(text: object) -> None:
    """Print a message that is no error on stderr."""
    typer.echo(plain(text), err=True)


def finish(outcome: Outcome) -> None:
    """Print what a step did; end with exit code 1 where clips were rejected or a part failed, when all else is done."""
    for name, value in outcome.summary.items():
        print_result(f"{name}: {value}")
    for path in outcome.files:
        print_result(f"wrote {path}")
    if outcome.n_rejected:
        left_out = "1 clip was" if outcome.n_rejected == 1 else f"{outcome.n_rejected} clips were"
        listed = "" if outcome.rejects is None else f"; the reasons are in {outcome.rejects}"
        print_note(f"{left_out} left out as unusable{listed}")
    if outcome.failed:
        print_note(f"could not be made on these data: {', '.join(outcome.failed)}; the reasons are above")
    if outcome.n_rejected or outcome.failed:
        raise typer.Exit(EXIT_FAULT)


def print_table(rows: list[dict[str, object]], columns: list[str]) -> None:
    """Print rows under column heads on stdout, as wide as their text, so that it can be read and cut alike."""
    cells = [[plain(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in [columns, *cells]) for index in range(len(columns))]
    for line in [columns, *cells]:
        print_result("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
