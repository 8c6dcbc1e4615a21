"""The rows at the head of the report are those of the tables."""

from __future__ import annotations

import pandas as pd
import pytest

from ser_probe.report.headlines import HEADLINES, headlines
from ser_probe.report.headlines_drift import drift_headline
from ser_probe.report.headlines_probe import probe_headline
from ser_probe.report.headlines_similarity import similarity_headline

Tables = dict[str, pd.DataFrame]


def test_the_layer_is_chosen_on_validation_and_scored_on_test(tables: Tables) -> None:
    probe = tables["probe"].copy()
    lucky = (probe["layer"] == "0") & (probe["split"] == "test") & (probe["control"] == "none")
    chosen = (probe["layer"] == "2") & (probe["split"] == "validation") & (probe["control"] == "none")
    probe.loc[lucky, "value"] = 1.0
    probe.loc[chosen, "value"] = 0.99
    head = probe_headline(probe)
    assert list(head["layer chosen on validation"]) == ["2"] * 4
    test = probe[(probe["split"] == "test") & (probe["measure"] == "uar") & (probe["control"] == "none")]
    row = head[head["step"] == 50].iloc[0]
    scores = test[(test["layer"] == "2") & (test["step"] == 50)]["value"]
    assert row["test UAR"] == pytest.approx(scores.mean())
    assert row["SD over seeds"] == pytest.approx(scores.std())
    assert row["eGeMAPS"] == pytest.approx(test[test["layer"] == "functionals"]["value"].mean())


def test_controls_stand_beside_the_score(tables: Tables) -> None:
    row = probe_headline(tables["probe"]).iloc[0]
    assert row["shuffled labels"] == pytest.approx(0.16, abs=0.03)
    assert row["majority class"] == pytest.approx(0.05, abs=0.03)


def test_the_interval_over_speakers_comes_from_the_summary(tables: Tables) -> None:
    probe = tables["probe"]
    layers = dict(zip(probe_headline(probe)["step"], probe_headline(probe)["layer chosen on validation"], strict=True))
    summary = pd.DataFrame(
        dict(step=float(step), layer=layer, control="none", split="test", measure="uar", ci_low=0.4, ci_high=0.6)
        for step, layer in layers.items()
    )
    assert list(probe_headline(probe, summary=summary)["95 % over speakers"]) == ["0.400 to 0.600"] * 4
    assert "95 % over speakers" not in probe_headline(probe, summary=summary.assign(ci_low=float("nan")))


def test_the_most_and_least_similar_layers_are_named(tables: Tables) -> None:
    similarity = tables["similarity"].copy()
    rows = (similarity["layer_a"] == "1") & (similarity["measure"] == "cka_debiased")
    similarity.loc[rows & (similarity["layer_b"] == "functionals"), "value"] = 0.9
    head = similarity_headline(similarity)
    assert list(head["step"]) == [0, 50, 100, 150]
    assert list(head["most similar layer"]) == ["1"] * 4
    assert list(head["highest CKA"]) == [0.9] * 4


def test_large_change_is_low_similarity_but_a_norm_far_from_before(tables: Tables) -> None:
    drift = tables["drift"].copy()
    shrunk = (drift["measure"] == "relative_norm_change") & (drift["layer"] == "1") & (drift["step"] == 150)
    drift.loc[shrunk, "value"] = -0.8
    head = drift_headline(drift).set_index("measure")
    assert head.loc["debiased linear CKA", "most changed layer"] == "final"
    assert head.loc["mean cosine", "least changed layer"] == "0"
    assert head.loc["relative change of norm", "most changed layer"] == "1"
    assert head.loc["relative change of norm", "value there"] == -0.8


def test_empty_and_absent_tables_make_no_headline(tables: Tables) -> None:
    assert headlines({}) == []
    assert headlines({"probe": tables["probe"].head(0), "umap": tables["umap"]}) == []
    drift = tables["drift"]
    assert headlines({"drift": drift[drift["step"] == 0]}) == []
    assert len(headlines(tables)) == len([one for one in HEADLINES if one.table in tables]) >= 4
