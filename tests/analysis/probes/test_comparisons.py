"""The tests of a change: exact against enumeration and scipy, calibrated without an effect, powerful with one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import accuracy_score, recall_score

from benchmarks.probe_simulation import null_p_values, pipeline_p_values, simulate_answers
from ser_probe.analysis.corrections import holm
from ser_probe.analysis.metrics import count_answers
from ser_probe.analysis.probes.comparisons import compare_layers, contributions, fold_tests, sign_flip_test
from ser_probe.analysis.probes.divisions import rotated_folds

ROUNDING = 1e-12
N_SETS = 2000
# A share of 2000 at 5 % has a standard error of 0.5 %; 3.5 of them.
ALLOWED = 0.017
# Differences are counted in clips, so that many sign patterns tie with the observed one: large p are larger still.
TIES = 0.09


def test_contributions_sum_to_the_difference_of_the_score(rng: np.random.Generator) -> None:
    truth, codes = rng.integers(0, 4, 300), rng.integers(0, 5, 300)
    answers = rng.integers(0, 4, (2, 2, 3, 300))
    before, after = (count_answers(truth, own, codes, n_groups=5, n_classes=4) for own in answers)
    for measure, score in (
        ("uar", lambda own: recall_score(truth, own, average="macro")),
        ("accuracy", lambda own: accuracy_score(truth, own)),
    ):
        found = contributions(before, after, measure)
        assert found.shape == (2, 5)
        for layer in range(2):
            expected = [np.mean([score(own) for own in state[layer]]) for state in answers]
            assert found[layer].sum() == pytest.approx(expected[1] - expected[0], abs=ROUNDING)
        np.testing.assert_allclose(contributions(after, before, measure), -found, atol=ROUNDING)


def test_classes_that_do_not_occur_do_not_count(rng: np.random.Generator) -> None:
    truth, codes = rng.integers(0, 3, 200), rng.integers(0, 5, 200)
    answers = rng.integers(0, 3, (2, 1, 1, 200))
    small, large = ([count_answers(truth, own, codes, n_groups=5, n_classes=n) for own in answers] for n in (3, 4))
    np.testing.assert_allclose(contributions(*small, "uar"), contributions(*large, "uar"), atol=ROUNDING)


@pytest.mark.parametrize("n_speakers", [1, 2, 5, 9])
def test_few_speakers_are_enumerated(rng: np.random.Generator, n_speakers: int) -> None:
    differences = rng.standard_normal((3, n_speakers))
    p, smallest = sign_flip_test(differences)
    patterns = np.array(list(itertools.product([-1, 1], repeat=n_speakers)))
    for row, value in zip(differences, p, strict=True):
        assert value == np.mean(np.abs(patterns @ row) >= abs(row.sum()) - ROUNDING)
    assert smallest == 2.0 ** (1 - n_speakers)
    assert sign_flip_test(np.full((1, n_speakers), 0.1))[0] == [smallest], "all alike in one direction"
    np.testing.assert_array_equal(sign_flip_test(7 * differences)[0], p)
    np.testing.assert_array_equal(sign_flip_test(differences[:, ::-1])[0], p)


def test_the_test_is_that_of_scipy(rng: np.random.Generator) -> None:
    differences = rng.standard_normal(9) + 0.4
    expected = scipy.stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_test(differences[None])[0][0] == pytest.approx(expected.pvalue, abs=ROUNDING)


def test_many_speakers_are_drawn_and_agree_with_the_exact_test(rng: np.random.Generator) -> None:
    differences = rng.standard_normal((20, 15)) + 0.3
    exact, _ = sign_flip_test(differences)
    padded = np.concatenate([differences, np.zeros((20, 1))], axis=1)  # a speaker who adds nothing changes nothing
    drawn, smallest = sign_flip_test(padded)
    # The standard error of a share of 9999 draws is 0.005 at most; 4 of them.
    np.testing.assert_allclose(drawn, exact, atol=0.02)
    assert (drawn != exact).any()
    assert smallest == 1e-4
    assert sign_flip_test(np.full((1, 40), 0.2))[0] == [1e-4]
    np.testing.assert_array_equal(sign_flip_test(padded)[0], drawn)
    assert (sign_flip_test(padded, seed=1)[0] != drawn).any()


def test_no_difference_has_the_p_of_one() -> None:
    assert sign_flip_test(np.zeros((2, 6)))[0].tolist() == [1, 1]
    assert sign_flip_test(np.zeros((1, 30)))[0].tolist() == [1]


@pytest.mark.parametrize(("n_speakers", "measure"), [(8, "uar"), (14, "accuracy"), (30, "uar")])
def test_without_an_effect_p_is_uniform(n_speakers: int, measure: str) -> None:
    p = null_p_values(N_SETS, n_speakers=n_speakers, measure=measure)
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        share = (p <= level).mean()
        assert share <= level + ALLOWED * np.sqrt(level / 0.05), level
        assert share >= level - (0.015 if level < 0.1 else TIES), level


def test_clips_as_units_would_not_be_calibrated() -> None:
    """The counter-case: where a probe suits some speakers better, clips are no independent witnesses."""
    before, after = simulate_answers(400, n_speakers=8, change_spread=1.0, clips_per_class=20)
    right = (after[:, 0, :, 0] - before[:, 0, :, 0]).sum(axis=(1, 2))
    spread = np.sqrt((before[:, 0, :, 0] * (1 - before[:, 0, :, 0] / 20)).sum(axis=(1, 2)) * 2)
    by_clip = 2 * scipy.stats.norm.sf(np.abs(right / spread))
    assert (by_clip < 0.05).mean() > 0.3
    by_speaker, _ = sign_flip_test(contributions(before, after, "uar"))
    assert (by_speaker < 0.05).mean() < 0.09


def test_an_effect_is_found() -> None:
    assert (null_p_values(200, n_speakers=15, effect=1.0) < 0.05).mean() > 0.9


def test_holm_is_that_of_statsmodels(rng: np.random.Generator) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.concatenate([rng.random(20), [0.001, 0.001, 1.0]])
    np.testing.assert_allclose(holm(p), multitest.multipletests(p, method="holm")[1], atol=ROUNDING)


def test_holm_keeps_the_order_and_never_lowers() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]
    assert holm(np.array([0.02])).tolist() == [0.02]


def test_layers_are_tested_together() -> None:
    differences = np.array([[0.1] * 6, [0.1, -0.1, 0.1, -0.1, 0.1, -0.1]])
    changes = compare_layers(differences)
    np.testing.assert_allclose(changes.value, [0.6, 0], atol=ROUNDING)
    assert changes.p.tolist() == [changes.smallest_p, 1]
    assert changes.p_holm.tolist() == [2 * changes.smallest_p, 1]


def test_folds_that_overlap_are_corrected_for(rng: np.random.Generator) -> None:
    folds = rotated_folds(np.arange(50) % 5)
    differences = rng.standard_normal((2, 5)) + 1
    found = fold_tests(differences, folds)
    for row, p in zip(differences, found, strict=True):
        # Nadeau & Bengio 2003 by hand: 10 test clips, 30 training clips.
        t = row.mean() / (row.std(ddof=1) * np.sqrt(1 / 5 + 10 / 30))
        assert p == pytest.approx(2 * scipy.stats.t.sf(abs(t), 4), abs=ROUNDING)
        assert p > scipy.stats.ttest_1samp(row, 0).pvalue
    assert np.isnan(fold_tests(np.array([[0.1, 0.2, np.nan, 0, 0]]), folds)).all()


@pytest.mark.parametrize("n_folds", [1, 5])
def test_layers_that_did_not_change_are_left_alone(n_folds: int) -> None:
    """The whole way: two embeddings of equal worth, probes trained on both, and their test."""
    p = pipeline_p_values(100, n_train=8, n_test=10 if n_folds == 1 else 20, n_folds=n_folds)
    # A share of 100 at 5 % has a standard error of 2.2 %; 3 of them.
    assert (p <= 0.05).mean() <= 0.05 + 0.066
    assert (p <= 0.5).mean() > 0.3


def test_layers_that_changed_are_found() -> None:
    assert (pipeline_p_values(40, n_train=8, n_test=12, effect=1.0) < 0.05).mean() > 0.9
