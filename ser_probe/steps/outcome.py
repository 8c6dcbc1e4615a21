"""What a step tells whoever called it. The command line prints it; a study's run puts it into its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """A few rows that answer what was asked, as the report has them.

    Args:
        title: What they are about.
        columns: The heads of the columns.
        rows: The cells, as text.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Outcome:
    """The result of a step.

    Attributes:
        files: What was written, or found fresh, the most important last.
        summary: Short facts to show, value by name, in order.
        n_rejected: Clips left out because they cannot be used; the exit code says so.
        rejects: The table that lists them with reasons.
        failed: What could not be made while the rest was, by name; the exit code says so.
        answers: What was found, in a few rows each.
        warnings: How what was found misleads.
    """

    files: tuple[Path, ...] = ()
    summary: dict[str, object] = field(default_factory=dict)
    n_rejected: int = 0
    rejects: Path | None = None
    failed: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = ()
    warnings: tuple[str, ...] = ()
