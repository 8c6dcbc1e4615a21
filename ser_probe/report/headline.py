"""A headline table of the report: what it consists of, and how intervals are written in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Headline:
    """A table of a few rows that answers one of the study's questions.

    Args:
        table: Name of the table without which there is none.
        title: What the report calls it.
        remark: How to read it.
        make: Takes all tables by name; returns the rows, none where there is nothing to say.
        say: Takes the same; returns the sentences that give the answer before the rows.
    """

    table: str
    title: str
    remark: str
    make: Callable[[Mapping[str, pd.DataFrame]], pd.DataFrame]
    say: Callable[[Mapping[str, pd.DataFrame]], list[str]] = lambda _: []


def interval_text(low: float | None, high: float | None, digits: str = ".3f") -> str | None:
    """Return an interval as text; None where there is none (too few speakers)."""
    return None if pd.isna(low) else f"{low:{digits}} to {high:{digits}}"
