from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, recall_score

from ser_probe.analysis.metrics import MEASURES
from ser_probe.analysis.probes.families import TEST, VALIDATION
from ser_probe.analysis.probes.family_table import FAMILIES
from ser_probe.analysis.probes.scoring import (
    SELECTIVITY,
    absent_classes,
    score_part,
    score_probes,
    summarise_probes,
    with_selectivity,
)

from .conftest import LABELS, NAMES, Study, cell

ROUNDING = 1e-12  # means of the same numbers in another order


def test_scores_are_those_of_the_answers(study: Study) -> None:
    probes = study.fit()
    table = score_probes(probes)
    assert len(table) == 3 * 3 * 2 * len(MEASURES)
    truth = study.y[study.split == "test"]
    for r, layer in enumerate(NAMES):
        for s in range(3):
            row = cell(table, layer=layer, split="test", probe_seed=s).set_index("measure")
            answer = probes.target.classes[probes.answers[TEST][r, s]]
            assert row["value"]["weighted_f1"] == pytest.approx(f1_score(truth, answer, average="weighted"))
            assert row["value"]["uar"] == pytest.approx(recall_score(truth, answer, average="macro"))
            assert (row["n"] == len(truth)).all()
            assert (row["n_epochs"] == probes.n_epochs[r, 0, s]).all()


def test_answers_of_rotating_folds_are_pooled_before_they_are_scored(study: Study) -> None:
    probes = study.fit(folds=study.rotated)
    row = cell(score_probes(probes), layer="weak", split="test", measure="uar", probe_seed=1)
    answer = np.empty(len(study.y), int)
    answer[np.nonzero(study.rotated.parts == TEST)[1]] = probes.answers[TEST][1, 1]
    assert row["value"].item() == pytest.approx(recall_score(probes.target.values, answer, average="macro"))
    assert row["n"].item() == len(study.y)
    assert row["n_speakers"].item() == 9


def test_the_summary_is_the_mean_over_seeds_with_an_interval_over_speakers(study: Study) -> None:
    probes = study.fit()
    table, summary = score_probes(probes), summarise_probes(probes)
    assert len(summary) == 3 * 2 * len(MEASURES)
    by_seed = table.groupby(["layer", "split", "measure"])["value"]
    summary = summary.set_index(["layer", "split", "measure"])
    np.testing.assert_allclose(summary["value"], by_seed.mean().loc[summary.index])
    np.testing.assert_allclose(summary["std_over_seeds"], by_seed.std().loc[summary.index], atol=ROUNDING)
    test, validation = summary.xs("test", level="split"), summary.xs("validation", level="split")
    assert (test["ci_low"] <= test["value"]).all()
    assert (test["value"] <= test["ci_high"]).all()
    assert test["n_speakers"].unique() == 3
    assert validation[["ci_low", "ci_high"]].isna().all(axis=None)  # two speakers
    pd.testing.assert_frame_equal(summarise_probes(probes), summarise_probes(probes))
    assert summarise_probes(study.fit(seeds=[0]))["std_over_seeds"].isna().all()


def test_the_summarys_interval_is_wider_where_speakers_differ(study: Study) -> None:
    probes = study.fit()
    truth = probes.truth(TEST)
    wrong = (truth + 1) % len(LABELS)
    even, uneven = (np.tile(truth, (3, 3, 1)) for _ in range(2))
    even[..., ::3] = wrong[::3]  # a third of each speaker's clips
    uneven[..., :16] = wrong[:16]  # all of one speaker's clips
    widths = []
    for answers in (even, uneven):
        changed = replace(probes, answers={**probes.answers, TEST: answers.astype(np.int16)})
        row = cell(summarise_probes(changed), layer="noise", split="test", measure="accuracy").iloc[0]
        assert row["value"] == pytest.approx(2 / 3, abs=0.01)
        widths.append(row["ci_high"] - row["ci_low"])
    assert widths[0] < 0.2 < widths[1]


@pytest.mark.parametrize("family", ["linear", "knn"])
def test_selectivity_is_the_score_above_the_control(study: Study, family: str) -> None:
    probes = study.fit(spec=FAMILIES[family])
    control = study.fit(spec=FAMILIES[family], shuffled_labels=True)
    own, other = score_part(probes), score_part(control)
    both = with_selectivity(own, other)
    mean, low, high = both.interval(SELECTIVITY)
    np.testing.assert_allclose(mean, own.values["uar"].mean(axis=1) - other.values["uar"].mean(axis=1), atol=ROUNDING)
    assert mean[2] > 0.4 > abs(mean[0])
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert both.values["uar"] is own.values["uar"]
    rows = cell(score_probes(probes, {TEST: both}), measure=SELECTIVITY)
    assert len(rows) == 3 * len(probes.seeds)
    assert rows.groupby("layer")["value"].mean()["strong"] == pytest.approx(mean[2])


def test_resamples_are_shared_so_that_differences_are_paired(study: Study) -> None:
    first, second = score_part(study.fit()), score_part(study.but(x=study.x[::-1].copy()).fit())
    np.testing.assert_array_equal(first.resampled["uar"][:, 0], second.resampled["uar"][:, 2])


def test_classes_that_no_test_clip_has_are_named(study: Study) -> None:
    assert absent_classes(study.fit()) == []
    y = study.y.copy()
    y[(study.split == "test") & (y == "joy")] = "fear"
    probes = study.but(y=y).fit()
    assert absent_classes(probes) == ["joy"]
    assert absent_classes(probes, VALIDATION) == []
