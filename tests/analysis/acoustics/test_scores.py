"""Scores from sums over speakers: scikit-learn's and scipy's values, nulls, invariances, sensitivities."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import r2_score

from ser_probe.analysis.acoustics.folds import acoustic_folds
from ser_probe.analysis.acoustics.scores import (
    MEASURES,
    change_p,
    interval,
    left_out_scores,
    scores_of,
    speaker_sums,
    widening,
)
from ser_probe.errors import AnalysisError
from tests.concordance import ccc

ROUNDING = 1e-10
N = 120
SPEAKERS = np.arange(N) % 5
Answers = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def answers(rng: np.random.Generator) -> Answers:
    """Truth, predictions and reference [N, 3]: good ones of voices that differ, worthless ones, a constant."""
    y = rng.standard_normal((N, 3)) + SPEAKERS[:, None] + 100
    predicted = np.stack([y[:, 0] + 0.5 * rng.standard_normal(N), rng.standard_normal(N), np.full(N, 7.0)], axis=1)
    y[:, 2] = 7
    return y, predicted, np.broadcast_to(y.mean(axis=0), y.shape)


def scored(answers: Answers, kept: np.ndarray | slice = slice(None)) -> dict[str, np.ndarray]:
    return scores_of(speaker_sums(*(each[kept] for each in answers), SPEAKERS[kept]).sum(axis=0))


def test_other_packages_values(answers: Answers) -> None:
    y, predicted, _ = answers
    found = scored(answers)
    for k in (0, 1):
        assert found["r2"][k] == pytest.approx(r2_score(y[:, k], predicted[:, k]), rel=ROUNDING)
        assert found["pearson"][k] == pytest.approx(scipy.stats.pearsonr(y[:, k], predicted[:, k])[0], abs=ROUNDING)
        assert found["ccc"][k] == pytest.approx(ccc(y[:, k], predicted[:, k]), abs=ROUNDING)
        own = [y[:, k].copy(), predicted[:, k].copy()]
        for values in own:
            for speaker in range(5):
                values[speaker == SPEAKERS] -= values[speaker == SPEAKERS].mean()
        assert found["r2_within"][k] == pytest.approx(1 - ((own[0] - own[1]) ** 2).sum() / (own[0] ** 2).sum())
    for measure in MEASURES:
        assert np.isnan(found[measure][2]), f"{measure} of a constant"


def test_the_reference_is_the_training_mean(answers: Answers) -> None:
    y, _, _ = answers
    reference = np.broadcast_to([3.0, 3.0, 3.0], y.shape)
    always = scores_of(speaker_sums(y, reference, reference, SPEAKERS).sum(axis=0))
    np.testing.assert_array_equal(always["r2"][:2], 0)
    np.testing.assert_allclose(always["r2_within"][:2], 0, atol=1e-9)


def test_correlations_are_of_deviations_from_the_training_mean(answers: Answers, rng: np.random.Generator) -> None:
    """Answers that have learnt nothing but the training means, which lie opposite to the held-out truth."""
    y = rng.standard_normal((N, 1)) + SPEAKERS[:, None]
    reference = np.stack([y[speaker != SPEAKERS].mean(axis=0) for speaker in SPEAKERS])
    predicted = reference + 0.01 * rng.standard_normal((N, 1))
    found = scores_of(speaker_sums(y, predicted, reference, SPEAKERS).sum(axis=0))
    assert scipy.stats.pearsonr(y[:, 0], predicted[:, 0])[0] < -0.5
    expected = scipy.stats.pearsonr((y - reference)[:, 0], (predicted - reference)[:, 0])[0]
    assert found["pearson"][0] == pytest.approx(expected)
    assert abs(found["pearson"][0]) < 0.25
    assert abs(found["ccc"][0]) < 0.02


def test_each_left_out_speaker(answers: Answers) -> None:
    found = left_out_scores(speaker_sums(*answers, SPEAKERS))
    for speaker in range(5):
        expected = scored(answers, speaker != SPEAKERS)
        for measure, values in found.items():
            np.testing.assert_allclose(values[1 + speaker][:2], expected[measure][:2], rtol=1e-9)
    value, low, high = interval(found["r2"], MEASURES["r2"], 1.0)
    assert low[0] < value[0] < high[0] <= 1


def test_units_do_not_matter(answers: Answers) -> None:
    moved = scored(tuple(1000 * each - 3 for each in answers))  # type: ignore[arg-type]
    for measure, values in scored(answers).items():
        np.testing.assert_allclose(moved[measure], values, rtol=1e-7)


def test_what_each_measure_punishes(answers: Answers) -> None:
    y, predicted, reference = answers
    before = scored(answers)
    shifted, shrunk = predicted + 2, predicted.mean(axis=0) + 0.3 * (predicted - predicted.mean(axis=0))
    by_speaker = predicted + 3 * np.cos(SPEAKERS)[:, None]
    for other, changes, stays in (
        (shifted, ("r2", "ccc"), ("pearson", "r2_within")),
        (shrunk, ("r2", "ccc", "r2_within"), ("pearson",)),
        (by_speaker, ("r2", "ccc", "pearson"), ("r2_within",)),
    ):
        after = scored((y, other, reference))
        for measure in changes:
            assert after[measure][0] < before[measure][0] - 0.05
        for measure in stays:
            assert after[measure][0] == pytest.approx(before[measure][0])


def test_how_much_wider_than_the_folds_alone() -> None:
    folds = acoustic_folds(np.arange(50) % 10, 5)
    assert widening(folds) == pytest.approx(np.sqrt((1 / 5 + 10 / 40) / (1 / 5)))


def test_p_of_a_change() -> None:
    """One functional that stays, one that changes alike for all speakers, one that changes only for some."""
    changes = np.array([[0.0, 0.5, 0.1], [0.0, 0.501, 0.0], [0.0, 0.499, 0.2], [0.0, 0.5, 0.05], [0.0, 0.5, 0.15]])
    p = change_p(changes, 1.5)
    assert p[0] == 1
    assert p[1] < 1e-6
    t = 0.1 / (1.5 * np.sqrt(3) * changes[1:, 2].std())
    assert p[2] == pytest.approx(2 * scipy.stats.t.sf(t, 3))
    assert np.isnan(change_p(changes[:3], 1.5)).all(), "two speakers"
    _, low, high = interval(changes, (-np.inf, np.inf), 1.5)
    assert low[1] > 0
    assert low[2] < 0 < high[2], "the interval and the test agree"


def test_other_clips(answers: Answers) -> None:
    with pytest.raises(AnalysisError, match="The inputs do not describe the same clips"):
        speaker_sums(answers[0], answers[1][:-1], answers[2], SPEAKERS)
