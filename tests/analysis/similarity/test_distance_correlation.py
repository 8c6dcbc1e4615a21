"""Distance correlation against its definition from scipy's distances; dependence that no correlation sees."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from ser_probe.analysis.similarity.measures import compare_two, measure_pairs
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.sources import Sides
from tests.analysis.similarity.oracle_cka import doubly_centred, u_centred

ROUTES = 1e-9


def test_it_is_its_definition(rng: np.random.Generator) -> None:
    x = rng.standard_normal((30, 5))
    y = x[:, :2] + rng.standard_normal((30, 2))
    for name, centre, power in (
        ("distance_correlation", doubly_centred, 0.5),
        ("distance_correlation_debiased", u_centred, 1),
    ):
        a, b = (centre(squareform(pdist(z))) for z in (x, y))
        expected = ((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())) ** power
        assert compare_two(name, x, y) == pytest.approx(expected, abs=ROUTES)


def test_a_dependence_without_correlation(rng: np.random.Generator) -> None:
    x = rng.standard_normal((200, 1))
    assert compare_two("distance_correlation", x, x**2) > 0.4
    assert abs(compare_two("cka_debiased", x, x**2)) < 0.1


def test_unrelated_data(rng: np.random.Generator) -> None:
    values = np.array([
        [compare_two(name, x, y) for name in ("distance_correlation", "distance_correlation_debiased")]
        for x, y in (rng.standard_normal((2, 15, 8)) for _ in range(200))
    ])  # fmt: skip
    # The standard error of the mean of 200 such values is about 0.007.
    assert values[:, 1].mean() == pytest.approx(0, abs=0.025)
    assert values[:, 0].mean() > 0.6
    found = measure_pairs(["distance_correlation"], Sides([rng.standard_normal((15, 8))]), Options())
    assert found["distance_correlation"].baseline[0, 0] == pytest.approx(values[:, 0].mean(), abs=0.1)


def test_the_interval_is_that_of_leaving_each_speaker_out(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 4))
    y = x + rng.standard_normal((40, 4))
    groups = rng.permutation(np.repeat(list("abcd"), 10))
    (found,) = measure_pairs(["distance_correlation"], Sides([x], [y]), Options(groups=groups)).values()
    left_out = [compare_two("distance_correlation", x[groups != g], y[groups != g]) for g in "abcd"]
    half = 3.182446 * np.sqrt(3 / 4 * ((left_out - np.mean(left_out)) ** 2).sum())
    assert found.ci_high[0, 0] - found.value[0, 0] == pytest.approx(half, abs=1e-5)
