"""Permutation p-values that stop early where nothing is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

ENOUGH = 20
"""After so many arrangements that score as high, the p-value is known well enough: Besag and Clifford 1991,
Biometrika 78: this many by the number drawn is a valid p-value."""

FIRST = 25


class PermutationCount:
    """Counts how often permuted classes score at least as high as the true ones.

    Args:
        observed: The true classes' score. Scores that differ from it by rounding count as equal.
        n_permutations: When to stop at the latest.
    """

    def __init__(self, observed: float, n_permutations: int) -> None:
        self._threshold = observed - 1e-9
        self._n_permutations = n_permutations
        self._drawn = self._as_high = 0

    @property
    def is_open(self) -> bool:
        """Whether more arrangements are needed."""
        return self._as_high < ENOUGH and self._drawn < self._n_permutations

    def add(self, scores: np.ndarray) -> None:
        """Count the scores of further arrangements, in their order, as far as they are needed."""
        scores = scores[: self._n_permutations - self._drawn]
        high = np.cumsum(scores >= self._threshold) + self._as_high
        if high.size and high[-1] >= ENOUGH:
            last = int(np.argmax(high >= ENOUGH))
            self._drawn, self._as_high = self._drawn + last + 1, ENOUGH
        else:
            self._drawn, self._as_high = self._drawn + len(scores), int(high[-1]) if high.size else self._as_high

    @property
    def p(self) -> float:
        """The p-value; the true arrangement counts as one of those drawn (Phipson and Smyth 2010)."""
        if self._as_high >= ENOUGH:
            return self._as_high / self._drawn
        return (self._as_high + 1) / (self._drawn + 1)


def permutation_p_values(
    observed: np.ndarray,
    score: Callable[[np.ndarray, list[int]], np.ndarray],
    draw: Callable[[int], np.ndarray],
    *,
    n_permutations: int,
    batch: int = 100,
    advance: Callable[[float], None] = lambda _: None,
) -> np.ndarray:
    """Return the p-value of each statistic, [R].

    Args:
        observed: The statistics of the true classes, [R].
        score: Takes arrangements of the classes and which statistics are needed; returns these, [P, needed].
        draw: Takes a number and returns so many arrangements.
        n_permutations: How many at most.
        batch: How many at a time.
        advance: Called with the share of the work that a batch was.
    """
    counts = [PermutationCount(value, n_permutations) for value in observed]
    done = 0
    while needed := [row for row, count in enumerate(counts) if count.is_open]:
        # Few at first: where nothing is found, a few dozen are enough.
        size = min(batch, max(FIRST, done), n_permutations - done)
        for row, scores in zip(needed, score(draw(size), needed).T, strict=True):
            counts[row].add(scores)
        done += size
        advance(size / n_permutations)
    advance(1 - done / n_permutations)
    return np.array([count.p for count in counts])
