"""One contract for every family of classifiers, and which family predicts what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ser_probe.analysis.probes.families import TEST
from ser_probe.analysis.probes.family_table import FAMILIES, OnlyAdvances, family
from ser_probe.analysis.probes.fitting import scored_clips
from ser_probe.analysis.probes.scoring import score_part
from ser_probe.errors import AnalysisError
from ser_probe.names import probes as names

from .conftest import Study

CLASSIFIERS = [name for name, spec in FAMILIES.items() if spec.target == "classes"]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_family_reads_what_is_there(study: Study, name: str) -> None:
    spec = FAMILIES[name]
    fitted = study.fit(spec=spec, names=["sum"]) if spec.sums_layers else study.fit(spec=spec)
    uar = score_part(fitted).values["uar"].mean(axis=1)
    assert uar[-1] > 0.9, "the strong layer, or a sum that holds it"
    if not spec.sums_layers:
        assert uar[0] < 0.4
    again = study.fit(spec=spec, names=["sum"] if spec.sums_layers else list(fitted.names))
    np.testing.assert_array_equal(again.answers[TEST], fitted.answers[TEST])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_no_family_looks_at_test_labels(study: Study, name: str) -> None:
    names: dict[str, Any] = {"names": ["sum"]} if FAMILIES[name].sums_layers else {}
    y = study.y.copy()
    y[study.split == "test"] = np.roll(y[study.split == "test"], 5)
    given = {"spec": FAMILIES[name], "seeds": [0], **names}
    first, second = study.fit(**given), study.but(y=y).fit(**given)
    np.testing.assert_array_equal(first.answers[TEST], second.answers[TEST])
    assert len(scored_clips(first.folds, TEST).clip) == (study.split == "test").sum()


def test_the_config_names_all_families() -> None:
    assert set(names.FAMILIES) == set(FAMILIES)


def test_a_family_of_the_wrong_kind_is_refused() -> None:
    assert family("linear", "classes") is FAMILIES["linear"]
    with pytest.raises(AnalysisError, match="'ridge' does not predict classes") as raised:
        family("ridge", "classes")
    assert "linear" in str(raised.value.expected)
    assert raised.value.fix is not None
    with pytest.raises(AnalysisError, match="'linear' does not predict numbers"):
        family("linear", "numbers")
    with pytest.raises(AnalysisError, match=r"no family of probes 'lienar'[\s\S]*did you mean 'linear'"):
        family("lienar", "classes")


def test_an_inner_bar_only_advances_the_outer_one() -> None:
    class Bar:
        def __init__(self) -> None:
            self.told: list[object] = []

        def start(self, what: str, total: float, unit: str) -> None:
            self.told.append(what)

        def advance(self, amount: float = 1, **fields: object) -> None:
            self.told.append(amount)

        def finish(self) -> None:
            self.told.append("end")

        def say(self, message: str) -> None:
            self.told.append(message)

    bar = Bar()
    inner = OnlyAdvances(bar)
    inner.start("inner", 3, "fits")
    inner.advance(2)
    inner.say("a line")
    inner.finish()
    assert bar.told == [2, "a line"]
