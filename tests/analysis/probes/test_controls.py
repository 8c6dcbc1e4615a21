from __future__ import annotations

import numpy as np

from ser_probe.analysis.probes.controls import majority_answers, shuffle_values
from ser_probe.analysis.probes.divisions import rotated_folds

GROUPS = np.repeat(["a", "b", "c", "d", "e", "f"], 5)


def test_values_are_shuffled_within_each_speaker(rng: np.random.Generator) -> None:
    values = rng.integers(0, 3, 30)
    shuffled = shuffle_values(values, GROUPS, 0)
    assert (shuffled != values).any()
    for group in np.unique(GROUPS):
        assert np.array_equal(np.sort(shuffled[group == GROUPS]), np.sort(values[group == GROUPS]))
    np.testing.assert_array_equal(shuffled, shuffle_values(values, GROUPS, 0))
    assert (shuffled != shuffle_values(values, GROUPS, 1)).any()
    numbers = rng.standard_normal(30)
    assert set(shuffle_values(numbers, GROUPS, 0)) == set(numbers)


def test_where_speakers_have_one_value_whole_speakers_swap_theirs() -> None:
    genders = np.repeat([0, 1, 0, 1, 0, 1], 5)
    drawn = [shuffle_values(genders, GROUPS, seed) for seed in range(20)]
    for shuffled in drawn:
        assert all(len(set(shuffled[group == GROUPS])) == 1 for group in np.unique(GROUPS))
        assert shuffled.sum() == genders.sum()
    assert any((shuffled != genders).any() for shuffled in drawn)


def test_swapped_speakers_leave_every_class_in_training() -> None:
    genders = np.repeat([0, 1, 0, 1, 0, 1], 5)
    folds = rotated_folds(np.repeat(np.arange(3), 10))  # two speakers train
    alone = [shuffle_values(genders, GROUPS, seed) for seed in range(40)]
    given = [shuffle_values(genders, GROUPS, seed, folds) for seed in range(40)]

    def trained(shuffled: np.ndarray) -> bool:
        return all(len(set(shuffled[folds.train(fold)])) == 2 for fold in range(3))

    assert not all(map(trained, alone))
    assert all(map(trained, given))


def test_the_commonest_training_class_is_counted_in_each_fold() -> None:
    values = np.repeat([0, 1, 2], 10)
    folds = rotated_folds(np.repeat(np.arange(3), 10))
    assert majority_answers(values, folds, 3).tolist() == [2, 0, 1]
    assert majority_answers(np.tile([1, 0], 15), folds, 2).tolist() == [0, 0, 0], "the first of equals"
