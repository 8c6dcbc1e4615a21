"""What the command line prints: results on stdout, progress and errors on stderr. Text from files is only text."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ser_probe.steps.outcome import Answer, Outcome

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
    """Print what a step did and found; end with exit code 1 where clips were rejected or a part failed.

    Files are counted in one line: an analysis writes dozens.
    """
    for name, value in outcome.summary.items():
        print_result(f"{name}: {value}")
    for answer in outcome.answers:
        print_result(f"\n{answer.title}:")
        print_answer(answer)
    if outcome.answers:
        print_result()
    for line in outcome.warnings:
        print_note(f"warning: {line}")
    if outcome.files:
        print_result(f"wrote {describe_files(outcome.files)}")
    if outcome.n_rejected:
        left_out = "1 clip was" if outcome.n_rejected == 1 else f"{outcome.n_rejected} clips were"
        listed = "" if outcome.rejects is None else f"; the reasons are in {outcome.rejects}"
        print_note(f"{left_out} left out as unusable{listed}")
    if outcome.failed:
        print_note(f"could not be made on these data: {', '.join(outcome.failed)}; the reasons are above")
    if outcome.n_rejected or outcome.failed:
        raise typer.Exit(EXIT_FAULT)


def describe_files(files: Sequence[Path]) -> str:
    """Return what was written in one line: tables, figures and caches are counted, other files named, the last first.

    A table is a Parquet file with the CSV beside it, a figure a PNG with its SVG.
    """
    tables = {path.with_suffix("") for path in files if path.suffix == ".parquet"}
    counted: dict[str, dict[Path, None]] = {}
    named = []
    for path in files:
        is_table = path.suffix in (".parquet", ".csv") and path.with_suffix("") in tables
        kind = "table" if is_table else _COUNTED.get(path.suffix)
        if kind is None:
            named.append(path)
        else:
            counted.setdefault(kind, {})[path if kind == _CACHE else path.with_suffix("")] = None
    if len(counted.get(_CACHE, {})) <= _MOST_NAMED:
        named = [*counted.pop(_CACHE, {}), *named]
    shown = [str(path) for path in reversed(named[-_MOST_NAMED:])]
    if len(named) > _MOST_NAMED:
        shown.append(f"{len(named) - _MOST_NAMED} other files")
    if counted:
        kinds = [f"{len(paths)} {kind}{'s' if len(paths) > 1 else ''}" for kind, paths in counted.items()]
        folder = Path(os.path.commonpath([path.parent for paths in counted.values() for path in paths]))
        listed = " and ".join([", ".join(kinds[:-1]), kinds[-1]] if len(kinds) > 1 else kinds)
        shown.append(f"{listed} in {folder}")
    return ", ".join(shown)


_CACHE = "embedding file"
_COUNTED = {".png": "figure", ".svg": "figure", ".h5": _CACHE, ".tex": "LaTeX table"}
_MOST_NAMED = 6
_MOST_ROWS = 12


def print_answer(answer: Answer) -> None:
    """Print a few rows: a line each, or where that is wider than the terminal a column each."""
    rows = answer.rows[:_MOST_ROWS]
    width = sum(max(len(line[place]) for line in (answer.columns, *rows)) + 2 for place in range(len(answer.columns)))
    if width <= shutil.get_terminal_size((120, 24)).columns or len(rows) > _MOST_COLUMNS:
        print_table([dict(zip(answer.columns, row, strict=True)) for row in rows], list(answer.columns))
    else:
        names = max(map(len, answer.columns))
        widths = [max(map(len, row)) for row in rows]
        for place, column in enumerate(answer.columns):
            cells = [row[place].ljust(wide) for row, wide in zip(rows, widths, strict=True)]
            print_result("  ".join([column.ljust(names), *cells]).rstrip())
    if len(answer.rows) > len(rows):
        print_result(f"... and {len(answer.rows) - len(rows)} more rows, in the tables")


_MOST_COLUMNS = 4


def print_table(rows: list[dict[str, object]], columns: list[str]) -> None:
    """Print rows under column heads on stdout, as wide as their text, so that it can be read and cut alike."""
    cells = [[plain(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in [columns, *cells]) for index in range(len(columns))]
    for line in [columns, *cells]:
        print_result("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
