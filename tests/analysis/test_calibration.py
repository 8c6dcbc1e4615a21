"""Calibration: closed forms, a second route straight from the paper's equation, and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from ser_probe.analysis.calibration import (
    bin_confidences,
    brier_scores,
    calibration_error,
    check_probabilities,
    log_losses,
    reliability_table,
    sum_bins,
    top_label,
)
from ser_probe.errors import AnalysisError
from tests.analysis.calibration_error import expected_calibration_error

# Sums of the same few hundred float64 terms in another order.
ROUNDING = 1e-12


def random_probabilities(rng: np.random.Generator, n: int, n_classes: int = 4) -> np.ndarray:
    return rng.dirichlet(np.full(n_classes, 0.7), n)


def guo_equation_3(confidence: np.ndarray, right: np.ndarray, n_bins: int) -> float:
    """Guo et al. 2017, equation 3, bin by bin as it stands there: I_m = ((m - 1) / M, m / M]."""
    total = 0.0
    for m in range(1, n_bins + 1):
        inside = (confidence > (m - 1) / n_bins) & (confidence <= m / n_bins)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_the_error_is_the_papers(rng: np.random.Generator, n_bins: int) -> None:
    p, labels = random_probabilities(rng, 300), rng.integers(0, 4, 300)
    confidence, right = top_label(p, labels)
    found = expected_calibration_error(confidence, right, n_bins=n_bins)
    assert found == pytest.approx(guo_equation_3(confidence, right, n_bins), abs=ROUNDING)


def test_closed_forms() -> None:
    right = np.arange(10) < 8
    assert expected_calibration_error(np.full(10, 0.8), right) == pytest.approx(0, abs=ROUNDING)
    assert expected_calibration_error(np.full(10, 0.95), right) == pytest.approx(0.15, abs=ROUNDING)
    assert expected_calibration_error(np.full(10, 0.8), ~right) == pytest.approx(0.6, abs=ROUNDING)
    # Two bins that are off to either side do not make up for each other, unless they are one bin.
    confidence, mixed = np.repeat([0.5, 0.9], 10), np.tile(np.arange(10) < 7, 2)
    assert expected_calibration_error(confidence, mixed) == pytest.approx(0.2, abs=ROUNDING)
    assert expected_calibration_error(confidence, mixed, n_bins=1) == pytest.approx(0, abs=ROUNDING)


def test_a_border_belongs_to_the_bin_below() -> None:
    confidence = np.array([0.0, 0.2, 0.2 + 1e-9, 1.0])
    sums = sum_bins(confidence, np.ones(4, bool), bin_confidences(confidence, 5), np.zeros(4, int), 1)
    assert sums[0, :, 0].tolist() == [2, 1, 0, 0, 1]


def test_calibrated_predictions_have_an_error_that_vanishes_with_their_number(rng: np.random.Generator) -> None:
    def error(n: int) -> float:
        p = random_probabilities(rng, n)
        drawn = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1)
        return expected_calibration_error(*top_label(p, np.minimum(drawn, 3)))

    few, many = np.mean([error(60) for _ in range(20)]), error(200_000)
    assert few > 0.05, "a small sample looks uncalibrated even if it is not"
    assert many < 0.01
    over_sure = np.linspace(0.4, 1, 10_000)
    assert expected_calibration_error(over_sure, rng.random(10_000) < over_sure - 0.2) > 0.15


def test_equal_mass_bins_hold_as_many_clips(rng: np.random.Generator) -> None:
    confidence, right = rng.beta(8, 2, 150), rng.random(150) < 0.6
    borders = bin_confidences(confidence, 15, "equal_mass")
    sums = sum_bins(confidence, right, borders, np.zeros(150, int), 1)
    assert sums[0, :, 0].tolist() == [10] * 15
    order = np.argsort(confidence)
    by_hand = sum(abs(right[part].sum() - confidence[part].sum()) for part in np.array_split(order, 15)) / 150
    found = expected_calibration_error(confidence, right, scheme="equal_mass")
    assert found == pytest.approx(by_hand, abs=ROUNDING)
    assert found != pytest.approx(expected_calibration_error(confidence, right), abs=1e-4)
    # The order of the clips does not matter, even where confidences are equal.
    confidence = confidence.round(1)
    turned = expected_calibration_error(confidence[::-1], right[::-1], scheme="equal_mass")
    assert expected_calibration_error(confidence, right, scheme="equal_mass") == pytest.approx(turned, abs=ROUNDING)


def test_sums_of_speakers_add_up(rng: np.random.Generator) -> None:
    confidence, right, codes = rng.random(200), rng.random(200) < 0.5, rng.integers(0, 5, 200)
    sums = sum_bins(confidence, right, bin_confidences(confidence), codes, 5)
    whole = expected_calibration_error(confidence, right)
    assert calibration_error(sums.sum(axis=0)) == pytest.approx(whole, abs=ROUNDING)
    one = calibration_error(sums)[3]
    assert one == pytest.approx(expected_calibration_error(confidence[codes == 3], right[codes == 3]), abs=ROUNDING)
    assert np.isnan(calibration_error(np.zeros((15, 3))))


def test_the_reliability_table_holds_the_error(rng: np.random.Generator) -> None:
    confidence, right = rng.beta(8, 2, 80), rng.random(80) < 0.6
    table = reliability_table(confidence, right)
    assert (len(table), table["n"].sum()) == (15, 80)
    assert table.loc[table["n"] == 0, ["confidence", "accuracy"]].isna().all(axis=None)
    filled = table[table["n"] > 0]
    assert ((filled["confidence"] > filled["low"]) & (filled["confidence"] <= filled["high"])).all()
    error = (filled["n"] * (filled["accuracy"] - filled["confidence"]).abs()).sum() / 80
    assert error == pytest.approx(expected_calibration_error(confidence, right), abs=ROUNDING)


def test_brier_score_and_log_loss_are_sklearns(rng: np.random.Generator) -> None:
    p, labels = random_probabilities(rng, 200), rng.integers(0, 4, 200)
    expected = sk.brier_score_loss(labels, p, labels=range(4), scale_by_half=False)
    assert brier_scores(p, labels).mean() == pytest.approx(expected, abs=ROUNDING)
    assert log_losses(p, labels).mean() == pytest.approx(sk.log_loss(labels, p, labels=range(4)), abs=ROUNDING)


def test_brier_score_and_log_loss_at_their_ends() -> None:
    sure, labels = np.eye(3), np.array([0, 1, 0])
    assert brier_scores(sure, labels).tolist() == [0, 0, 2]
    losses = log_losses(sure, labels)
    assert losses[:2].tolist() == [0, 0]
    assert losses[2] == pytest.approx(708.4, abs=0.1), "the smallest positive float64, not infinity"
    assert brier_scores(np.full((1, 4), 0.25), np.array([2]))[0] == pytest.approx(0.75, abs=ROUNDING)
    assert log_losses(np.full((1, 4), 0.25), np.array([2]))[0] == pytest.approx(np.log(4), abs=ROUNDING)


def test_the_first_of_equal_probabilities_is_the_prediction() -> None:
    confidence, right = top_label(np.full((2, 2), 0.5), np.array([0, 1]))
    assert (confidence.tolist(), right.tolist()) == ([0.5, 0.5], [True, False])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0.5, 0.6]], "Values are not probabilities"),
        ([[1.5, -0.5]], "Values are not probabilities"),
        ([[np.nan, 1.0]], "Values are not probabilities"),
        ([[0.2, 0.3, 0.5]], "Probabilities have the wrong shape"),
    ],
)
def test_what_is_no_probability_is_refused(values: list[list[float]], message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        check_probabilities(np.array(values), 2)


def test_stored_probabilities_are_taken() -> None:
    assert check_probabilities(np.float32([[0.1, 0.9]]).round(4), 2).dtype == np.float64


@pytest.mark.parametrize(("n_bins", "scheme"), [(0, "equal_width"), (15, "equal_weight")])
def test_bins_that_are_none_are_refused(n_bins: int, scheme: str) -> None:
    with pytest.raises(AnalysisError, match="Confidences cannot be binned like this"):
        bin_confidences(np.array([0.5]), n_bins, scheme)
