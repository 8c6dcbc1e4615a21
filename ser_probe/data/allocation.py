"""Which speakers go into which split: the arithmetic of `splits`, on counts alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_DIGITS = 9  # remainders that agree to so many digits differ by rounding alone


def allocate_speakers(
    strata: np.ndarray, clips: np.ndarray, shares: np.ndarray, rng: np.random.Generator, n_tries: int
) -> np.ndarray:
    """Return the split of each speaker.

    The number of speakers of each stratum in each split is fixed (see `share_out`); of `n_tries` random assignments
    with these numbers, the one with the smallest `distance` is taken.

    Args:
        strata: Each speaker's stratum (gender), ndarray of str of shape (n_speakers,).
        clips: Clips of each speaker with each label, ndarray of shape (n_speakers, C).
        shares: Share of the speakers for each split, ndarray of shape (n_splits,), adding up to 1.
        rng: Draws the assignments.
        n_tries: How many assignments are compared.

    Returns:
        ndarray of int of shape (n_speakers,), the index of the split.
    """
    sizes = {str(name): int(size) for name, size in zip(*np.unique(strata, return_counts=True), strict=True)}
    counts = share_out(sizes, shares)
    best, best_distance = np.zeros(len(strata), dtype=int), np.inf
    for _ in range(max(1, n_tries)):
        assigned = np.empty(len(strata), dtype=int)
        for name, per_split in counts.items():
            members = np.flatnonzero(strata == name)
            assigned[rng.permutation(members)] = np.repeat(np.arange(len(shares)), per_split)
        new_distance = distance(assigned, clips, shares)
        if new_distance < best_distance:
            best, best_distance = assigned, new_distance
    return best


def share_out(sizes: Mapping[str, int], shares: np.ndarray) -> dict[str, list[int]]:
    """Return how many speakers of each stratum go to each split.

    A stratum with a speaker for every split gives one to each; the rest follows the largest remainder, and of equal
    remainders the split that lacks most speakers. A smaller stratum goes first to splits that are still empty, then to
    those without a speaker of this stratum, then to those that lack speakers. With as many speakers as splits,
    no split stays empty.
    """
    n_speakers = sum(sizes.values())
    counts: dict[str, list[int]] = {}
    total = [0] * len(shares)

    def need(split: int, assigned: list[int], size: int) -> tuple[float, ...]:
        missing = round(shares[split] * n_speakers - total[split] - assigned[split], _DIGITS)
        if size >= len(shares):
            return (round(shares[split] * size - assigned[split], _DIGITS), missing)
        return (total[split] + assigned[split] == 0, assigned[split] == 0, missing)

    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        assigned = [int(size >= len(shares))] * len(shares)
        for _ in range(size - sum(assigned)):
            assigned[max(range(len(shares)), key=lambda split: need(split, assigned, size))] += 1
        counts[name] = assigned
        total = [before + new for before, new in zip(total, assigned, strict=True)]
    return counts


def distance(assigned: np.ndarray, clips: np.ndarray, shares: np.ndarray) -> float:
    """Return how far the splits of an assignment are from the whole set of clips.

    The sum over splits of the total variation distance between its labels and all labels, of the difference between
    its share of the clips and the share asked for, and of 1 for each label that it lacks.
    """
    member = assigned == np.arange(len(shares))[:, None]
    per_split = member @ clips
    sizes = per_split.sum(axis=1, keepdims=True)
    all_clips = clips.sum(axis=0)
    variation = np.abs(per_split / np.maximum(sizes, 1) - all_clips / all_clips.sum()).sum() / 2
    return float(variation + np.abs(sizes[:, 0] / all_clips.sum() - shares).sum() + (per_split == 0).sum())
