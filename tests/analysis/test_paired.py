"""Paired tests of models: values of scikit-learn, p-values of scipy and statsmodels, and a null that is kept."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn import metrics as sk
from statsmodels.stats.contingency_tables import mcnemar

from ser_probe.analysis.corrections import holm
from ser_probe.analysis.paired import compare_classifiers, compare_numbers, mcnemar_test
from ser_probe.errors import AnalysisError
from tests.concordance import ccc

C = 3
ROUNDING = 1e-12


def answers(rng: np.random.Generator, labels: np.ndarray, right: float | np.ndarray) -> np.ndarray:
    """Predictions that are right with this chance, and else any class."""
    return np.where(rng.random(len(labels)) < right, labels, rng.integers(0, C, len(labels)))


def row(table: pd.DataFrame, measure: str) -> pd.Series:
    (found,) = [record for _, record in table[table["measure"] == measure].iterrows()]
    return found


def per_speaker(labels: np.ndarray, a: np.ndarray, b: np.ndarray, speakers: np.ndarray, measure: str) -> np.ndarray:
    """What each speaker adds to the difference of accuracy or UAR."""
    weight = 1 / np.bincount(labels)[labels] / C if measure == "uar" else np.full(len(labels), 1 / len(labels))
    return np.bincount(speakers, ((a == labels).astype(float) - (b == labels)) * weight)


@pytest.mark.parametrize("measure", ["uar", "accuracy"])
def test_p_is_that_of_scipy_over_speakers(rng: np.random.Generator, measure: str) -> None:
    labels, speakers = rng.integers(0, C, 90), np.arange(90) % 7
    a, b = answers(rng, labels, 0.7), answers(rng, labels, 0.4)
    found = row(compare_classifiers(labels, {"a": a[None], "b": b[None]}, C, speakers), measure)
    own = per_speaker(labels, a, b, speakers, measure)
    reference = scipy.stats.permutation_test((own,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert found["value"] == pytest.approx(own.sum(), abs=ROUNDING)
    assert found["p"] == pytest.approx(reference.pvalue, abs=ROUNDING)
    assert found["smallest_p"] == 2**-6
    assert (found["n"], found["n_speakers"]) == (90, 7)


def test_macro_f1_is_that_of_sklearn_and_its_p_of_all_swaps(rng: np.random.Generator) -> None:
    labels, speakers = rng.integers(0, C, 40), np.arange(40) % 4
    a, b = answers(rng, labels, 0.8), answers(rng, labels, 0.3)
    found = row(compare_classifiers(labels, {"a": a[None], "b": b[None]}, C, speakers), "macro_f1")

    def difference(swapped: tuple[int, ...]) -> float:
        turned = np.array(swapped)[speakers] == 1
        one, other = np.where(turned, b, a), np.where(turned, a, b)
        return float(sk.f1_score(labels, one, average="macro") - sk.f1_score(labels, other, average="macro"))

    every = np.array([difference(swapped) for swapped in itertools.product((0, 1), repeat=4)])
    assert found["value"] == pytest.approx(every[0], abs=ROUNDING)
    assert found["score_a"] == pytest.approx(sk.f1_score(labels, a, average="macro"), abs=ROUNDING)
    assert found["p"] == pytest.approx((np.abs(every) >= abs(every[0]) - ROUNDING).mean(), abs=ROUNDING)


@pytest.mark.parametrize(("only_a", "only_b"), [(9, 2), (0, 5), (7, 7), (1, 0)])
def test_mcnemar_is_that_of_statsmodels(only_a: int, only_b: int) -> None:
    reference = mcnemar([[20, only_a], [only_b, 8]], exact=True).pvalue
    assert mcnemar_test(only_a, only_b) == pytest.approx(reference, abs=ROUNDING)


def test_mcnemar_counts_clips_that_one_model_has_right(rng: np.random.Generator) -> None:
    labels, speakers = rng.integers(0, C, 60), np.arange(60) % 6
    a, b = answers(rng, labels, 0.8), answers(rng, labels, 0.2)
    table = compare_classifiers(labels, {"a": a[None], "b": b[None], "a again": a[None]}, C, speakers)
    accuracy = table[table["measure"] == "accuracy"].set_index(["model_a", "model_b"])
    first = accuracy.loc[("a", "b")]
    assert first["only_a_right"] == ((a == labels) & (b != labels)).sum()
    assert first["only_b_right"] == ((a != labels) & (b == labels)).sum()
    assert accuracy.loc[("a", "a again"), "p_mcnemar"] == 1
    assert accuracy.loc[("a", "a again"), "p"] == 1
    assert table.loc[table["measure"] != "accuracy", "p_mcnemar"].isna().all()
    for name in ("p", "p_mcnemar"):
        np.testing.assert_array_equal(accuracy[f"{name}_holm"], holm(accuracy[name].to_numpy()))


def test_with_two_speakers_no_p_is_below_a_half() -> None:
    labels, speakers = np.arange(40) % C, np.arange(40) % 2
    right, wrong = labels[None], (labels[None] + 1) % C
    found = row(compare_classifiers(labels, {"a": right, "b": wrong}, C, speakers), "uar")
    assert (found["value"], found["p"], found["smallest_p"]) == (1, 0.5, 0.5)
    assert np.isnan(found["ci_low"])
    assert row(compare_classifiers(labels, {"a": right, "b": wrong}, C, speakers), "accuracy")["p_mcnemar"] < 1e-9


def test_without_speakers_only_mcnemar_is_left() -> None:
    labels = np.arange(40) % C
    table = compare_classifiers(labels, {"a": labels[None], "b": (labels[None] + 1) % C}, C, None)
    assert table[["p", "p_holm", "ci_low", "smallest_p"]].isna().all(axis=None)
    assert row(table, "accuracy")["p_mcnemar"] < 1e-9
    assert (table["n_speakers"] == 0).all()


def test_several_runs_are_averaged_and_are_no_observations(rng: np.random.Generator) -> None:
    labels, speakers = rng.integers(0, C, 60), np.arange(60) % 5
    a = np.stack([answers(rng, labels, 0.7) for _ in range(3)])
    b = np.stack([answers(rng, labels, 0.5) for _ in range(3)])
    table = compare_classifiers(labels, {"a": a, "b": b}, C, speakers)
    expected = np.mean([sk.balanced_accuracy_score(labels, one) - sk.balanced_accuracy_score(labels, other)
                        for one, other in zip(a, b, strict=True)])  # fmt: skip
    assert row(table, "uar")["value"] == pytest.approx(expected, abs=ROUNDING)
    assert table["smallest_p"].eq(2**-4).all()
    assert table["p_mcnemar"].isna().all() if "p_mcnemar" in table else True
    unequal = compare_classifiers(labels, {"a": a, "b": b[:2]}, C, speakers)
    assert np.isnan(row(unequal, "macro_f1")["p"]), "runs cannot be paired"
    own = np.mean([[per_speaker(labels, one, other, speakers, "uar") for other in b[:2]] for one in a], axis=(0, 1))
    reference = scipy.stats.permutation_test((own,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert row(unequal, "uar")["p"] == pytest.approx(reference.pvalue, abs=ROUNDING)


def test_numbers_are_compared_by_concordance(rng: np.random.Generator) -> None:
    true, speakers = rng.standard_normal(60), np.arange(60) % 5
    a, b = true + 0.3 * rng.standard_normal(60), true + 2 * rng.standard_normal(60)
    table = compare_numbers(true, {"a": a[None], "b": b[None]}, speakers)
    assert row(table, "ccc")["value"] == pytest.approx(ccc(true, a) - ccc(true, b), abs=1e-9)
    assert row(table, "ccc")["p"] == pytest.approx(2**-4)
    assert row(table, "rmse")["value"] < 0
    low, high = row(table, "ccc")[["ci_low", "ci_high"]]
    assert low < row(table, "ccc")["value"] < high
    constant = compare_numbers(np.ones(60), {"a": np.ones((1, 60)), "b": np.ones((1, 60))}, speakers)
    assert np.isnan(row(constant, "ccc")["p"])


def test_many_speakers_are_drawn_and_agree_with_the_exact_test(rng: np.random.Generator) -> None:
    labels, speakers = rng.integers(0, C, 160), np.arange(160) % 16
    a, b = answers(rng, labels, 0.6), answers(rng, labels, 0.5)
    found = row(compare_classifiers(labels, {"a": a[None], "b": b[None]}, C, speakers), "accuracy")
    own = per_speaker(labels, a, b, speakers, "accuracy")
    exact = scipy.stats.permutation_test((own,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert found["p"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9999) + 1e-4)
    assert found["smallest_p"] == 1e-4


def test_a_null_over_speakers_is_kept_where_mcnemar_fails(rng: np.random.Generator) -> None:
    """Neither model is better, but each is at home with certain speakers: clips are not independent."""
    n_studies, n_speakers, n_clips = 100, 8, 40
    speakers = np.repeat(np.arange(n_speakers), n_clips)
    found = []
    for _ in range(n_studies):
        labels = rng.integers(0, C, len(speakers))
        skill_a, skill_b = rng.uniform(0.2, 0.9, (2, n_speakers))
        a, b = answers(rng, labels, skill_a[speakers]), answers(rng, labels, skill_b[speakers])
        table = compare_classifiers(labels, {"a": a[None], "b": b[None]}, C, speakers, n_resamples=100)
        found.append([*table["p"], row(table, "accuracy")["p_mcnemar"]])
    shares = (np.array(found) <= 0.05).mean(axis=0)
    # Of a binomial of 100 with 5 %, 99.9 % lie below 0.13. McNemar's is four times off at least.
    assert (shares[:3] < 0.13).all()
    assert shares[3] > 0.2


def test_lengths_must_agree() -> None:
    with pytest.raises(AnalysisError, match="do not describe the same clips"):
        compare_classifiers(np.zeros(4, int), {"a": np.zeros((1, 3), int)}, 1, np.arange(4))
