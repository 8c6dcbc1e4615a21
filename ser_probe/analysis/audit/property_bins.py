"""Values of a property put into bins without a look at any label: single values that many clips share, ranges else.

A length that is always 2.9 s and a rate that only some files have stand in bins of their own; a trend is seen through
ranges that hold equally many clips. Labels play no part, so that permuting them leaves the bins as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

LEAST_CLIPS = 5
"""A value that fewer clips share is part of a range: in so few clips no label can be learnt."""
LEAST_SHARE = 0.01
MOST_VALUES = 32
MOST_RANGES = 12
CLIPS_A_RANGE = 25
_DIGITS = 6  # significant ones: equal lengths at different rates differ in the last bits


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


def bin_values(values: pd.Series) -> Bins:
    """Put values into bins.

    Args:
        values: Of each clip [N]; text, or numbers with missing ones and infinities.
    """
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return _bin_text(values)
    numbers = _rounded(values.to_numpy(float, na_value=np.nan))
    missing = np.isnan(numbers)
    starts = _range_starts(numbers[~missing])
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


def _rounded(numbers: np.ndarray) -> np.ndarray:
    """Return numbers at six significant digits."""
    size = np.abs(numbers)
    finite = np.isfinite(numbers) & (size > 0)
    exponent = np.zeros(len(numbers))
    exponent[finite] = np.floor(np.log10(size[finite]))
    scale = 10.0 ** np.clip(_DIGITS - 1 - exponent, -15, 15)
    return np.where(finite, np.round(np.where(finite, numbers, 0) * scale) / scale, numbers)


def _range_starts(numbers: np.ndarray) -> np.ndarray:
    """Return the smallest value of each bin, ascending: shared values alone, ranges of equally many clips between."""
    if not len(numbers):
        return np.empty(0)
    values, counts = np.unique(numbers, return_counts=True)
    shared = counts >= max(LEAST_CLIPS, LEAST_SHARE * len(numbers))
    if shared.sum() > MOST_VALUES:
        rank = np.argsort(np.argsort(-counts, kind="stable"))
        shared &= rank < MOST_VALUES
    rest = counts[~shared].sum()
    starts = shared.copy()
    starts[1:] |= shared[:-1]  # what follows a shared value is a bin again
    starts[0] = True
    if rest:
        n_ranges = int(np.clip(rest // CLIPS_A_RANGE, 1, MOST_RANGES))
        before = np.cumsum(np.where(shared, 0, counts)) - np.where(shared, 0, counts)
        place = np.minimum(before * n_ranges // rest, n_ranges - 1)
        free = np.flatnonzero(~shared)
        starts[free[1:][np.diff(place[free]) > 0]] = True
    return values[starts]
