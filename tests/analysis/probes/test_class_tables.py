from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ser_probe.analysis.probes import class_tables
from ser_probe.analysis.probes.class_tables import class_table, confusion_table
from ser_probe.analysis.probes.families import TEST
from ser_probe.analysis.probes.scoring import score_part

from .conftest import LABELS, NAMES, Study, cell


def test_scores_per_class_are_those_of_sklearn(study: Study) -> None:
    probes = study.fit()
    table = class_table(probes, score_part(probes))
    assert len(table) == 3 * 4 * 3
    expected = np.mean([
        precision_recall_fscore_support(probes.truth(TEST), own, labels=range(4), zero_division=0)[:3]
        for own in probes.answers[TEST][1]
    ], axis=0)  # fmt: skip
    for measure, values in zip(("precision", "recall", "f1"), expected, strict=True):
        rows = cell(table, layer="weak", measure=measure)
        assert rows["class"].tolist() == sorted(LABELS)
        np.testing.assert_allclose(rows["value"], values)
        assert (rows["ci_low"] <= rows["value"]).all()
        assert (rows["value"] <= rows["ci_high"]).all()
        assert set(rows["n"]) == {12}


def test_a_class_that_does_not_occur_has_no_recall(study: Study) -> None:
    y = study.y.copy()
    y[(study.split == "test") & (y == "joy")] = "fear"
    probes = study.but(y=y).fit()
    table = class_table(probes, score_part(probes))
    assert cell(table, **{"class": "joy", "measure": "recall"})["value"].isna().all()
    assert cell(table, **{"class": "fear", "measure": "recall"})["n"].tolist() == [24] * 3


def test_a_class_of_one_speaker_keeps_its_interval(study: Study) -> None:
    """Resamples without that speaker do not have the class and say nothing of it."""
    y = study.y.copy()
    y[(study.split == "test") & (y == "joy") & (study.groups != "s6")] = "fear"
    probes = study.but(y=y).fit()
    row = cell(class_table(probes, score_part(probes)), layer="weak", measure="recall", **{"class": "joy"})
    assert row[["value", "ci_low", "ci_high"]].notna().all(axis=None)


def test_who_is_taken_for_whom(study: Study) -> None:
    probes = study.fit()
    table = confusion_table(probes, [2])
    rows = cell(table, layer="weak")
    expected = np.mean([confusion_matrix(probes.truth(TEST), own) for own in probes.answers[TEST][1]], axis=0)
    np.testing.assert_allclose(rows["count"].to_numpy().reshape(4, 4), expected)
    np.testing.assert_allclose(rows.groupby("true")["share"].sum(), 1)
    assert cell(table, chosen=True)["layer"].unique().tolist() == ["strong"]
    assert table["layer"].unique().tolist() == NAMES


def test_of_many_classes_only_chosen_layers_are_listed(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_tables, "MOST_CLASSES_OF_ALL_LAYERS", 3)
    assert confusion_table(study.fit(), [0])["layer"].unique().tolist() == ["noise"]


def test_undefined_resamples_change_neither_mean_nor_spread(rng: np.random.Generator) -> None:
    resampled = rng.random((1000, 2))
    gaps = resampled.copy()
    gaps[::3, 0] = np.nan
    filled = class_tables._without_gaps(gaps, np.zeros(2))
    np.testing.assert_array_equal(filled[:, 1], resampled[:, 1])
    known = gaps[np.isfinite(gaps[:, 0]), 0]
    assert filled[:, 0].mean() == pytest.approx(known.mean())
    assert filled[:, 0].std() == pytest.approx(known.std())


def test_the_control_is_a_row_like_any_other(study: Study) -> None:
    probes = replace(study.fit(), control="random_weights")
    assert set(class_table(probes, score_part(probes))["control"]) == {"random_weights"}
