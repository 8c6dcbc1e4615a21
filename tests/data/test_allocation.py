from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_probe.data.allocation import allocate_speakers, distance, share_out

STUDY_E = np.array([0.64, 0.20, 0.16])


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"f": 3, "m": 3}, {"f": [1, 1, 1], "m": [1, 1, 1]}),  # EMOVO
        ({"f": 5, "m": 5}, {"f": [3, 1, 1], "m": [3, 1, 1]}),  # EMO-DB
        ({"f": 43, "m": 48}, {"f": [27, 9, 7], "m": [31, 9, 8]}),  # CREMA-D, by hand
        ({"f": 2, "m": 2}, {"f": [1, 1, 0], "m": [1, 0, 1]}),
        ({"f": 10, "m": 1}, {"f": [6, 2, 2], "m": [1, 0, 0]}),
    ],
)
def test_shares_of_known_corpora(sizes: dict[str, int], expected: dict[str, list[int]]) -> None:
    assert share_out(sizes, STUDY_E) == expected


@settings(deadline=None)
@given(
    sizes=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 60), min_size=1),
    weights=st.lists(st.integers(1, 20), min_size=1, max_size=6),
)
def test_shares_in_general(sizes: dict[str, int], weights: list[int]) -> None:
    shares = np.array(weights) / sum(weights)
    counts = share_out(sizes, shares)
    assert {name: sum(got) for name, got in counts.items()} == sizes
    total = np.sum(list(counts.values()), axis=0)
    assert (total > 0).sum() == min(len(shares), sum(sizes.values()))
    for name, got in counts.items():
        assert (np.array(got) > 0).all() or sizes[name] < len(shares)
        wanted = shares * sizes[name]
        if sizes[name] >= len(shares) and (wanted >= 1).all():
            assert (np.abs(got - wanted) < 1).all()  # the largest-remainder property


def test_folds_of_two_genders_are_equally_large() -> None:
    counts = share_out({"f": 7, "m": 7}, np.full(4, 0.25))
    assert sorted(np.add(counts["f"], counts["m"])) == [3, 3, 4, 4]


def test_distance_is_zero_only_for_the_whole_in_small() -> None:
    clips = np.array([[2.0, 1.0], [2.0, 1.0], [4.0, 2.0]])
    shares = np.array([0.5, 0.5])
    assert distance(np.array([0, 0, 1]), clips, shares) == pytest.approx(0)
    assert distance(np.array([0, 1, 1]), clips, shares) == pytest.approx(0.5)  # a quarter off, twice
    lopsided = np.array([[3.0, 0.0], [0.0, 3.0]])
    # Each split is half a unit of variation away and lacks one label.
    assert distance(np.array([0, 1]), lopsided, shares) == pytest.approx(2 * (0.5 + 1))


def test_more_tries_never_make_it_worse(rng: np.random.Generator) -> None:
    strata = np.array(["f", "m"] * 10)
    clips = rng.integers(0, 20, size=(20, 4)).astype(float)
    found = [
        distance(allocate_speakers(strata, clips, STUDY_E, np.random.default_rng(1), n), clips, STUDY_E)
        for n in (1, 10, 100)
    ]
    assert found == sorted(found, reverse=True)
    assert found[2] < found[0]
