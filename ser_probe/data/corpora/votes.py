"""Listeners' votes: how many heard each emotion, and which won."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "votes_"


def count_votes(clips: Sequence[str], votes: Iterable[tuple[str, str]], emotions: Sequence[str]) -> pd.DataFrame:
    """Return the number of votes for each emotion.

    Args:
        clips: Names of the N clips.
        votes: A clip's name and an emotion, a pair a vote; votes for other clips are not counted.
        emotions: The C emotions, each of which gets a column.

    Returns:
        Whole numbers of shape (N, C) in columns `votes_<emotion>`, in the order of the clips.
    """
    import numpy as np
    import pandas as pd

    rows = {name: row for row, name in enumerate(clips)}
    columns = {name: column for column, name in enumerate(emotions)}
    counts = np.zeros((len(rows), len(columns)), dtype=int)
    for clip, emotion in votes:
        if clip in rows:
            counts[rows[clip], columns[emotion]] += 1
    return pd.DataFrame(counts, columns=[PREFIX + name for name in emotions])


def name_winners(counts: pd.DataFrame) -> list[str]:
    """Return the emotion with the most votes of each row of `count_votes`; empty where two are even, or none voted."""
    values = counts.to_numpy()
    most = values.max(axis=1, keepdims=True)
    sure = ((values == most).sum(axis=1) == 1) & (most[:, 0] > 0)
    names = [str(name).removeprefix(PREFIX) for name in counts.columns]
    return [names[place] if clear else "" for place, clear in zip(values.argmax(axis=1), sure, strict=True)]
