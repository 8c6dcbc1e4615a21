"""Changes between two states of the same layers: what is planted is found, what is not planted is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.probes.change_table import centre_table, change_table, shared_layers
from ser_probe.analysis.probes.families import TEST
from ser_probe.analysis.probes.fitting import Probes, scored_clips
from ser_probe.analysis.probes.scoring import score_part

from .conftest import LABELS, NAMES, Study, cell


def keys(step: int, layers: list[str]) -> list[RepresentationKey]:
    return [RepresentationKey("m", f"step-{step}", float(step), layer) for layer in layers]


def state(study: Study, step: int, shares: list[float], rng: np.random.Generator) -> Probes:
    """Probes of three layers that are right on so many of their clips, at random."""
    probes = study.fit(folds=study.rotated)
    truth = probes.truth(TEST)
    hit = rng.random((3, 3, len(truth))) < np.array(shares)[:, None, None]
    answers = np.where(hit, truth, (truth + 1) % len(LABELS)).astype(np.int16)
    return replace(probes, names=keys(step, ["0", "1", "2"]), answers={**probes.answers, TEST: answers})


@pytest.fixture
def table_of_changes(study: Study, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    before, after = state(study, 0, [0.4, 0.4, 0.4], rng), state(study, 50, [0.4, 0.7, 0.1], rng)
    return change_table(before, after, score_part(before), score_part(after))


def test_a_planted_change_is_found_and_no_other(table_of_changes) -> None:  # type: ignore[no-untyped-def]
    uar = cell(table_of_changes, measure="uar").set_index("layer")
    assert (uar["reference"] == "step-0").all()
    assert (uar["checkpoint"] == "step-50").all()
    np.testing.assert_allclose(uar["value"], uar["after"] - uar["before"])
    assert uar["value"].to_dict() == pytest.approx({"0": 0, "1": 0.3, "2": -0.3}, abs=0.08)
    assert uar.loc[["1", "2"], "p"].to_list() == [2.0**-8] * 2
    assert uar.loc["1", "p_holm"] == 3 * 2.0**-8
    assert uar.loc["0", "p"] > 0.05
    assert (uar["ci_low"] < uar["value"]).all()
    assert uar.loc["1", "ci_low"] > 0 > uar.loc["2", "ci_high"]
    assert uar.loc["0", "ci_low"] < 0 < uar.loc["0", "ci_high"]
    assert set(uar["smallest_p"]) == {2.0**-8}
    assert set(uar["n_speakers"]) == {9}
    assert uar.loc["1", "p_folds"] < 0.1 < uar.loc["0", "p_folds"]  # of three folds
    assert (uar["p_folds_holm"] >= uar["p_folds"]).all()


def test_a_single_fold_has_no_test_over_folds(study: Study) -> None:
    before = replace(study.fit(), names=keys(0, NAMES))
    after = replace(study.fit(seeds=range(3, 6)), names=keys(50, NAMES))
    table = change_table(before, after, score_part(before), score_part(after))
    assert "p_folds" not in table
    assert set(table["smallest_p"]) == {0.25}
    assert (table["p"] >= 0.25).all()


def test_only_shared_layers_are_compared(study: Study) -> None:
    probes = study.fit()
    before, after = replace(probes, names=keys(0, NAMES)), replace(probes, names=keys(50, ["weak", "deep", "noise"]))
    assert shared_layers(before.names, after.names) == [(0, 2), (1, 0)]  # type: ignore[arg-type]
    table = change_table(before, after, score_part(before), score_part(after))
    assert cell(table, measure="uar")["layer"].tolist() == ["noise", "weak"]
    # What was the strong layer's is now called noise.
    assert cell(table, measure="uar", layer="noise")["value"].item() > 0.4
    other = replace(probes, names=keys(50, ["a", "b", "c"]))
    assert change_table(before, other, score_part(before), score_part(other)).empty


def test_the_centre_follows_what_is_read(study: Study) -> None:
    probes = replace(study.fit(), names=keys(0, ["0", "1", "2"]))
    control = study.fit(shuffled_labels=True)
    table = centre_table(probes, score_part(probes), score_part(control)).set_index("measure")
    assert 1.5 < table["value"]["centre_of_gravity"] <= 2
    assert 1 < table["value"]["expected_layer"] <= 2
    assert (table["ci_low"] <= table["value"]).all()
    assert (table["ci_high"] <= 2).all()
    # In the order of the network, whatever the order of the rows.
    turned = replace(study.but(x=study.x[::-1].copy()).fit(), names=keys(0, ["2", "1", "0"]))
    backward = centre_table(turned, score_part(turned), None).set_index("measure")
    forward = centre_table(probes, score_part(probes), None).set_index("measure")
    np.testing.assert_allclose(backward["value"], forward["value"])
    alone = replace(study.but(x=study.x[:1]).fit(names=["noise"]), names=keys(0, ["0"]))
    assert centre_table(alone, score_part(alone), None).empty


def test_swapping_the_states_turns_the_change_round(study: Study, rng: np.random.Generator) -> None:
    before, after = state(study, 0, [0.4, 0.5, 0.6], rng), state(study, 50, [0.5, 0.5, 0.5], rng)
    there = change_table(before, after, score_part(before), score_part(after))
    back = change_table(after, before, score_part(after), score_part(before))
    np.testing.assert_allclose(there["value"], -back["value"], atol=1e-12)
    np.testing.assert_array_equal(there["p"], back["p"])
    assert len(scored_clips(before.folds, TEST).clip) == there["n"].iloc[0]
