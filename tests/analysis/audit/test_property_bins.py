"""Bins of properties: shared values stand alone, the rest is cut into ranges, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.audit.property_bins import MOST_VALUES, TO_LEARN, TO_TELL, bin_values
from ser_probe.analysis.audit.property_groups import ALL_TOGETHER, PROPERTY_GROUPS, PROPERTY_NAMES, groups_of


def test_a_shared_value_is_a_bin_of_its_own(rng: np.random.Generator) -> None:
    values = pd.Series(np.where(np.arange(1000) < 30, 2.9, rng.uniform(1, 4, 1000)))
    bins = bin_values(values, 0.001)
    (alone,) = [place for place in range(bins.count) if bins.low[place] == bins.high[place] == 2.9]
    assert (bins.codes == alone).sum() == (values.round(3) == 2.9).sum()
    sizes = np.bincount(np.delete(bins.codes, np.flatnonzero(bins.codes == alone)))
    # The shared value cuts the range that it lies in.
    assert len(sizes[sizes > 0]) in (TO_LEARN.ranges, TO_LEARN.ranges + 1)
    assert list(bins.low) == sorted(bins.low)
    for place in range(bins.count):
        inside = values[bins.codes == place].round(3)
        assert bins.low[place] == inside.min()
        assert bins.high[place] == inside.max()


def test_a_fine_grid_is_no_list_of_shared_values(rng: np.random.Generator) -> None:
    """Lengths in steps of a codec's frame: many clips on each step, and a trend is to be seen, not the steps."""
    bins = bin_values(pd.Series(rng.integers(0, 3 * MOST_VALUES, 2000).astype(float)))
    assert bins.count <= TO_LEARN.ranges
    assert bin_values(pd.Series(rng.uniform(size=2000)), fineness=TO_TELL).count == TO_TELL.ranges


def test_missing_and_infinite_values_are_kept_apart() -> None:
    values = pd.Series([np.nan] * 20 + [-np.inf] * 20 + [-30.0] * 20)
    bins = bin_values(values, 0.1)
    assert bins.count == 3
    assert list(bins.ordered) == [True, True, False]
    assert bins.low[:2] == (-np.inf, -30.0)
    assert set(bins.codes[:20]) == {2}
    assert bin_values(pd.Series([np.nan] * 20)).count == 1


def test_differences_below_the_resolution_are_none() -> None:
    peaks = pd.Series(-0.004 * (np.arange(100) % 2))
    assert bin_values(peaks, PROPERTY_NAMES["peak_dbfs"].resolution).count == 1
    assert bin_values(peaks).count == 2


def test_text() -> None:
    bins = bin_values(pd.Series(["WAV PCM_16"] * 30 + ["AIFF PCM_16"] * 2 + [None] * 12))
    assert bins.low == ("WAV PCM_16", "a rare one", "missing")
    assert not bins.ordered.any()


def test_groups() -> None:
    columns = [column for group in PROPERTY_GROUPS for column in group.columns]
    assert sorted(columns) == sorted(PROPERTY_NAMES), "each property is in one group, and has a name"
    groups = groups_of(["clip_id", "peak_dbfs", "duration_s"])
    assert [(group.name, group.columns) for group in groups] == [
        ("duration", ("duration_s",)),
        ("level", ("peak_dbfs",)),
        (ALL_TOGETHER, ("duration_s", "peak_dbfs")),
    ]
    assert [group.name for group in groups_of(["duration_s"])] == ["duration"]
    assert groups_of(["path"]) == []


@pytest.mark.parametrize(("count", "ranges"), [(1, 1), (9, 1), (25, 2), (59, 3), (100, 3), (300, 5), (5000, 10)])
def test_few_clips_make_few_ranges(count: int, ranges: int) -> None:
    sizes = np.bincount(bin_values(pd.Series(np.arange(float(count)))).codes)
    assert len(sizes) == ranges
    assert sizes.max() - sizes.min() <= 1
