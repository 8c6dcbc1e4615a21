"""Pairs of clips with the same sound, by their fingerprints: candidates by equal frames, proven by their bits.

Near-linear in the number of clips: frames are sorted once, and each is paired with a few neighbours of equal bits only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MOST_WRONG = 0.25
"""Largest share of differing bits in copies. Measured on real speech (benchmarks/audit_copies.py): copies at a tenth of
the level, cut, resampled, as MP3 and Vorbis differ in at most 0.12 of their bits, with noise at 30 dB in 0.18; the
nearest of 1000 pairs of different recordings, one sentence by one actor, differ in 0.35."""
LEAST_FRAMES = 20
"""Fewer common frames, 0.46 s of sound, prove nothing."""
LEAST_OVERLAP = 0.5
"""Share of the shorter clip that both must have in common."""
# In how many places of the sorted frames partners of equal bits are looked for: a sound in many copies is linked in a
# chain, which makes one group of them all.
_NEIGHBOURS = 6
_MOST_UNPROVEN = 20
_BITS = 32
_ONES = np.array([value.bit_count() for value in range(256)], dtype=np.uint16)


class NearCopy(NamedTuple):
    """Two clips with the same sound: their places, and the share of bits in which they differ."""

    first: int
    second: int
    wrong_bits: float


def find_near_copies(fingerprints: Sequence[np.ndarray]) -> list[NearCopy]:
    """Return pairs of clips with the same sound, which link all copies of a sound into one group.

    Args:
        fingerprints: Of each clip, uint32 `[T]`, empty where there is none.
    """
    pairs = _candidates(fingerprints)
    found = []
    for first, second, offset in pairs:
        wrong = min(_wrong_bits(fingerprints[first], fingerprints[second], offset + shift) for shift in (-1, 0, 1))
        if wrong <= MOST_WRONG:
            found.append(NearCopy(first, second, wrong))
    return found


def _candidates(fingerprints: Sequence[np.ndarray]) -> list[tuple[int, int, int]]:
    """Return pairs of clips that have equal frames, and how many frames later the first has them than the second."""
    long = [place for place, frames in enumerate(fingerprints) if len(frames) >= LEAST_FRAMES]
    if len(long) < 2:
        return []
    bits = np.concatenate([fingerprints[place] for place in long])
    lengths = [len(fingerprints[place]) for place in long]
    clip = np.repeat(np.array(long, dtype=np.int64), lengths)
    frame = np.concatenate([np.arange(length, dtype=np.int64) for length in lengths])
    order = np.lexsort((clip, bits))  # frames of one clip stay in their order
    bits, clip, frame = bits[order], clip[order], frame[order]
    first_of_clip = np.append(True, (bits[1:] != bits[:-1]) | (clip[1:] != clip[:-1]))
    bits, clip, frame = bits[first_of_clip], clip[first_of_clip], frame[first_of_clip]
    links = []
    for lag in range(1, _NEIGHBOURS + 1):
        equal = np.flatnonzero(bits[lag:] == bits[:-lag])
        links.append(np.stack([clip[equal], clip[equal + lag], frame[equal] - frame[equal + lag]], axis=1))
    return _by_votes(np.concatenate(links), len(fingerprints))


def _by_votes(links: np.ndarray, n_clips: int) -> list[tuple[int, int, int]]:
    """Return each pair of clips once, with the offset that most of its equal frames have.

    Two clips of two words have a frame in common by chance; where such pairs are many more than clips, those that two
    frames agree on are tried alone.
    """
    if not len(links):
        return []
    rows, votes = np.unique(links, axis=0, return_counts=True)
    order = np.lexsort((-votes, rows[:, 1], rows[:, 0]))
    rows, votes = rows[order], votes[order]
    best = np.append(True, (rows[1:, :2] != rows[:-1, :2]).any(axis=1))
    rows, votes = rows[best], votes[best]
    if len(rows) > _MOST_UNPROVEN * n_clips:
        rows = rows[votes > 1]
    return [(int(first), int(second), int(offset)) for first, second, offset in rows]


def _wrong_bits(first: np.ndarray, second: np.ndarray, offset: int) -> float:
    """Return the share of bits that differ where `first[i + offset]` meets `second[i]`; 1 where too little meets."""
    begin, late = max(0, offset), max(0, -offset)
    common = min(len(first) - begin, len(second) - late)
    if common < max(LEAST_FRAMES, LEAST_OVERLAP * min(len(first), len(second))):
        return 1.0
    differing = first[begin : begin + common] ^ second[late : late + common]
    return int(_ONES[differing.view(np.uint8)].sum()) / (_BITS * common)
