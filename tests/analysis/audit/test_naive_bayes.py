"""Predictions by bins, against a second route: plain loops that leave out each fold and count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.audit.naive_bayes import SMOOTHING, BinnedBayes
from ser_probe.analysis.audit.property_bins import Bins, bin_values

N, FOLDS, CLASSES = 90, 4, 3
GROUPS = [[0], [1, 2], [0, 1, 2]]


def posterior(bins: list[Bins], folds: np.ndarray, classes: np.ndarray, clip: int) -> np.ndarray:
    """Return the posterior of each class for a clip, from the clips of all other folds."""
    training = folds != folds[clip]
    product = np.ones(CLASSES)
    for each in bins:
        same = training & (each.codes == each.codes[clip])
        for name in range(CLASSES):
            expected = same.sum() / training.sum() * (training & (classes == name)).sum()
            product[name] *= ((same & (classes == name)).sum() + SMOOTHING) / (expected + SMOOTHING)
    return product / product.sum()


@pytest.fixture
def problem(rng: np.random.Generator) -> tuple[list[Bins], np.ndarray, np.ndarray]:
    classes = rng.integers(0, CLASSES, N)
    shown = [rng.integers(0, 4, N) + classes, rng.integers(0, 3, N), np.where(classes == 1, 7, rng.integers(0, 3, N))]
    bins = [Bins(np.unique(values, return_inverse=True)[1], *2 * [(0.0,) * len(set(values))],
                 np.ones(len(set(values)), bool)) for values in shown]  # fmt: skip
    return bins, rng.integers(0, FOLDS, N), classes


def test_equals_counting_by_hand(problem: tuple[list[Bins], np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    bins, folds, classes = problem
    fit = BinnedBayes(bins, folds, CLASSES, GROUPS)
    arrangements = np.stack([classes, rng.permutation(classes)])
    certainty = fit.certainty(arrangements, [0, 1, 2])
    np.testing.assert_allclose(fit.certainty(arrangements, [2, 0]), certainty[:, [2, 0]], rtol=1e-5)
    answers = fit.predict(classes)
    for place, group in enumerate(GROUPS):
        members = [bins[member] for member in group]
        for row, arranged in enumerate(arrangements):
            by_hand = np.stack([posterior(members, folds, arranged, clip) for clip in range(N)])
            of_true = by_hand[np.arange(N), arranged]
            mean = np.mean([of_true[arranged == name].mean() for name in range(CLASSES)])
            np.testing.assert_allclose(certainty[row, place], mean, rtol=1e-5)
            if row == 0:
                np.testing.assert_array_equal(answers[place], by_hand.argmax(axis=1))


def test_a_clip_does_not_teach_its_own_fold(problem: tuple[list[Bins], np.ndarray, np.ndarray]) -> None:
    """All clips of a fold given another class: what is predicted of them stays."""
    bins, folds, classes = problem
    before = BinnedBayes(bins, folds, CLASSES, GROUPS).predict(classes)
    after = BinnedBayes(bins, folds, CLASSES, GROUPS).predict(np.where(folds == 1, (classes + 1) % CLASSES, classes))
    np.testing.assert_array_equal(before[:, folds == 1], after[:, folds == 1])
    assert (before != after).any()


def test_what_is_constant_gives_chance(rng: np.random.Generator) -> None:
    classes = rng.integers(0, CLASSES, N)
    fit = BinnedBayes([bin_values(pd.Series(np.zeros(N)))], rng.integers(0, FOLDS, N), CLASSES, [[0]])
    np.testing.assert_allclose(fit.certainty(classes[None], [0]), 1 / CLASSES, rtol=1e-6)
    assert set(fit.predict(classes)[0]) == {0}


def test_a_bin_that_training_never_saw_says_nothing() -> None:
    """Each fold has a value of its own, and the first class is rare: it must not be taken for the likeliest."""
    folds = np.repeat(np.arange(3), 30)
    classes = (np.arange(90) % 10 > 0).astype(int)
    fit = BinnedBayes([bin_values(pd.Series(folds.astype(float)))], folds, 2, [[0]])
    np.testing.assert_allclose(fit.certainty(classes[None], [0]), 0.5, rtol=1e-6)
