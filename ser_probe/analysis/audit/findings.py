"""A finding of the audit: of which kind, how grave, in which words, and which clips. And the tables of findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

KINDS = ("leak", "shortcut", "health")
SEVERITIES = ("error", "warning", "note")
"""`error` makes results false, `warning` may, `note` is worth knowing: what is usual in acted corpora."""
MOST_SHOWN = 4


@dataclass(frozen=True)
class Finding:
    """Something in the data that can make results false.

    Args:
        kind: One of `KINDS`.
        check: What was looked for, one word for tables and scripts.
        severity: One of `SEVERITIES`.
        words: One sentence or two: what is so, and what it does.
        clips: Paths of the clips that it is about, as the manifest writes them.
    """

    kind: str
    check: str
    severity: str
    words: str
    clips: tuple[str, ...] = ()


def findings_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """Return a row a finding, gravest first: kind, check, severity, words, n_clips."""
    rows = sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), KINDS.index(finding.kind)))
    columns = ["kind", "check", "severity", "words", "n_clips"]
    values = [(row.kind, row.check, row.severity, row.words, len(row.clips)) for row in rows]
    return pd.DataFrame(values, columns=columns).astype({"n_clips": int})


def clips_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """Return a row for each clip of each finding: check, severity, path."""
    rows = [(finding.check, finding.severity, path) for finding in findings for path in finding.clips]
    return pd.DataFrame(rows, columns=["check", "severity", "path"], dtype=str)


def failing(findings: Iterable[Finding], kinds: Sequence[str]) -> list[Finding]:
    """Return the findings of these kinds that are more than a note."""
    return [finding for finding in findings if finding.kind in kinds and finding.severity != "note"]


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 clip` or `2 clips`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def listed(names: Iterable[object], most: int = MOST_SHOWN, separator: str = ", ") -> str:
    """Return the first of several names, and how many more there are."""
    texts = [str(name) for name in names]
    more = f"{separator}and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more
