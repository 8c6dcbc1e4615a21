from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.probes.families import TEST, TRAIN, Folds
from ser_probe.analysis.probes.tuning import check_class_labels, check_probe_inputs, inner_folds, scaling
from ser_probe.errors import AnalysisError

LABELS = np.array([[0, 1, 2, 0, 1, 2]])
WHOLE = Folds(["a"], np.zeros((1, 6), np.int8))


def test_fewer_speakers_than_inner_folds_give_fewer() -> None:
    own = inner_folds(np.array(["b", "a", "b", "c", "c", "a"]), 5)
    assert len(np.unique(own)) == 3
    assert own[0] == own[2] != own[1] == own[5]


def test_inner_folds_do_not_depend_on_the_order_of_clips(rng: np.random.Generator) -> None:
    groups, order = rng.integers(0, 9, 60), rng.permutation(60)
    np.testing.assert_array_equal(inner_folds(groups, 4)[order], inner_folds(groups[order], 4))


def test_a_single_speaker_is_divided_by_clips_and_said(caplog: pytest.LogCaptureFixture) -> None:
    own = inner_folds(np.array(["a"] * 7), 3)
    np.testing.assert_array_equal(np.bincount(own), [3, 2, 2])
    assert "All 7 training clips are of one speaker" in caplog.text
    assert len(np.unique(inner_folds(np.array(["a"] * 2), 5))) == 2


def test_one_inner_fold_is_no_choice() -> None:
    with pytest.raises(AnalysisError, match="chosen on inner folds"):
        inner_folds(np.array(["a", "b"]), 1)


def test_scaling_ignores_constant_features_and_other_clips(rng: np.random.Generator) -> None:
    x = rng.standard_normal((20, 3)).astype(np.float32) * 4 + 1
    x[:, 1] = 0.1
    x[15:] = 99
    mean, factor = scaling(x, np.arange(15))
    np.testing.assert_allclose(mean, x[:15].mean(axis=0, dtype=np.float64))
    assert factor[1] == 0
    np.testing.assert_allclose((x[:15, [0, 2]] * factor[[0, 2]]).std(axis=0), 1, rtol=1e-6)


def test_a_fold_needs_two_training_clips() -> None:
    parts = np.full((2, 6), TRAIN, np.int8)
    parts[1, 1:] = TEST
    with pytest.raises(AnalysisError, match="too few clips to train") as error:
        check_probe_inputs(np.ones((1, 6, 2)), {}, Folds(["a", "b"], parts))
    assert error.value.where == "fold b"


@pytest.mark.parametrize("labels", [LABELS[0], LABELS.astype(float), LABELS[:0]])
def test_labels_must_be_rows_of_whole_numbers(labels: np.ndarray) -> None:
    with pytest.raises(AnalysisError, match="not a table of class numbers"):
        check_class_labels(labels, 3, WHOLE)


def test_labels_must_be_classes_where_they_train() -> None:
    with pytest.raises(AnalysisError, match="not class numbers"):
        check_class_labels(LABELS, 2, WHOLE)
    tested = Folds(["a"], np.array([[0, 0, 2, 0, 0, 2]], np.int8))
    np.testing.assert_array_equal(check_class_labels(LABELS, 2, tested), LABELS)


def test_a_fold_needs_two_classes() -> None:
    parts = np.array([[0, 0, 0, 0, 0, 0], [0, 2, 2, 0, 2, 2]], np.int8)
    with pytest.raises(AnalysisError, match="single class") as error:
        check_class_labels(LABELS, 3, Folds(["a", "b"], parts))
    assert error.value.where == "fold b, row 0 of the labels"
