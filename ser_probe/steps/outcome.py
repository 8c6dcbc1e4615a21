"""The result of a step: the command line prints it; a study's run puts it into its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """A few rows that answer the question of an analysis, as the report shows them.

    Args:
        title: The title of the rows.
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
        files: Files that were written or are up to date, the most important last.
        summary: Short facts to show, value by name, in order.
        n_rejected: Clips left out because they cannot be used; the exit code says so.
        rejects: The table that lists them with reasons.
        failed: Names of parts that failed while the rest succeeded; the exit code says so.
        answers: The main results, a few rows each.
        warnings: How the results may mislead.
    """

    files: tuple[Path, ...] = ()
    summary: dict[str, object] = field(default_factory=dict)
    n_rejected: int = 0
    rejects: Path | None = None
    failed: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = ()
    warnings: tuple[str, ...] = ()
