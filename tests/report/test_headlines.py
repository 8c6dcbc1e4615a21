"""The rows at the head of the report are those of the tables."""

from __future__ import annotations

import pandas as pd
import pytest

from ser_probe.report.drift.headline import drift_headline
from ser_probe.report.headlines import headlines
from ser_probe.report.probes.headline import numbers_headline, probe_headline
from ser_probe.report.similarity.headline import layers_headline, similarity_headline
from ser_probe.steps.analyses.figures import report_headlines

Tables = dict[str, pd.DataFrame]
HEADLINES = report_headlines()


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


def test_each_corpus_has_rows_beside_those_of_all_pooled(tables: Tables) -> None:
    parts = [tables["similarity"].assign(corpus=name) for name in ("all", "berlin", "rome")]
    parts[1]["value"] /= 2
    head = similarity_headline(pd.concat(parts, ignore_index=True))
    assert list(head["corpus"].drop_duplicates()) == ["all, pooled", "berlin", "rome"]
    means = head.groupby("corpus")["mean over layers"].first()
    assert means["berlin"] == pytest.approx(means["rome"] / 2)
    both = drift_headline(pd.concat([tables["drift"].assign(corpus=name) for name in ("all", "berlin")]))
    assert len(both) == 2 * len(drift_headline(tables["drift"]))


def test_numeric_targets_are_chosen_on_validation(tables: Tables) -> None:
    rows = [
        dict(step=step, layer=layer, control="none", split=split, measure=measure, target="arousal", model="m",
             value=value if split == "test" else choice, ci_low=value - 0.1, ci_high=value + 0.1)
        for step in (0, 4) for layer, value, choice in (("0", 0.6, 0.1), ("1", 0.4, 0.2))
        for split in ("validation", "test") for measure in ("r2", "ccc")
    ]  # fmt: skip
    head = numbers_headline(pd.DataFrame(rows))
    assert list(head["layer chosen on validation"]) == ["1", "1"]
    assert list(head["test R²"]) == list(head["test CCC"]) == [0.4, 0.4]
    assert list(head["95 % over speakers"]) == ["0.300 to 0.500"] * 2


def test_files_that_name_no_step_have_a_headline(tables: Tables) -> None:
    bare = tables["similarity"].assign(step_a=float("nan"), step_b=float("nan"))
    ((_, _, _, table), *_) = headlines({"similarity": bare}, HEADLINES)
    assert set(table["step"]) == {"none"}


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
    assert headlines({}, HEADLINES) == []
    assert headlines({"probe": tables["probe"].head(0), "umap": tables["umap"]}, HEADLINES) == []
    drift = tables["drift"]
    assert headlines({"drift": drift[drift["step"] == 0]}, HEADLINES) == []
    assert len(headlines(tables, HEADLINES)) == len([one for one in HEADLINES if one.table in tables]) >= 4
