"""The groups of eGeMAPS: every functional is in one, as the paper has them."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.acoustics.functional_groups import GROUPS, OTHER, functional_group, group_columns

# Of Eyben et al. 2016, section 3: F0 10, jitter 2, formants 2 x 6; loudness 10, shimmer 2, HNR 2, level 1; ...
SIZES = {"frequency": 24, "energy": 15, "spectral": 43, "temporal": 6}


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("F0semitoneFrom27.5Hz_sma3nz_amean", "frequency"),
        ("F1frequency_sma3nz_amean", "frequency"),
        ("F1amplitudeLogRelF0_sma3nz_amean", "spectral"),
        ("loudness_sma3_percentile20.0", "energy"),
        ("loudnessPeaksPerSec", "temporal"),
        ("HNRdBACF_sma3nz_amean", "energy"),
        ("equivalentSoundLevel_dBp", "energy"),
        ("mfcc4V_sma3nz_stddevNorm", "spectral"),
        ("StddevUnvoicedSegmentLength", "temporal"),
        ("feature 7", OTHER),
    ],
)
def test_groups(name: str, group: str) -> None:
    assert functional_group(name) == group


def test_every_functional_has_a_group() -> None:
    pytest.importorskip("opensmile")
    from ser_probe.embeddings.opensmile_sets import feature_names

    columns = group_columns(feature_names())
    assert {group: len(own) for group, own in columns.items()} == SIZES
    assert tuple(columns) == GROUPS
    np.testing.assert_array_equal(np.sort(np.concatenate(list(columns.values()))), np.arange(88))


def test_names_of_other_sets() -> None:
    assert {group: own.tolist() for group, own in group_columns(["a", "jitter", "b"]).items()} == {
        "frequency": [1], OTHER: [0, 2],
    }  # fmt: skip
