"""Rows are picked, ordered and kept apart as the figures need them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ser_probe.errors import AnalysisError
from ser_probe.report.tables import (
    NO_STEP,
    at_step,
    best_layers,
    between_layers,
    clip_count,
    layer_order,
    need,
    pick,
    step_name,
    step_order,
    variants,
    with_acoustics,
    with_steps,
)

from .drawn import Tables


def test_layers_are_in_the_order_of_the_network_not_of_the_alphabet() -> None:
    assert layer_order(["final", "10", "2", "0", "11", "2"]) == ["0", "2", "10", "11", "final"]


def test_steps_are_numeric_and_features_without_a_step_are_left_out() -> None:
    assert step_order([100.0, np.nan, 50.0, 0.0, 100.0]) == [0, 50, 100]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(AnalysisError, match=r"probe table lacks columns[\s\S]*without value"):
        need(pd.DataFrame({"step": [1]}), ["step", "value"], "probe")


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(AnalysisError, match="drift table is empty"):
        need(pd.DataFrame({"step": []}), ["step"], "drift")


def test_a_value_that_does_not_occur_is_refused_with_those_that_do(tables: Tables) -> None:
    with pytest.raises(AnalysisError, match=r"expected: split = 'dev'[\s\S]*'validation', 'test'"):
        pick(tables["probe"], "probe", split="dev")


def test_comparisons_with_features_are_found_whichever_side_they_are_on(tables: Tables) -> None:
    forward = with_acoustics(tables["similarity"])
    swap = {f"{c}_{a}": f"{c}_{b}" for c in ("model", "checkpoint", "step", "layer") for a, b in ("ab", "ba")}
    backward = with_acoustics(tables["similarity"].rename(columns=swap))
    assert len(forward) == 3 * 5 * 4
    assert set(forward["layer_b"]) == {"functionals"}
    pd.testing.assert_frame_equal(forward, backward[forward.columns])


def test_half_a_matrix_becomes_a_whole_symmetric_one(tables: Tables) -> None:
    rows = between_layers(tables["similarity"][tables["similarity"]["measure"] == "cka_debiased"], 0, 0)
    matrix = rows.pivot_table(index="layer_a", columns="layer_b", values="value")
    assert matrix.shape == (5, 5)
    np.testing.assert_array_equal(matrix, matrix.T)


def test_across_steps_the_sides_are_not_mixed_up(tables: Tables) -> None:
    similarity = tables["similarity"]
    rows = between_layers(similarity, 0, 150)
    one = rows[(rows["layer_a"] == "0") & (rows["layer_b"] == "3")]["value"].item()
    other = rows[(rows["layer_a"] == "3") & (rows["layer_b"] == "0")]["value"].item()
    assert one != other
    back = between_layers(similarity, 150, 0)
    assert back[(back["layer_a"] == "3") & (back["layer_b"] == "0")]["value"].item() == one


def test_models_are_kept_apart_and_each_keeps_the_baseline(tables: Tables) -> None:
    probe = tables["probe"]
    second = probe[probe["layer"] != "functionals"].assign(model="hubert-large")
    parts = dict((names["model"], part) for names, part in variants(pd.concat([probe, second]), ("corpus", "model")))
    assert set(parts) == {"wavlm-large", "hubert-large"}
    for name, part in parts.items():
        assert set(part["model"]) == {name, "eGeMAPSv02"}


def test_a_baseline_of_another_corpus_is_not_shown(tables: Tables) -> None:
    both = pd.concat([tables["probe"], tables["probe"].assign(corpus="emodb")])
    for names, part in variants(both, ("corpus", "model")):
        assert set(part["corpus"]) == {names["corpus"]}
        assert "functionals" in set(part["layer"])


def test_one_model_needs_no_name_unless_it_is_asked_for(tables: Tables) -> None:
    assert [names for names, _ in variants(tables["umap"], ("model", "layer"))] == [{"layer": "0"}, {"layer": "final"}]
    one = tables["umap"][tables["umap"]["layer"] == "0"]
    assert [names for names, _ in variants(one, ("model", "layer"))] == [{}]
    assert [names for names, _ in variants(one, ("model", "layer"), named=("layer",))] == [{"layer": "0"}]


def test_the_best_layer_is_chosen_on_validation_never_on_test() -> None:
    rows = [
        ("0", "validation", 0.7), ("1", "validation", 0.6), ("0", "test", 0.3), ("1", "test", 0.9),
        ("functionals", "validation", 0.99),
    ]  # fmt: skip
    probe = pd.DataFrame(rows, columns=["layer", "split", "value"]).assign(step=50, control="none", measure="uar")
    assert best_layers(probe, "uar") == {50: "0"}
    assert best_layers(probe, "macro_f1") == {}


def test_of_equal_layers_the_one_nearest_the_input_is_taken() -> None:
    probe = pd.DataFrame({"layer": ["10", "2", "final"], "value": 0.5})
    assert best_layers(probe.assign(step=0, split="validation", control="none", measure="uar"), "uar") == {0: "2"}


def test_the_number_of_clips_is_said_as_far_as_it_is_known() -> None:
    assert clip_count(pd.DataFrame({"n": [5, 5]})) == "n = 5 clips"
    assert clip_count(pd.DataFrame({"n": [5, 7]})) == "n = 5 to 7 clips"
    assert clip_count(pd.DataFrame({"x": [1]})) == ""


def test_representations_without_a_step_stand_at_none() -> None:
    table = pd.DataFrame({
        "model": ["own", "own", "eGeMAPSv02", "own", "majority_class"],
        "layer": ["0", "1", "functionals", "0", ""],
        "control": ["none", "none", "none", "random_weights", "majority_class"],
        "step": np.nan,
    })  # fmt: skip
    placed = with_steps(table)
    assert placed["step"].fillna(-9).tolist() == [NO_STEP, NO_STEP, -9, -9, -9]
    assert placed["layer"].tolist() == table["layer"].tolist()
    pd.testing.assert_frame_equal(with_steps(table.assign(step=0.0)), table.assign(step=0.0))
    assert (step_name(NO_STEP), at_step(NO_STEP)) == ("none", "no step")
    assert (step_name(50), at_step(50)) == ("50", "step 50")


def test_features_alone_are_a_representation_like_any_other() -> None:
    table = pd.DataFrame({"model": "eGeMAPSv02", "layer": ["functionals"], "control": "none", "step": np.nan})
    placed = with_steps(table)
    assert placed["layer"].tolist() == ["eGeMAPSv02"]
    assert placed["step"].tolist() == [NO_STEP]


def test_compared_layers_without_a_step_stand_at_none() -> None:
    table = pd.DataFrame({
        "layer_a": ["0", "0"], "step_a": np.nan, "layer_b": ["1", "functionals:energy"], "step_b": np.nan
    })  # fmt: skip
    placed = with_steps(table)
    assert placed["step_a"].tolist() == [NO_STEP, NO_STEP]
    assert placed["step_b"].fillna(-9).tolist() == [NO_STEP, -9]
