from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.similarity.folds import held_out_folds
from ser_probe.errors import AnalysisError


def test_no_speaker_is_in_two_folds_and_folds_are_even(rng: np.random.Generator) -> None:
    groups = np.repeat([f"s{i}" for i in range(13)], rng.integers(3, 12, 13))
    folds = held_out_folds(groups, len(groups), 4, seed=1)
    assert set(folds) == {0, 1, 2, 3}
    for speaker in set(groups):
        assert len(set(folds[groups == speaker])) == 1
    assert np.ptp(np.bincount(folds)) <= 12
    np.testing.assert_array_equal(folds, held_out_folds(groups, len(groups), 4, seed=1))
    assert (folds != held_out_folds(groups, len(groups), 4, seed=2)).any()


def test_without_speakers_clips_are_dealt() -> None:
    assert np.bincount(held_out_folds(None, 11, 3, seed=0)).tolist() == [4, 4, 3]


def test_fewer_speakers_than_folds() -> None:
    assert len(set(held_out_folds(np.array(list("aabb")), 4, 5, seed=0))) == 2


def test_nothing_to_hold_out() -> None:
    with pytest.raises(AnalysisError, match="need at least 2 speakers") as caught:
        held_out_folds(np.array(list("aaaa")), 4, 5, seed=0)
    assert caught.value.found == "1 speaker, a, of 4 clips"
    with pytest.raises(AnalysisError, match="need at least 2 folds"):
        held_out_folds(None, 4, 1, seed=0)
