"""The rows at the head of the report that are about probes."""

from __future__ import annotations

import pandas as pd
import pytest

from ser_probe.report.probes.headline import numbers_headline, probe_headline

from ..drawn import Tables


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
