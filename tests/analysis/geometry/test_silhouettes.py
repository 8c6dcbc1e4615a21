"""Silhouettes: scikit-learn's values, invariances, and classes that cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group
from sklearn.metrics import silhouette_score

from ser_probe.analysis.geometry.pairs import sum_pairs
from ser_probe.analysis.geometry.silhouettes import check_classes
from ser_probe.analysis.resampling import group_codes
from ser_probe.errors import AnalysisError

ROUNDING = 1e-10


def silhouette(x: np.ndarray, classes: np.ndarray) -> float:
    codes = group_codes(classes)[1]
    check_classes(codes, "The silhouette")
    pairs = sum_pairs(x - x.mean(axis=0), np.zeros(len(x), int), {"class": codes})
    return float(pairs.silhouettes["class"][0])


@pytest.fixture
def classes(rng: np.random.Generator) -> np.ndarray:
    return np.array(["a", "b", "c"])[rng.integers(0, 3, 80)]


@pytest.fixture
def x(rng: np.random.Generator, classes: np.ndarray) -> np.ndarray:
    return rng.standard_normal((80, 5)) + (classes == "a")[:, None] * 2 + 30


def test_scikit_learns_values(x: np.ndarray, classes: np.ndarray) -> None:
    assert silhouette(x, classes) == pytest.approx(silhouette_score(x, classes), abs=ROUNDING)
    alone = np.where(np.arange(80) == 3, "d", classes)
    assert silhouette(x, alone) == pytest.approx(silhouette_score(x, alone), abs=ROUNDING)
    # Copies of a clip: a distance of 0 that rounding must not turn into something.
    copied, twice = np.concatenate([x, x]), np.concatenate([classes, classes])
    assert silhouette(copied, twice) == pytest.approx(silhouette_score(copied, twice), abs=1e-6)


def test_invariances(x: np.ndarray, classes: np.ndarray) -> None:
    turned = 5 * x @ ortho_group.rvs(5, random_state=1) - 100
    assert silhouette(turned, classes) == pytest.approx(silhouette(x, classes), abs=ROUNDING)


def test_it_grows_as_classes_part(x: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> None:
    apart = x + 20 * (classes == "b")[:, None]
    assert silhouette(apart, classes) > silhouette(x, classes) > silhouette(x, rng.permutation(classes))


def test_all_clips_equal_within_classes() -> None:
    assert silhouette(np.array([[0.0], [0], [1], [1]]), np.array(list("aabb"))) == pytest.approx(1)
    assert silhouette(np.zeros((4, 1)), np.array(list("aabb"))) == 0


@pytest.mark.parametrize("n_classes", [1, 80])
def test_classes_that_cannot_be_compared(x: np.ndarray, n_classes: int) -> None:
    with pytest.raises(AnalysisError, match="The silhouette needs at least two classes") as raised:
        silhouette(x, np.arange(80) % n_classes)
    assert raised.value.found == f"{n_classes} classes of 80 clips"
