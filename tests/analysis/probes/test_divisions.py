from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.probes.divisions import check_folds, random_fold, rotated_folds, single_fold
from ser_probe.analysis.probes.families import TEST, TRAIN, UNUSED, VALIDATION, Folds
from ser_probe.errors import AnalysisError

GROUPS = np.repeat([f"s{i}" for i in range(6)], 4)
LABELS = np.tile(["anger", "joy"], 12)


def test_a_split_column_is_one_fold() -> None:
    folds = single_fold(np.array(["test", "train", "validation", "train"]), "heldout")
    assert list(folds.names) == ["heldout"]
    assert folds.parts.tolist() == [[TEST, TRAIN, VALIDATION, TRAIN]]
    with pytest.raises(AnalysisError, match=r"parts that are not known[\s\S]*dev"):
        single_fold(np.array(["train", "dev"]))


@pytest.mark.parametrize("n_folds", [3, 5])
def test_rotation_tests_and_validates_every_clip_once(n_folds: int) -> None:
    codes = np.arange(40) * 7 % n_folds
    folds = rotated_folds(codes)
    assert len(folds.names) == n_folds
    assert ((folds.parts == TEST).sum(axis=0) == 1).all()
    assert ((folds.parts == VALIDATION).sum(axis=0) == 1).all()
    assert ((folds.parts == TRAIN).sum(axis=0) == n_folds - 2).all()
    for fold in range(n_folds):
        assert set(codes[folds.test(fold)]) == {fold}
        assert len(set(codes[folds.validation(fold)])) == 1
    assert list(rotated_folds(codes, names=[str(i) for i in range(n_folds)]).names)[1] == "1"


@pytest.mark.parametrize("codes", [np.array([0, 1, 0, 1]), np.array([0, 1, 3]), np.array([], int)])
def test_groups_that_cannot_rotate_are_refused(codes: np.ndarray) -> None:
    with pytest.raises(AnalysisError, match="cannot be rotated"):
        rotated_folds(codes)


def test_the_published_division_draws_clips_and_shares_speakers() -> None:
    folds = random_fold(24, seed=1)
    assert [(folds.parts[0] == part).sum() for part in (TRAIN, VALIDATION, TEST)] == [19, 3, 2]
    np.testing.assert_array_equal(folds.parts, random_fold(24, seed=1).parts)
    assert (folds.parts != random_fold(24, seed=2).parts).any()
    large = random_fold(1231)
    assert [(large.parts[0] == part).sum() for part in (TRAIN, VALIDATION, TEST)] == [985, 123, 123]
    with pytest.raises(AnalysisError, match="speaker s"):
        check_folds(LABELS, folds, GROUPS)
    check_folds(LABELS, folds, GROUPS, shares_groups=True)
    with pytest.raises(AnalysisError, match=r"too few clips to divide them at random[\s\S]*3 clips"):
        random_fold(3)


def test_a_speaker_in_two_parts_of_any_fold_is_found() -> None:
    folds = rotated_folds(np.repeat(np.arange(3), 8))
    check_folds(LABELS, folds, GROUPS)
    parts = folds.parts.copy()
    parts[1, 0] = TEST
    with pytest.raises(AnalysisError, match="speaker s0 is in test and train") as raised:
        check_folds(LABELS, Folds(folds.names, parts), GROUPS)
    assert raised.value.where == "fold fold-1 of 3"
    parts[1, :4] = UNUSED
    check_folds(LABELS, Folds(folds.names, parts), GROUPS)


def test_classes_that_a_fold_never_trains_are_named() -> None:
    labels = LABELS.copy()
    labels[GROUPS == "s5"] = "fear"
    with pytest.raises(AnalysisError, match="never occur in training: fear") as raised:
        check_folds(labels, rotated_folds(np.repeat(np.arange(3), 8)), GROUPS)
    assert raised.value.where == "fold fold-1 of 3"
    with pytest.raises(AnalysisError, match="same label, 'joy'"):
        check_folds(np.full(24, "joy"), single_fold(np.repeat(["train", "validation", "test"], 8)), GROUPS)


def test_of_numbers_only_the_speakers_are_checked() -> None:
    split = np.repeat(["train", "validation", "test"], 8)
    check_folds(None, single_fold(split), GROUPS)
    split[0] = "test"
    with pytest.raises(AnalysisError, match=r"1 fault\n  - speaker s0 is in test and train"):
        check_folds(None, single_fold(split), GROUPS)
    with pytest.raises(AnalysisError, match="no clips in: validation"):
        check_folds(None, single_fold(np.repeat(["train", "test"], 12)), GROUPS)
    with pytest.raises(AnalysisError, match="same clips"):
        check_folds(LABELS[1:], single_fold(split), GROUPS)
