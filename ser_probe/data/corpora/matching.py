"""Clips and the rows of a label file: which belong together, and what has no partner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.errors import CorpusError, shorten

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 3


@dataclass(frozen=True)
class MatchedClips:
    """Clips that have a row.

    Attributes:
        clips: The clips.
        rows: The row of each, in their order.
        notes: Clips without a row and rows without a clip, counted and the first named, a line each.
    """

    clips: FoundClips
    rows: pd.DataFrame
    notes: tuple[str, ...]


def match_rows(clips: FoundClips, keys: Sequence[str], rows: pd.DataFrame, key: str, path: Path) -> MatchedClips:
    """Match clips with the rows of a label file.

    Args:
        clips: The clips that were found.
        keys: What each clip is called in the label file.
        rows: The label file's rows.
        key: Its column with those names.
        path: The label file, for messages.

    Raises:
        CorpusError: If a name stands in two rows, or no clip has a row.
    """
    title = clips.importer.title
    if twice := sorted(set(rows.loc[rows[key].duplicated(), key])):
        raise CorpusError(f"{title}'s {path.name} has two rows for one clip", where=path, found=shorten(twice, _SHOWN))
    indexed = rows.set_index(key, drop=False)
    has_row = [name in indexed.index for name in keys]
    if not any(has_row):
        raise CorpusError(
            f"No clip has a row in {title}'s {path.name}",
            where=path,
            expected=f"rows such as {shorten(keys, _SHOWN)}",
            found=shorten(rows[key], _SHOWN),
            fix="give the label file of this release",
        )
    matched = [name for name, known in zip(keys, has_row, strict=True) if known]
    bare = [path_ for path_, known in zip(clips.paths, has_row, strict=True) if not known]
    lost = list(rows.loc[~rows[key].isin(matched), key])
    notes = [f"{_count(bare, 'clip')} without a row in {path.name}, left out: {shorten(bare, _SHOWN)}"] if bare else []
    if lost:
        notes.append(f"{_count(lost, 'row')} of {path.name} without a clip: {shorten(lost, _SHOWN)}")
    return MatchedClips(clips.choose(has_row), indexed.loc[matched].reset_index(drop=True), tuple(notes))


def _count(names: list[str], what: str) -> str:
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'}"
