"""Numeric targets: scores, controls, the chosen layer and changes of ridge probes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import r2_score

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.probes.change_table import number_change_table
from ser_probe.analysis.probes.divisions import rotated_folds, single_fold
from ser_probe.analysis.probes.families import TEST
from ser_probe.analysis.probes.family_table import FAMILIES
from ser_probe.analysis.probes.fitting import scored_clips
from ser_probe.analysis.probes.numbers import (
    Regressions,
    best_number_layers,
    count_part,
    fit_numbers,
    number_table,
    r2_contributions,
)
from ser_probe.analysis.probes.targets import Target, make_target
from ser_probe.errors import AnalysisError

from .conftest import cell

N, RIDGE = 120, FAMILIES["ridge"]
GROUPS = np.repeat([f"s{i}" for i in range(6)], 20)
FOLDS = rotated_folds(np.repeat(np.arange(3), 40))
NAMES = [RepresentationKey("m", "step-0", 0.0, layer) for layer in ("0", "1")]
# float32 answers against float64 ones.
SINGLE = 1e-5


@pytest.fixture
def targets(rng: np.random.Generator) -> list[Target]:
    return [
        make_target(name, pd.Series(5 + 2 * rng.standard_normal(N)), GROUPS, kind="numbers")
        for name in ("arousal", "valence")
    ]


@pytest.fixture
def x(rng: np.random.Generator, targets: list[Target]) -> np.ndarray:
    """Layer 1 holds arousal and a little of valence, layer 0 neither."""
    values = rng.standard_normal((2, N, 6))
    values[1, :, 0] += targets[0].values
    values[1, :, 1] += 0.3 * targets[1].values
    return values.astype(np.float32)


@pytest.fixture
def probes(x: np.ndarray, targets: list[Target]) -> Regressions:
    return fit_numbers(x, targets, FOLDS, names=NAMES, spec=RIDGE)


def test_scores_are_those_of_the_answers(probes: Regressions, targets: list[Target]) -> None:
    table = number_table(probes)
    assert len(table) == 2 * 2 * 2 * 5
    truth = targets[0].values[scored_clips(FOLDS, TEST).clip]
    rows = cell(table, layer="1", target="arousal", split="test").set_index("measure")
    assert rows["value"]["r2"] == pytest.approx(r2_score(truth, probes.answers[TEST][1, 0]), abs=SINGLE)
    assert rows["value"]["pearson"] == pytest.approx(pearsonr(truth, probes.answers[TEST][1, 0]).statistic, abs=SINGLE)
    assert (rows["ci_low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["ci_high"]).all()
    assert set(rows["n"]) == {N}
    r2 = cell(table, measure="r2", split="test").set_index(["layer", "target"])["value"]
    assert r2["1", "arousal"] > 0.6 > r2["1", "valence"] > r2["0", "valence"]
    assert r2["0", "arousal"] < 0.1


def test_shuffled_values_teach_nothing(x: np.ndarray, targets: list[Target]) -> None:
    control = fit_numbers(x, targets, FOLDS, names=NAMES, spec=RIDGE, shuffled_labels=True)
    table = number_table(control)
    assert set(table["control"]) == {"shuffled_labels"}
    assert (cell(table, measure="r2", split="test")["value"] < 0.1).all()


def test_unit_and_origin_of_a_target_do_not_matter(x: np.ndarray, targets: list[Target]) -> None:
    scaled = [make_target(each.name, pd.Series(100 * each.values - 7), GROUPS, kind="numbers") for each in targets]
    first, second = (
        number_table(fit_numbers(x, own, FOLDS, names=NAMES, spec=RIDGE), n_resamples=2) for own in (targets, scaled)
    )
    for measure in ("r2", "ccc", "pearson"):
        np.testing.assert_allclose(
            cell(first, measure=measure)["value"], cell(second, measure=measure)["value"], atol=1e-3
        )
    np.testing.assert_allclose(
        100 * cell(first, measure="rmse")["value"], cell(second, measure="rmse")["value"], rtol=1e-3
    )


def test_the_layer_is_chosen_by_r2_on_validation(probes: Regressions) -> None:
    best = best_number_layers(probes, [0, 1]).set_index("target")
    assert best["layer"].to_dict() == {"arousal": "1", "valence": "1"}
    table = cell(number_table(probes), measure="r2", layer="1", split="test").set_index("target")
    assert best["test_value"]["arousal"] == pytest.approx(table["value"]["arousal"])


def test_contributions_sum_to_the_difference_of_r2(probes: Regressions, targets: list[Target]) -> None:
    sums = count_part(probes, TEST)
    found = r2_contributions(sums[0], sums[1])
    assert found.shape == (2, 6)
    truth = targets[0].values[scored_clips(FOLDS, TEST).clip]
    scores = [r2_score(truth, probes.answers[TEST][r, 0]) for r in range(2)]
    assert found[0].sum() == pytest.approx(scores[1] - scores[0], abs=SINGLE)


def test_a_planted_change_is_found(x: np.ndarray, probes: Regressions, targets: list[Target]) -> None:
    after = [RepresentationKey("m", "step-50", 50.0, layer) for layer in ("1", "0")]
    later = fit_numbers(x, targets, FOLDS, names=after, spec=RIDGE)  # layer 0 has become what layer 1 was
    rows = number_change_table(probes, later).set_index(["target", "layer"])
    assert (rows["measure"] == "r2").all()
    assert rows.loc[("arousal", "0"), "p"] == 2.0**-5
    assert rows.loc[("arousal", "0"), "ci_low"] > 0
    assert rows.loc[("arousal", "1"), "ci_high"] < 0
    assert rows.loc[("arousal", "0"), "value"] == pytest.approx(-rows.loc[("arousal", "1"), "value"])
    same = number_change_table(probes, probes)
    assert (same["value"] == 0).all()
    assert (same["p"] == 1).all()
    other = [RepresentationKey("m", "step-50", 50.0, layer) for layer in ("2", "3")]
    assert number_change_table(probes, fit_numbers(x, targets, FOLDS, names=other, spec=RIDGE)).empty


def test_wrong_inputs_are_refused(x: np.ndarray, targets: list[Target]) -> None:
    with pytest.raises(AnalysisError, match="one name per representation"):
        fit_numbers(x, targets, FOLDS, names=NAMES[:1], spec=RIDGE)
    with pytest.raises(AnalysisError, match="same clips"):
        fit_numbers(x[:, 1:], targets, FOLDS, names=NAMES, spec=RIDGE)
    split = np.tile(["train", "validation", "test"], 40)
    with pytest.raises(AnalysisError, match="speaker s0 is in"):
        fit_numbers(x, targets, single_fold(split), names=NAMES, spec=RIDGE)
