"""RBF CKA against its definition with kernels from scipy, and its limit of a wide kernel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from ser_probe.analysis.similarity.kernels import median_distance
from ser_probe.analysis.similarity.measures import compare_two, measure_pairs
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.sources import Sides
from ser_probe.errors import AnalysisError
from tests.analysis.similarity.oracle_cka import doubly_centred, u_centred

ROUTES = 1e-10


def _kernel(x: np.ndarray, fraction: float) -> np.ndarray:
    distances = pdist(x)
    return np.exp(-(squareform(distances) ** 2) / (2 * (fraction * np.median(distances)) ** 2))


@pytest.mark.parametrize("fraction", [0.2, 0.8])
def test_it_is_its_definition(rng: np.random.Generator, fraction: float) -> None:
    x = rng.standard_normal((30, 5))
    y = x[:, :3] + rng.standard_normal((30, 3))
    for name, centre in (("cka_rbf", doubly_centred), ("cka_rbf_debiased", u_centred)):
        k, l = centre(_kernel(x, fraction)), centre(_kernel(y, fraction))  # noqa: E741 - the paper's letters
        expected = (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())
        assert compare_two(name, x, y, Options(rbf_fraction=fraction)) == pytest.approx(expected, abs=ROUTES)


def test_a_wide_kernel_is_linear_cka(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 5))
    y = x[:, :3] + rng.standard_normal((40, 3))
    for wide, linear in (("cka_rbf", "cka"), ("cka_rbf_debiased", "cka_debiased")):
        assert compare_two(wide, x, y, Options(rbf_fraction=100)) == pytest.approx(compare_two(linear, x, y), abs=1e-3)
        assert abs(compare_two(wide, x, y, Options(rbf_fraction=0.3)) - compare_two(linear, x, y)) > 0.02


def test_the_baseline_is_the_mean_over_permutations(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 40, 30))
    found = measure_pairs(["cka_rbf"], Sides([x], [y]), Options())["cka_rbf"]
    permuted = [compare_two("cka_rbf", x, y[rng.permutation(40)]) for _ in range(300)]
    assert found.baseline[0, 0] > 0.5
    assert np.mean(permuted) == pytest.approx(found.baseline[0, 0], abs=3 * np.std(permuted) / np.sqrt(300))


def test_the_median_is_that_of_all_pairs(rng: np.random.Generator) -> None:
    x = rng.standard_normal((50, 4))
    assert median_distance(x, (x**2).sum(axis=1)) == pytest.approx(np.median(pdist(x)))


def test_a_kernel_too_narrow_to_see_any_pair(rng: np.random.Generator) -> None:
    x = rng.standard_normal((20, 50))
    with pytest.raises(AnalysisError, match="All pairs of clips are alike by rbf"):
        compare_two("cka_rbf_debiased", x, x, Options(rbf_fraction=0.01))
