"""Copies by fingerprints: proven by their bits, found at any offset, linked into groups, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.audit.near_copies import LEAST_FRAMES, MOST_WRONG, find_near_copies


def draw(rng: np.random.Generator, n_frames: int = 90) -> np.ndarray:
    return rng.integers(0, 2**32, n_frames, dtype=np.uint32)


def flip(rng: np.random.Generator, bits: np.ndarray, share: float) -> np.ndarray:
    flipped = rng.random((len(bits), 32)) < share
    return bits ^ np.packbits(flipped, axis=1, bitorder="little").view(np.uint32)[:, 0]


def test_a_copy_with_wrong_bits_is_found(rng: np.random.Generator) -> None:
    clips = [draw(rng) for _ in range(40)]
    clips[31] = flip(rng, clips[4], 0.08)
    (pair,) = find_near_copies(clips)
    assert (pair.first, pair.second) == (4, 31)
    assert pair.wrong_bits == pytest.approx(0.08, abs=0.02)


@pytest.mark.parametrize("cut", [1, 17, 25])
def test_a_copy_that_begins_elsewhere_is_found(rng: np.random.Generator, cut: int) -> None:
    whole = draw(rng)
    for clips in ([whole, whole[cut:]], [whole[cut:], whole], [whole[:-cut], whole[cut:]]):
        (pair,) = find_near_copies(clips)
        assert pair.wrong_bits == 0


def test_different_clips_with_a_frame_in_common_are_no_copies(rng: np.random.Generator) -> None:
    clips = [draw(rng) for _ in range(30)]
    for clip in clips:
        clip[20] = 12_345
    assert find_near_copies(clips) == []


def test_a_quarter_of_wrong_bits_is_the_limit(rng: np.random.Generator) -> None:
    clip = draw(rng, 300)
    for share, found in ((MOST_WRONG - 0.03, 1), (MOST_WRONG + 0.03, 0)):
        copy = flip(rng, clip, share)
        copy[:5] = clip[:5]  # so that the pair is looked at
        assert len(find_near_copies([clip, copy])) == found


def test_what_is_too_short_or_shares_too_little_proves_nothing(rng: np.random.Generator) -> None:
    short = draw(rng, LEAST_FRAMES - 1)
    assert find_near_copies([short, short.copy(), short[:0]]) == []
    one, other = draw(rng), draw(rng)
    other[:40] = one[-40:]  # 40 of 90 frames
    assert find_near_copies([one, other]) == []
    assert len(find_near_copies([one, one[-40:]])) == 1  # all of the shorter one


def test_many_copies_of_one_sound_are_linked(rng: np.random.Generator) -> None:
    clip = draw(rng)
    clips = [flip(rng, clip, 0.03) for _ in range(60)]
    linked = {0}
    for pair in sorted(find_near_copies(clips)):
        linked |= {pair.first, pair.second} if pair.first in linked or pair.second in linked else set()
    assert linked == set(range(60))


def test_a_held_tone_does_not_hide_a_copy(rng: np.random.Generator) -> None:
    tones = [np.concatenate([np.full(200, 7, dtype=np.uint32), draw(rng, 60)]) for _ in range(30)]
    tones.append(tones[3].copy())
    assert (3, 30) in {(pair.first, pair.second) for pair in find_near_copies(tones)}
