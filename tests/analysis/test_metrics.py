from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn import metrics as sk

from ser_probe.analysis.metrics import (
    AGREEMENT_MEASURES,
    CLASS_MEASURES,
    FIT_MEASURES,
    MEASURES,
    agreement_scores,
    answer_scores,
    class_scores,
    confusion_matrices,
    confusion_scores,
    count_answers,
    sum_agreement,
)
from ser_probe.errors import AnalysisError
from tests.concordance import ccc

N_CLASSES = 5
# Both are sums of the same few hundred float64 terms.
ROUNDING = 1e-12


@pytest.mark.parametrize("missing", [None, "true", "predicted", "both"])
def test_scores_equal_sklearn(rng: np.random.Generator, missing: str | None) -> None:
    y_true, y_pred = rng.integers(0, N_CLASSES, 200), rng.integers(0, N_CLASSES, (3, 4, 200))
    if missing in ("true", "both"):
        y_true[y_true == 2] = 0
    if missing in ("predicted", "both"):
        y_pred[y_pred == 2] = 1
    confusion = confusion_matrices(y_true, y_pred, N_CLASSES)
    scores = confusion_scores(confusion)
    assert tuple(scores) == MEASURES
    for cell in np.ndindex(3, 4):
        own = y_pred[cell]
        expected = {
            "weighted_f1": sk.f1_score(y_true, own, average="weighted", zero_division=0),
            "macro_f1": sk.f1_score(y_true, own, average="macro", zero_division=0),
            "uar": sk.recall_score(y_true, own, average="macro", labels=np.unique(y_true)),
            "accuracy": sk.accuracy_score(y_true, own),
        }
        np.testing.assert_array_equal(confusion[cell], sk.confusion_matrix(y_true, own, labels=np.arange(N_CLASSES)))
        for measure, value in expected.items():
            assert scores[measure][cell] == pytest.approx(value, abs=ROUNDING)


def test_uar_ignores_how_often_a_class_occurs_and_accuracy_does_not() -> None:
    rare, common = np.array([[2, 0], [1, 1]]), np.array([[20, 0], [1, 1]])
    assert confusion_scores(rare)["uar"] == confusion_scores(common)["uar"] == 0.75
    assert confusion_scores(rare)["accuracy"] < confusion_scores(common)["accuracy"]


def test_no_clips_have_no_score() -> None:
    assert all(np.isnan(value) for value in confusion_scores(np.zeros((3, 3), int)).values())


def test_predictions_of_other_clips_are_refused() -> None:
    with pytest.raises(AnalysisError, match="do not describe the same clips"):
        confusion_matrices(np.zeros(3, int), np.zeros((2, 4), int), 2)


def _ccc(x: np.ndarray, y: np.ndarray) -> float:
    return float(agreement_scores(sum_agreement(x, y, np.zeros(len(x), int), 1)[0])["ccc"])


def test_ccc_equals_its_closed_form_and_feels_shift_and_scale(rng: np.random.Generator) -> None:
    x = rng.standard_normal(400)
    y = 0.5 * x + 0.3 * rng.standard_normal(400) + 0.2
    pearson = np.corrcoef(x, y)[0, 1]
    expected = 2 * pearson * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert _ccc(x, y) == pytest.approx(expected, abs=ROUNDING)
    assert _ccc(x, x) == pytest.approx(1, abs=ROUNDING)
    assert _ccc(x, -x + 2 * x.mean()) == pytest.approx(-1, abs=ROUNDING)
    assert _ccc(x, x + 1) < 0.8  # Pearson's r would be 1
    assert _ccc(x, 3 * x) < 0.8
    assert _ccc(x, np.ones(400)) == pytest.approx(0, abs=ROUNDING)


def test_ccc_of_equal_constants_is_not_defined() -> None:
    assert np.isnan(_ccc(np.ones(3), np.ones(3)))


