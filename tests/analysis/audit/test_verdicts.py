"""Verdicts need an effect as well as significance, and an alarm a cause that is not the voice."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.audit.property_groups import ALL_TOGETHER, PROPERTY_GROUPS, PropertyGroup
from ser_probe.analysis.audit.verdicts import VERDICTS, Found, is_alarm, skill, verdict_of, words_of

GROUPS = {group.name: group for group in PROPERTY_GROUPS}


def found(uar: float, p: float = 0.01, *, group: str = "rate and container", target: str = "label", named: float = 0.0,
          of_class: float = 0.0, can_be_tested: bool = True) -> Found:  # fmt: skip
    return Found(target, GROUPS[group], uar, 0.2, p, named, of_class, "9 of 9 clips are fear", can_be_tested)


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        (found(0.2, np.nan), "constant"),
        (found(0.9, 0.06), "none"),
        (found(0.9, 0.06, can_be_tested=False), "untested"),
        (found(0.21, 0.001), "weak"),
        (found(0.21, 0.001, named=0.02), "clear"),
        (found(0.21, 0.001, of_class=0.15), "clear"),
        (found(0.25), "clear"),
        (found(0.41), "strong"),
        (found(0.3, named=0.58), "strong"),
    ],
)
def test_verdict(case: Found, verdict: str) -> None:
    assert verdict_of(case) == verdict
    assert verdict in VERDICTS


def test_skill() -> None:
    assert skill(0.2, 0.2) == 0
    assert skill(1.0, 0.2) == 1
    assert skill(0.1, 0.2) < 0


@pytest.mark.parametrize(
    ("case", "alarm"),
    [
        (found(0.25), True),
        (found(0.21), False),
        (found(0.25, group="duration"), False),
        (found(0.41, group="duration"), True),
        (found(0.9, 0.06), False),
        (found(0.9, group="level", target="speaker"), False),
        (found(0.9, group="DC offset", target="speaker"), True),
        (found(0.3, group="DC offset", target="speaker"), False),
        (found(0.9, group="noise floor", target="corpus"), False),
    ],
)
def test_alarm(case: Found, alarm: bool) -> None:
    assert is_alarm(case) is alarm


def test_all_together_is_no_alarm() -> None:
    together = PropertyGroup(ALL_TOGETHER, ("duration_s",), is_voice=True)
    assert not is_alarm(Found("label", together, 0.9, 0.2, 0.001, 0.9, 0.9, ""))


def test_words() -> None:
    assert words_of(found(0.41)) == (
        "Rate and container gives the label away (UAR 0.41, chance 0.20). 9 of 9 clips are fear."
    )
    assert words_of(found(0.41, group="duration")).endswith("The voice itself may have a part in it.")
    assert words_of(found(0.41, group="level", target="speaker")).endswith("in any corpus.")
    assert words_of(found(0.21)).startswith("Rate and container tells the label a little, too little to matter")
    assert words_of(found(0.25)).startswith("Rate and container tells part of the label")
    assert words_of(found(0.9, 0.5)).startswith("No sign that rate and container tells the label")
    assert words_of(found(0.9, 0.5, can_be_tested=False)).startswith("There are too few speakers")
    assert words_of(found(0.2, np.nan)) == "No clips, or too few, differ in rate and container."
