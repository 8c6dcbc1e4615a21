"""Jackknife blocks, and the permutations that a null is made of: what each keeps and what it breaks."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.geometry.arrangements import is_within, permuted_classes, speaker_blocks

N = 120
SPEAKERS = np.arange(N) % 6
GENDERS = SPEAKERS % 2
LABELS = np.arange(N) // 6 % 4


def test_a_block_is_a_speaker_while_there_are_few() -> None:
    names = np.array(["f1", "f2", "m1"])[np.arange(9) % 3]
    np.testing.assert_array_equal(speaker_blocks(names, 9), np.arange(9) % 3)
    np.testing.assert_array_equal(speaker_blocks(None, 4), np.zeros(4))


def test_many_speakers_are_dealt_into_blocks() -> None:
    speakers = np.arange(400) % 91
    blocks = speaker_blocks(speakers, 400, most=10)
    assert is_within(speakers, blocks), "no speaker is in two blocks"
    assert sorted(np.bincount([blocks[speakers == s][0] for s in range(91)])) == [9] * 9 + [10]
    np.testing.assert_array_equal(blocks, speaker_blocks(speakers, 400, most=10))
    assert not np.array_equal(blocks, speaker_blocks(speakers, 400, most=10, seed=1))


def test_within() -> None:
    assert is_within(SPEAKERS, GENDERS)
    assert not is_within(GENDERS, SPEAKERS)
    assert not is_within(LABELS, SPEAKERS)


def test_labels_stay_with_their_speaker() -> None:
    drawn = permuted_classes(LABELS, speakers=SPEAKERS, n_permutations=3)
    for own in drawn:
        for speaker in range(6):
            mine = speaker == SPEAKERS
            np.testing.assert_array_equal(np.bincount(own[mine]), np.bincount(LABELS[mine]))
        assert 0.1 < (own == LABELS).mean() < 0.5
    assert not np.array_equal(drawn[0], drawn[1])


def test_genders_are_dealt_to_whole_speakers() -> None:
    for own in permuted_classes(GENDERS, speakers=SPEAKERS, n_permutations=5):
        assert is_within(SPEAKERS, own)
        assert own.sum() == GENDERS.sum()


def test_speakers_are_permuted_within_the_label() -> None:
    (own,) = permuted_classes(SPEAKERS, speakers=SPEAKERS, within=LABELS, n_permutations=1)
    for label in range(4):
        mine = label == LABELS
        np.testing.assert_array_equal(np.bincount(own[mine]), np.bincount(SPEAKERS[mine]))
    assert not is_within(own, SPEAKERS)
    (free,) = permuted_classes(SPEAKERS, speakers=SPEAKERS, n_permutations=1)
    np.testing.assert_array_equal(np.bincount(free), np.bincount(SPEAKERS))
    assert any(np.ptp(np.bincount(free[label == LABELS])) > 0 for label in range(4))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_repeats(seed: int) -> None:
    first, second = (permuted_classes(LABELS, speakers=SPEAKERS, n_permutations=2, seed=seed) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, permuted_classes(LABELS, speakers=SPEAKERS, n_permutations=2, seed=seed + 1))