@pytest.mark.parametrize("missing", [None, "true", "predicted", "both"])
def test_class_scores_equal_sklearn(rng: np.random.Generator, missing: str | None) -> None:
    y_true, y_pred = rng.integers(0, N_CLASSES, 200), rng.integers(0, N_CLASSES, (2, 200))
    if missing in ("true", "both"):
        y_true[y_true == 2] = 0
    if missing in ("predicted", "both"):
        y_pred[y_pred == 2] = 1
    confusion = confusion_matrices(y_true, y_pred, N_CLASSES)
    scores, whole = class_scores(confusion), confusion_scores(confusion)
    assert tuple(scores) == CLASS_MEASURES
    for row in range(2):
        expected = sk.precision_recall_fscore_support(
            y_true, y_pred[row], labels=np.arange(N_CLASSES), zero_division=np.nan
        )
        for measure, values in zip(CLASS_MEASURES, expected, strict=True):
            np.testing.assert_allclose(scores[measure][row], values, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(np.nanmean(scores["recall"], axis=1), whole["uar"], rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(np.nanmean(scores["f1"], axis=1), whole["macro_f1"], rtol=0, atol=ROUNDING)


def test_counted_answers_are_the_margins_of_the_confusion_of_each_speaker(rng: np.random.Generator) -> None:
    y_true, y_pred = rng.integers(0, N_CLASSES, 200), rng.integers(0, N_CLASSES, (2, 3, 200))
    codes = rng.integers(0, 7, 200)
    counts = count_answers(y_true, y_pred, codes, n_groups=7, n_classes=N_CLASSES)
    assert counts.shape == (2, 3, 7, 3, N_CLASSES)
    for speaker in range(7):
        own = codes == speaker
        confusion = confusion_matrices(y_true[own], y_pred[..., own], N_CLASSES)
        np.testing.assert_array_equal(counts[..., speaker, 0, :], np.diagonal(confusion, axis1=-2, axis2=-1))
        np.testing.assert_array_equal(counts[..., speaker, 1, :], confusion.sum(axis=-1))
        np.testing.assert_array_equal(counts[..., speaker, 2, :], confusion.sum(axis=-2))
    whole = confusion_scores(confusion_matrices(y_true, y_pred, N_CLASSES))
    for measure, values in answer_scores(counts.sum(axis=-3)).items():
        np.testing.assert_array_equal(values, whole[measure])


def agreement(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    return {
        name: float(value[0]) for name, value in agreement_scores(sum_agreement(x, y, x.astype(int) * 0, 1)).items()
    }


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_agreement_is_that_of_other_libraries_and_routes(rng: np.random.Generator, offset: float) -> None:
    """Also far from 0, where sums of squares as they stand would have lost all their digits."""
    x = rng.standard_normal(300)
    y = 0.6 * x + 0.4 * rng.standard_normal(300) + 0.3
    found = agreement(x + offset, y + offset)
    assert tuple(found) == FIT_MEASURES
    assert set(FIT_MEASURES) - set(AGREEMENT_MEASURES) == {"r2"}
    # The inputs themselves are rounded to 1e-16 of the offset.
    tolerance = ROUNDING + 1e-15 * offset
    expected = {
        "r2": sk.r2_score(x, y),
        "ccc": ccc(x, y),
        "pearson": scipy.stats.pearsonr(x, y).statistic,
        "rmse": sk.root_mean_squared_error(x, y),
        "mae": sk.mean_absolute_error(x, y),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=tolerance), name


def test_agreement_of_speakers_adds_up(rng: np.random.Generator) -> None:
    x, y, codes = rng.random(90), rng.random(90), rng.integers(0, 4, 90)
    whole = agreement_scores(sum_agreement(x, y, codes, 4).sum(axis=0))
    assert {name: float(value) for name, value in whole.items()} == pytest.approx(agreement(x, y), abs=ROUNDING)


def test_agreement_of_constants_is_not_defined() -> None:
    x, constant = np.arange(9.0), np.full(9, 0.1)
    found = agreement(x, constant)
    assert found["ccc"] == pytest.approx(0, abs=ROUNDING)
    assert np.isnan(found["pearson"]), "rounding would leave a variance of 1e-17, and any correlation"
    assert np.isnan(agreement(constant, constant)["ccc"])
    assert np.isnan(agreement(constant, x)["r2"])
    assert agreement(x, np.full(9, x.mean()))["r2"] == pytest.approx(0, abs=ROUNDING)
    assert agreement(constant, constant)["rmse"] == 0
