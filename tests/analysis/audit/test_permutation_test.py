"""Permutation p-values that stop early are as large as they should be, or larger."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.audit.permutation_test import ENOUGH, PermutationCount, permutation_p_values


def test_the_true_arrangement_counts_as_drawn() -> None:
    count = PermutationCount(1.0, 99)
    count.add(np.zeros(99))
    assert not count.is_open
    assert count.p == pytest.approx(1 / 100)


def test_equals_count_as_high() -> None:
    count = PermutationCount(0.5, 19)
    count.add(np.full(19, 0.5 - 1e-12))
    assert count.p == 1.0


def test_stops_where_enough_are_as_high() -> None:
    count = PermutationCount(0.0, 999)
    count.add(np.tile([1.0, -1.0], 50))
    assert not count.is_open
    assert count.p == pytest.approx(ENOUGH / (2 * ENOUGH - 1)), "the draw that made it enough is the last that counts"
    in_parts = PermutationCount(0.0, 999)
    for part in np.split(np.tile([1.0, -1.0], 50), 10):
        if in_parts.is_open:
            in_parts.add(part)
    assert in_parts.p == count.p


def test_no_more_are_drawn_than_asked_for() -> None:
    drawn: list[int] = []
    done: list[float] = []

    def draw(count: int) -> np.ndarray:
        drawn.append(count)
        return np.zeros((count, 1))

    p = permutation_p_values(
        np.array([1.0, 0.0]), lambda arranged, needed: np.zeros((len(arranged), len(needed))), draw,
        n_permutations=250, batch=100, advance=done.append,
    )  # fmt: skip
    assert drawn == [25, 25, 50, 100, 50]
    assert sum(done) == pytest.approx(1.0)
    np.testing.assert_allclose(p, [1 / 251, 1.0])


def test_p_is_not_too_small(rng: np.random.Generator) -> None:
    """Where the truth is one of the draws, p is at most u in at most a share u of data sets; where not, it is small."""
    p = np.array(
        [
            permutation_p_values(
                np.array([rng.normal()]),
                lambda arranged, _: arranged,
                lambda count: rng.normal(size=(count, 1)),
                n_permutations=99,
            )[0]
            for _ in range(1000)
        ]
    )
    for level in (0.05, 0.1, 0.3):
        assert (p <= level).mean() < level + 3 * np.sqrt(level / len(p))
    assert (p <= 0.3).mean() > 0.2
