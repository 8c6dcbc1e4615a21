"""Values of a property put into bins without a look at any label: single values that many clips share, ranges else.

A length that is always 2.9 s and a rate that only some files have stand in bins of their own; a trend is seen through
ranges that hold equally many clips. Labels play no part, so that permuting them leaves the bins as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

LEAST_CLIPS = 10
"""A value that fewer clips share is part of a range: in so few clips no label can be learnt."""
LEAST_SHARE, LEAST_SHARE_OF_MANY = 0.01, 0.05
MOST_VALUES = 16
"""With more shared values than this they are the grid that lengths were measured on, and only the most common of them
are bins of their own."""

FEWEST_RANGES = 3
"""In small corpora, as far as each holds enough clips: one range would show no trend."""


@dataclass(frozen=True)
class Fineness:
    """How finely the values that few clips share are cut into ranges of equally many clips.

    Args:
        clips: Of a range, at least.
        ranges: At most.
    """

    clips: int
    ranges: int


TO_LEARN = Fineness(60, 10)
"""Few and full ranges: in simulated corpora of 300 to 800 clips, ranges of 25 clips see trends a third less clearly."""
TO_TELL = Fineness(10, 50)
"""For the sentence that says which values give a class away."""


@dataclass(frozen=True)
class Bins:
    """A property in bins.

    Args:
        codes: Each clip's bin, int in [0, B), [N].
        low: The smallest value in each bin, [B]; for text the value itself.
        high: The largest, [B].
        ordered: Whether each bin is numbers, in ascending order; missing values and text are not, [B].
    """

    codes: np.ndarray
    low: tuple[object, ...]
    high: tuple[object, ...]
    ordered: np.ndarray

    @property
    def count(self) -> int:
        """B."""
        return len(self.low)


def bin_values(values: pd.Series, resolution: float = 0.0, fineness: Fineness = TO_LEARN) -> Bins:
    """Put values into bins.

    Args:
        values: Of each clip [N]; text, or numbers with missing ones and infinities.
        resolution: Numbers are rounded to multiples of it; 0 leaves them as they are.
        fineness: Of the ranges.
    """
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return _bin_text(values)
    numbers = values.to_numpy(float, na_value=np.nan)
    if resolution > 0:
        # Rounded again: equal multiples must be equal numbers, and read like what they are.
        numbers = np.round(np.round(numbers / resolution) * resolution, 6)
    missing = np.isnan(numbers)
    starts = _range_starts(numbers[~missing], fineness)
    codes = np.searchsorted(starts, numbers, side="right") - 1
    codes[missing] = len(starts)
    used, codes = np.unique(codes, return_inverse=True)
    low = [float(numbers[codes == code].min()) for code in range(len(used))]
    high = [float(numbers[codes == code].max()) for code in range(len(used))]
    return Bins(codes, tuple(low), tuple(high), used < len(starts))


def _bin_text(values: pd.Series) -> Bins:
    text = values.astype("string").fillna("missing")
    counts = text.value_counts()
    text = text.where(text.map(counts) >= LEAST_CLIPS, "a rare one")
    names, codes = np.unique(text.to_numpy(str), return_inverse=True)
    return Bins(codes, tuple(names), tuple(names), np.zeros(len(names), bool))


def _range_starts(numbers: np.ndarray, fineness: Fineness) -> np.ndarray:
    """Return the smallest value of each bin, ascending: shared values alone, ranges of equally many clips between."""
    if not len(numbers):
        return np.empty(0)
    values, counts = np.unique(numbers, return_counts=True)
    shared = counts >= max(LEAST_CLIPS, LEAST_SHARE * len(numbers))
    if shared.sum() > MOST_VALUES:
        shared &= counts >= LEAST_SHARE_OF_MANY * len(numbers)
    rest = counts[~shared].sum()
    starts = shared.copy()
    starts[1:] |= shared[:-1]  # what follows a shared value is a bin again
    starts[0] = True
    if rest:
        least = min(FEWEST_RANGES, max(1, rest // LEAST_CLIPS))
        n_ranges = int(np.clip(rest // fineness.clips, least, fineness.ranges))
        before = np.cumsum(np.where(shared, 0, counts)) - np.where(shared, 0, counts)
        place = np.minimum(before * n_ranges // rest, n_ranges - 1)
        free = np.flatnonzero(~shared)
        starts[free[1:][np.diff(place[free]) > 0]] = True
    return values[starts]
