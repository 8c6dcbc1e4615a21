"""Which clips are left out together for intervals, and how classes are permuted for the null."""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.resampling import group_codes
from ser_probe.runtime import derive_seed

MOST_BLOCKS = 30
"""With more speakers than this, several are left out together (delete-a-group jackknife): the interval is still valid,
with that many degrees of freedom, and its cost does not grow with the number of speakers."""


def speaker_blocks(speakers: np.ndarray | None, n_clips: int, *, most: int = MOST_BLOCKS, seed: int = 0) -> np.ndarray:
    """Return each clip's jackknife block, int in [0, B), [N]: its speaker, or speakers dealt into so many blocks.

    Without speakers all clips are in block 0, and there are no intervals.
    """
    if speakers is None:
        return np.zeros(n_clips, int)
    names, codes = group_codes(speakers)
    if len(names) <= most:
        return codes
    dealt = np.empty(len(names), int)
    dealt[np.random.default_rng(derive_seed("jackknife blocks", seed)).permutation(len(names))] = (
        np.arange(len(names)) % most
    )
    return dealt[codes]


def is_within(fine: np.ndarray, coarse: np.ndarray) -> bool:
    """Tell whether each class of `fine` lies in one class of `coarse`, as each speaker has one gender."""
    return len(np.unique(np.stack([fine, coarse]), axis=1).T) == len(np.unique(fine))


def permuted_classes(
    codes: np.ndarray,
    *,
    speakers: np.ndarray | None = None,
    within: np.ndarray | None = None,
    n_permutations: int,
    seed: int = 0,
) -> np.ndarray:
    """Permute classes as they would lie if they meant nothing, int [P, N].

    - A class that varies within speakers (label, sentence) is permuted within each speaker, so that what a speaker's
      clips have in common cannot be taken for it.
    - A class that each speaker has one of (gender, corpus) is dealt anew to whole speakers: with few speakers any
      division of them explains much, and that is the null it must beat.
    - The speakers themselves are permuted within `within` (the label), or freely.

    Args:
        codes: Each clip's class, int [N].
        speakers: Each clip's speaker, int [N].
        within: What is kept where `codes` are the speakers, int [N].
        n_permutations: P.
        seed: Seed of the permutations.
    """
    rng = np.random.default_rng(derive_seed("permuted classes", seed))
    if speakers is not None and is_within(speakers, codes) and not is_within(codes, speakers):
        _, first, of_clip = np.unique(speakers, return_index=True, return_inverse=True)
        return np.stack([rng.permutation(codes[first])[of_clip] for _ in range(n_permutations)])
    strata = speakers if speakers is not None and not is_within(codes, speakers) else within
    groups = [np.arange(len(codes))] if strata is None else [np.flatnonzero(strata == s) for s in np.unique(strata)]
    permuted = np.tile(codes, (n_permutations, 1))
    for row in permuted:
        for members in groups:
            row[members] = codes[rng.permutation(members)]
    return permuted
