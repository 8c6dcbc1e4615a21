"""Minibatch CKA: one batch is debiased CKA, many are near it, and every batch is unbiased."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.similarity.measures import compare_two
from ser_probe.analysis.similarity.options import Options
from ser_probe.errors import AnalysisError
from tests.analysis.similarity.oracle_cka import linear_cka, u_centred


def test_one_batch_of_all_clips_is_debiased_cka(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 6))
    y = x[:, :3] + rng.standard_normal((40, 3))
    for batch in (40, 256):
        assert compare_two("cka_minibatch", x, y, Options(batch=batch)) == pytest.approx(linear_cka(x, y), abs=1e-10)


def test_it_is_the_ratio_of_means_over_batches(rng: np.random.Generator) -> None:
    x = rng.standard_normal((32, 6))
    y = x[:, :3] + rng.standard_normal((32, 3))
    order = np.random.default_rng(5).permutation(32)
    sums = np.zeros(3)
    for low in (0, 10, 20):  # two clips are left over
        a, b = (u_centred(z[rows] @ z[rows].T) for z in (x, y) for rows in [order[low : low + 10]])
        sums += [(a * b).sum(), (a * a).sum(), (b * b).sum()]
    found = compare_two("cka_minibatch", x, y, Options(batch=10, seed=5))
    assert found == pytest.approx(sums[0] / np.sqrt(sums[1] * sums[2]), abs=1e-10)


def test_many_clips_give_the_value_of_all(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3000, 8))
    y = 2 * x + 3 * rng.standard_normal((3000, 8))
    whole = linear_cka(x, y)
    for batch in (8, 64):
        # The standard error at batches of 8 is about 0.01.
        assert compare_two("cka_minibatch", x, y, Options(batch=batch)) == pytest.approx(whole, abs=0.04)


def test_small_batches_have_no_bias(rng: np.random.Generator) -> None:
    """The counter-case is biased CKA, which at 8 clips and 50 dimensions is near 1 for unrelated data."""
    x, y = rng.standard_normal((2, 4000, 50))
    assert abs(compare_two("cka_minibatch", x, y, Options(batch=8))) < 0.03
    assert compare_two("cka", x[:8], y[:8]) > 0.8


def test_more_passes_use_other_batches(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 60, 5))
    once, twice = (compare_two("cka_minibatch", x, y, Options(batch=10, epochs=epochs)) for epochs in (1, 2))
    assert once != twice
    assert twice == compare_two("cka_minibatch", x, y, Options(batch=10, epochs=2, memory_bytes=1))


def test_a_batch_of_three(rng: np.random.Generator) -> None:
    with pytest.raises(AnalysisError, match="minibatch needs at least 4 clips"):
        compare_two("cka_minibatch", *rng.standard_normal((2, 10, 3)), Options(batch=3))
