"""The rows at the head of the report that are about similarity."""

from __future__ import annotations

import pandas as pd
import pytest

from ser_probe.report.similarity.headline import layers_headline, similarity_headline

from ..drawn import Tables


def test_the_most_and_least_similar_layers_are_named(tables: Tables) -> None:
    similarity = tables["similarity"].copy()
    rows = (similarity["layer_a"] == "1") & (similarity["measure"] == "cka_debiased")
    similarity.loc[rows & (similarity["layer_b"] == "functionals"), "value"] = 0.9
    head = similarity_headline(similarity)
    assert list(head["step"]) == [0, 50, 100, 150]
    assert list(head["most similar layer"]) == ["1"] * 4
    assert list(head["highest CKA"]) == [0.9] * 4


def test_the_layers_of_two_files_that_are_most_alike_are_named(tables: Tables) -> None:
    pairs = [
        ("step-0", "0", "step-4", "0", 0.7),
        ("step-0", "0", "step-4", "1", 0.9),
        ("step-0", "1", "step-4", "1", 0.5),
    ]
    within = [("step-0", "0", "step-0", "0", 1.0), ("step-0", "0", "step-0", "1", 0.95)]
    acoustic = [("step-0", "0", "", "functionals", 0.99)]
    columns = ["checkpoint_a", "layer_a", "checkpoint_b", "layer_b", "value"]
    table = pd.DataFrame([*pairs, *within, *acoustic], columns=columns)
    table = table.assign(model_a="m", model_b="m", measure="cka_debiased")
    (row,) = layers_headline(table).to_dict("records")
    assert (row["first"], row["second"]) == ("m step-0", "m step-4")
    assert (row["most alike"], row["debiased linear CKA"]) == ("0 and 1", 0.9)
    assert (row["least alike"], row["and there"]) == ("1 and 1", 0.5)
    assert row["mean of equal layers"] == pytest.approx(0.6)
    (row,) = layers_headline(table[table["checkpoint_b"] == "step-0"]).to_dict("records")
    assert row["most alike"] == "0 and 1", "a layer beside itself says nothing"
