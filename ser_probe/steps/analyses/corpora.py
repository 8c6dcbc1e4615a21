"""The clips of each corpus beside those of all corpora together.

Over several corpora whatever sets them apart (channel, language, how emotions were elicited) is part of every
representation, so that values of all clips pooled say first of all that both know the corpus. Analyses of how clips lie
to each other are therefore made of each corpus too, as if its clips were all there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ser_probe.errors import AnalysisError
from ser_probe.report.tables import POOLED
from ser_probe.runtime import Progress
from ser_probe.steps.analyses.representations import Joined
from ser_probe.steps.study.left_out import Counted

T = TypeVar("T")

MIN_CLIPS = 10
"""Clips that a corpus needs for values of its own: those of fewer are all noise."""


@dataclass(frozen=True)
class Part:
    """Clips that are analysed together.

    Args:
        corpus: Name of the corpus, `all` for all clips; empty where nothing is told apart.
        places: Which of the joined clips, in their order.
        joined: These clips.
    """

    corpus: str
    places: np.ndarray
    joined: Joined

    @property
    def beside(self) -> dict[str, Any]:
        """What progress shows beside its bar: the corpus, where corpora are told apart."""
        return {"corpus": self.corpus} if self.corpus else {}

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with the column `corpus`, where corpora are told apart."""
        return table.assign(corpus=self.corpus) if self.corpus else table


def corpus_parts(joined: Joined, what: str, progress: Progress, *, apart: bool = True) -> list[Part]:
    """Return all clips, and where two corpora or more have enough of them the clips of each.

    Args:
        joined: The clips.
        what: The analysis, for what is said.
        progress: Told of corpora that are too small.
        apart: Whether corpora are told apart at all.

    Raises:
        AnalysisError: If a corpus is called as all of them together are.
    """
    everything = Part("", np.arange(len(joined.clips)), joined)
    sizes = corpus_sizes(joined)
    if not apart or len(sizes) < 2:
        return [everything]
    if POOLED in sizes:
        raise AnalysisError(
            f"A corpus is called {POOLED!r}, as the rows of all corpora together are",
            where="column corpus",
            found=", ".join(sizes),
            fix="give it another name in the manifest, or give values of all clips alone: --no-by-corpus, in a study "
            "analyze.by_corpus: false",
        )
    large = [name for name, size in sizes.items() if size >= MIN_CLIPS]
    small = ", ".join(f"{name} ({size})" for name, size in sizes.items() if size < MIN_CLIPS)
    if small and len(large) < 2:
        progress.say(
            f"warning: {what} is not given by corpus: fewer than two corpora have {MIN_CLIPS} clips. Too few: {small}. "
            "Values over all of them are of several corpora pooled"
        )
    elif small:
        progress.say(f"{what} by corpus is without {small}: fewer than {MIN_CLIPS} clips")
    if len(large) < 2:
        return [everything]
    n_unnamed = int(joined.clips["corpus"].isna().sum())
    if n_unnamed:
        progress.say(f"{what} by corpus is without {n_unnamed} clips that name no corpus")
    names = joined.clips["corpus"].astype(str).to_numpy()
    return [replace(everything, corpus=POOLED), *(_part(joined, names == name, name) for name in large)]


def corpus_counts(parts: Sequence[Part]) -> dict[str, object]:
    """Return how many clips of each corpus are analysed by themselves, as a summary has it."""
    counts = [f"{part.corpus} {len(part.places)}" for part in parts if part.corpus not in ("", POOLED)]
    return {"by corpus": ", ".join(counts)} if counts else {}


def in_context(table: pd.DataFrame, context: Mapping[str, Any] | None) -> pd.DataFrame:
    """Return a table with a study's columns; the corpus of a row says more than the names of all."""
    return table.assign(**{name: value for name, value in (context or {}).items() if name not in table})


def of_each(
    parts: Sequence[Part], work: Callable[[Part, Progress], T], what: str, progress: Progress
) -> tuple[list[Part], list[T]]:
    """Return what is made of all clips and of each corpus; a corpus that does not admit it is named and left out.

    Raises:
        AnalysisError: If all clips together do not admit it.
    """
    kept, made = [], []
    for part in parts:
        counted = Counted(progress)
        try:
            made.append(work(part, counted))
        except AnalysisError as error:
            if part.joined is parts[0].joined:
                raise
            counted.close()
            progress.say(f"warning: {what} is not given for {part.corpus}: {error.line()}")
            continue
        kept.append(part)
    return kept, made


def join_parts(parts: Sequence[Part], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the tables of some parts as one, their corpora named."""
    named = [part.named(table) for part, table in zip(parts, tables, strict=True)]
    filled = [table for table in named if not table.empty]
    return pd.concat(filled, ignore_index=True) if filled else named[0]


def corpus_sizes(joined: Joined) -> dict[str, int]:
    """Return the clips of each corpus, by name."""
    if "corpus" not in joined.clips:
        return {}
    names = joined.clips["corpus"].dropna().astype(str)
    counts = names[names != ""].value_counts(sort=False)
    return {str(name): int(counts[name]) for name in sorted(counts.index)}


def _part(joined: Joined, chosen: np.ndarray, name: str) -> Part:
    places = np.flatnonzero(chosen)
    return Part(name, places, joined.of_clips(places))
