"""The pass over all pairs: each left-out block equals a pass without it, and the participation ratio has no bias."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score

from ser_probe.analysis.geometry.pairs import (
    PairSums,
    Scatter,
    participation_ratio_of,
    participation_ratio_unbiased,
    sum_pairs,
)
from ser_probe.analysis.geometry.spectrum import centred, eigenvalues, participation_ratio

ROUNDING = 1e-9
N, N_BLOCKS = 70, 4


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N, 9)) * np.linspace(2, 0.5, 9) + 3


@pytest.fixture
def blocks(rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.arange(N) % N_BLOCKS)


@pytest.fixture
def labels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 3, N)


@pytest.fixture
def pairs(x: np.ndarray, blocks: np.ndarray, labels: np.ndarray) -> PairSums:
    permuted = np.stack([np.roll(labels, shift) for shift in (1, 2)])
    factors = {"label": labels, "speaker": blocks}
    rows_at_a_time = 17
    return sum_pairs(centred(x), blocks, factors, {"label": permuted}, memory_bytes=8 * 4 * N * rows_at_a_time)


@pytest.mark.parametrize("left_out", [None, *range(N_BLOCKS)])
def test_each_set_of_clips_as_if_alone(
    pairs: PairSums, x: np.ndarray, blocks: np.ndarray, labels: np.ndarray, left_out: int | None
) -> None:
    kept, index = (blocks != left_out, 1 + left_out) if left_out is not None else (blocks >= 0, 0)
    rest = x[kept]
    expected = participation_ratio(eigenvalues(centred(rest)))
    assert participation_ratio_of(pairs.scatters[index]) == pytest.approx(expected, rel=ROUNDING)
    nearest = np.sort(cdist(rest, rest), axis=1)[:, 1:3]
    np.testing.assert_allclose(pairs.nearest[index][kept], nearest, rtol=1e-6)
    assert np.isnan(pairs.nearest[index][~kept]).all()
    for name, codes in (("label", labels), ("speaker", blocks)):
        expected = silhouette_score(rest, codes[kept])
        assert pairs.silhouettes[name][index] == pytest.approx(expected, abs=ROUNDING)


def test_permuted_classes(pairs: PairSums, x: np.ndarray, labels: np.ndarray) -> None:
    expected = [silhouette_score(x, np.roll(labels, shift)) for shift in (1, 2)]
    np.testing.assert_allclose(pairs.permuted["label"], expected, atol=ROUNDING)


def test_blocks_of_rows_do_not_matter(pairs: PairSums, x: np.ndarray, blocks: np.ndarray, labels: np.ndarray) -> None:
    whole = sum_pairs(centred(x), blocks, {"label": labels})
    np.testing.assert_allclose(whole.nearest, pairs.nearest, rtol=ROUNDING)
    np.testing.assert_allclose(whole.silhouettes["label"], pairs.silhouettes["label"], atol=ROUNDING)
    assert whole.scatters[2].of_squares == pytest.approx(pairs.scatters[2].of_squares, rel=ROUNDING)


def test_one_block_leaves_nothing_out(x: np.ndarray, labels: np.ndarray) -> None:
    found = sum_pairs(centred(x), np.zeros(N, int), {"label": labels})
    assert np.isfinite(found.nearest[0]).all()
    assert np.isnan(found.nearest[1]).all()
    assert np.isnan(participation_ratio_of(found.scatters[1]))
    assert np.isnan(participation_ratio_unbiased(found.scatters[1]))


def test_a_class_that_only_one_block_has(x: np.ndarray) -> None:
    """Two classes, one of them only in block 0: without that block there is nothing to compare."""
    blocks = np.arange(N) % 3
    found = sum_pairs(centred(x), blocks, {"label": (blocks == 0).astype(int)}).silhouettes["label"]
    assert np.isnan(found[1])
    assert np.isfinite(found[[0, 2, 3]]).all()


def test_the_unbiased_participation_ratio_has_little_bias(rng: np.random.Generator) -> None:
    """Known eigenvalues, 20 clips: the plain one is about half of the truth, the other one near it."""
    scale = np.linspace(1.5, 0.5, 30)
    truth = participation_ratio(scale**2)
    found = [sum_pairs(centred(rng.standard_normal((20, 30)) * scale), np.zeros(20, int)) for _ in range(300)]
    plain = np.mean([participation_ratio_of(one.scatters[0]) for one in found])
    assert plain < 0.55 * truth
    # The mean of a ratio is above the ratio of the means: the median is what it is judged by.
    unbiased = np.array([participation_ratio_unbiased(one.scatters[0]) for one in found])
    assert np.nanmedian(unbiased) == pytest.approx(truth, rel=0.1)


def test_it_is_an_average_over_four_different_clips(rng: np.random.Generator) -> None:
    """By brute force over all ordered sets of four of six clips."""
    from itertools import permutations

    x = rng.standard_normal((6, 3))
    squared = cdist(x, x, "sqeuclidean")
    traces, squares = [], []
    for i, j, k, h in permutations(range(6), 4):
        traces.append(squared[i, j] * squared[k, h] / 4)
        squares.append(((x[i] - x[j]) @ (x[k] - x[h])) ** 2 / 4)
    found = participation_ratio_unbiased(sum_pairs(centred(x), np.zeros(6, int)).scatters[0])
    assert found == pytest.approx(np.mean(traces) / np.mean(squares), rel=ROUNDING)


def test_no_estimate_from_a_handful() -> None:
    assert np.isnan(participation_ratio_unbiased(Scatter(3, 1.0, 1.0, 1.0)))
    # Four clips at equal distances: the estimate of tr(C^2) is 0 or below.
    assert np.isnan(participation_ratio_unbiased(sum_pairs(np.eye(4), np.zeros(4, int)).scatters[0]))
