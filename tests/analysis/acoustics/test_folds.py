"""Folds of speakers: nobody is heard before being predicted, everybody is predicted once."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.acoustics.folds import acoustic_folds, fold_of_clip
from ser_probe.analysis.probes.families import TEST, TRAIN, Folds
from ser_probe.errors import AnalysisError

SPEAKERS = np.array([f"s{number % 10}" for number in range(90)])
GENDERS = np.where(np.isin(SPEAKERS, ["s0", "s1", "s2", "s3", "s4"]), "f", "m")


def test_no_speaker_is_on_both_sides() -> None:
    folds = acoustic_folds(SPEAKERS, 5)
    assert len(folds.names) == 5
    for parts in folds.parts:
        assert not set(SPEAKERS[parts == TEST]) & set(SPEAKERS[parts == TRAIN])
        assert set(parts) == {TEST, TRAIN}
    assert ((folds.parts == TEST).sum(axis=0) == 1).all()
    chosen = fold_of_clip(folds)
    assert (folds.parts[chosen, np.arange(90)] == TEST).all()


@pytest.mark.parametrize("seed", range(4))
def test_every_fold_has_both_genders(seed: int) -> None:
    folds = acoustic_folds(SPEAKERS, 5, genders=GENDERS, seed=seed)
    for parts in folds.parts:
        assert set(GENDERS[parts == TEST]) == {"f", "m"}


def test_a_seed_decides_who_goes_with_whom() -> None:
    np.testing.assert_array_equal(acoustic_folds(SPEAKERS, seed=1).parts, acoustic_folds(SPEAKERS, seed=1).parts)
    assert not np.array_equal(acoustic_folds(SPEAKERS, seed=1).parts, acoustic_folds(SPEAKERS, seed=2).parts)


def test_fewer_speakers_than_folds_are_left_out_one_by_one() -> None:
    folds = acoustic_folds(np.array(["a", "b", "c"] * 5), 5)
    assert len(folds.names) == 3


@pytest.mark.parametrize(("speakers", "n_folds"), [(["a"] * 6, 5), (["a", "b"] * 3, 5), (["a", "b", "c"] * 3, 1)])
def test_too_few(speakers: list[str], n_folds: int) -> None:
    with pytest.raises(AnalysisError, match="Too few speakers or folds") as raised:
        acoustic_folds(np.array(speakers), n_folds)
    assert raised.value.fix is not None
    assert "analyze.splits to all" in raised.value.fix


def test_a_clip_that_is_predicted_twice_or_never() -> None:
    parts = np.array([[TEST, TRAIN, TEST], [TEST, TRAIN, TRAIN]], np.int8)
    with pytest.raises(AnalysisError, match="Every clip must be predicted in one fold") as raised:
        fold_of_clip(Folds(("a", "b"), parts))
    assert raised.value.found == "1 clips in none, 1 in several"
