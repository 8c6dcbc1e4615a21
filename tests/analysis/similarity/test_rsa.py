"""RSA against scipy's distances and rank correlation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from scipy.spatial.distance import pdist

from ser_probe.analysis.similarity.measures import compare_two, measure_pairs
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.sources import Sides
from ser_probe.errors import AnalysisError

ROUTES = 1e-10


@pytest.mark.parametrize("rdm", ["correlation", "euclidean"])
def test_it_is_the_correlation_of_scipys_distances(rng: np.random.Generator, rdm: str) -> None:
    x = rng.standard_normal((25, 6)) + 4
    y = x[:, :4] + rng.standard_normal((25, 4))
    x[3], y[3] = x[4], y[4]  # ties
    options = Options(rdm=rdm)  # type: ignore[arg-type]
    a, b = pdist(x, rdm), pdist(y, rdm)
    assert compare_two("rsa", x, y, options) == pytest.approx(scipy.stats.spearmanr(a, b).statistic, abs=ROUTES)
    assert compare_two("rsa_pearson", x, y, options) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=ROUTES)


def test_clips_that_all_resemble_each_other_keep_their_differences(rng: np.random.Generator) -> None:
    """Layers share a large vector between clips: correlations of 0.99999, whose differences float32 must keep."""
    x = (rng.standard_normal((40, 30)) + 300 * rng.standard_normal(30)).astype(np.float32)
    y = (x + rng.standard_normal((40, 30))).astype(np.float32)
    expected = np.corrcoef(*(pdist(z.astype(float), "correlation") for z in (x, y)))[0, 1]
    assert compare_two("rsa_pearson", x, y) == pytest.approx(expected, abs=1e-6)


def test_only_the_order_counts_for_ranks(rng: np.random.Generator) -> None:
    x = rng.standard_normal((30, 1)).cumsum(axis=0)
    options = Options(rdm="euclidean")
    # Distances on a line, and their squares in the plane of (x, x^2) scaled down: another order only by a little.
    assert compare_two("rsa", x, 5 * x, options) == pytest.approx(1, abs=ROUTES)
    far = x.copy()
    far[0] += 1e6
    assert compare_two("rsa_pearson", x, far, options) < compare_two("rsa", x, far, options) - 0.1


def test_intervals_leave_out_a_speakers_pairs(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 5))
    y = x + rng.standard_normal((40, 5))
    groups = rng.permutation(np.repeat(list("abcd"), 10))
    found = measure_pairs(["rsa", "rsa_pearson"], Sides([x], [y]), Options(groups=groups))
    left_out = [compare_two("rsa_pearson", x[groups != g], y[groups != g]) for g in "abcd"]
    half = 3.182446 * np.sqrt(3 / 4 * ((left_out - np.mean(left_out)) ** 2).sum())
    pearson = found["rsa_pearson"]
    assert pearson.value[0, 0] - pearson.ci_low[0, 0] == pytest.approx(half, abs=1e-5)
    spearman = found["rsa"]
    # Ranks stay those among all pairs, so it is near, not equal.
    assert spearman.value[0, 0] - spearman.ci_low[0, 0] == pytest.approx(half, rel=0.4)


def test_a_clip_without_variation_over_its_features(rng: np.random.Generator) -> None:
    x = rng.standard_normal((20, 4))
    x[5] = 2
    with pytest.raises(AnalysisError, match="features are all equal has no correlation"):
        compare_two("rsa", x, rng.standard_normal((20, 4)))
    assert abs(compare_two("rsa", x, x, Options(rdm="euclidean"))) == pytest.approx(1)


def test_ranks_need_pairs_that_differ() -> None:
    with pytest.raises(AnalysisError, match="All pairs of clips are alike by distance"):
        compare_two("rsa", np.eye(8), np.eye(8), Options(rdm="euclidean"))
