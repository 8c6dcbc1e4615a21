"""Two models, each at the layer that its own validation chose, on the same clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.probes.families import TEST, VALIDATION
from ser_probe.analysis.probes.fitting import Probes
from ser_probe.analysis.probes.model_table import model_table
from ser_probe.analysis.probes.scoring import score_part
from ser_probe.analysis.probes.selection import best_layers

from .conftest import Study


def layers_of(probes: Probes, model: str, *places: int) -> Probes:
    """Return some of the representations as the layers of a model."""
    names = [RepresentationKey(model, f"{model}-9", 9.0, str(layer)) for layer in range(len(places))]
    answers = {part: given[list(places)] for part, given in probes.answers.items()}
    return replace(probes, names=names, answers=answers)


@pytest.mark.parametrize("rotated", [False, True])
def test_scores_are_those_of_the_chosen_layers(study: Study, rotated: bool) -> None:
    probes = study.fit(folds=study.rotated if rotated else study.folds)
    models = {"poor": layers_of(probes, "poor", 0, 1), "rich": layers_of(probes, "rich", 0, 2, 1)}
    table = model_table(models).set_index("measure")
    for name, side in (("poor", "a"), ("rich", "b")):
        best = best_layers(models[name], score_part(models[name])).iloc[0]
        assert table.loc["uar", f"model_{side}"] == name
        assert table.loc["uar", f"score_{side}"] == pytest.approx(best["test_value"])
        for column in ("layer", "checkpoint", "step", "chosen_by"):
            assert table.loc["uar", f"{column}_{side}"] == best[column]
    assert table.loc["uar", "layer_b"] == "1"
    np.testing.assert_allclose(table["value"], table["score_a"] - table["score_b"])
    assert table.loc["uar", "value"] < 0
    assert table.loc["uar", "n_speakers"] == (9 if rotated else 3)
    if rotated:
        assert table.loc["uar", "p"] == table.loc["uar", "smallest_p"] == 2.0**-8, "better with every speaker"
        assert table.loc["uar", "ci_high"] < 0


def test_test_answers_choose_nothing(study: Study) -> None:
    """A layer that is right on test alone is not chosen, and a model that answers the same does not differ."""
    probes = study.fit()
    answers = {part: given.copy() for part, given in probes.answers.items()}
    answers[TEST][0] = probes.truth(TEST)
    answers[VALIDATION][0] = (probes.truth(VALIDATION) + 1) % 4
    lucky = replace(probes, answers=answers)
    table = model_table({"a": layers_of(lucky, "a", 0, 1), "b": layers_of(lucky, "b", 1)})
    assert set(table["layer_a"]) == {"1"}
    assert (table["value"] == 0).all()
    assert (table["p"] == 1).all()


def test_one_model_is_compared_with_none_and_three_are_three_pairs(study: Study) -> None:
    probes = study.fit()
    models = {name: layers_of(probes, name, place) for place, name in enumerate("abc")}
    assert model_table({"a": models["a"]}).empty
    table = model_table(models)
    assert list(zip(table["model_a"], table["model_b"], strict=True))[::3] == [("a", "b"), ("a", "c"), ("b", "c")]
    uar = table[table["measure"] == "uar"]
    assert (uar["p_holm"] >= uar["p"]).all()
