"""What a score means: how much of a target a property gives away, whether that is chance, and what is said of it.

The effect is the skill: how far the UAR lies between guessing (0) and always being right (1). The levels come from what
lengths alone tell of the label in 16 corpora of which lists of lengths are at hand, most of them acted: skills of 0.01
to 0.15, half of them above 0.07. Below 0.05 a significant score says no more than that there are many clips. At 0.25,
well above that range, it says that the property was made by whoever recorded or cut the clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.audit.property_groups import ALL_TOGETHER, PropertyGroup

LEVEL = 0.05
CLEAR_SKILL, STRONG_SKILL = 0.05, 0.25
CLEAR_NAMED, STRONG_NAMED = 0.01, 0.25
"""Shares of all clips whose class a value names almost for certain. One in a hundred is what a probe gains by it."""
CLEAR_NAMED_OF_CLASS = 0.05
"""The same, of the clips of one class."""

VERDICTS = ("constant", "untested", "none", "weak", "clear", "strong")
"""From what says nothing to what names most clips."""


@dataclass(frozen=True)
class Found:
    """What was found of one target in one group of properties.

    Args:
        target: `label`, `speaker` or `corpus`.
        group: The properties.
        uar: Of clips held out, in [0, 1].
        chance: Of guessing.
        p_adjusted: Corrected for all rows; NaN where no clips, or too few, differ.
        named_share: Share of all clips whose class a value names.
        named_of_class: Share of one class's clips that are named, of the class that has most.
        sentence: What gives most away.
        can_be_tested: Whether there are so many arrangements of the classes that a p-value could be small enough.
    """

    target: str
    group: PropertyGroup
    uar: float
    chance: float
    p_adjusted: float
    named_share: float
    named_of_class: float
    sentence: str
    can_be_tested: bool = True


def skill(uar: float, chance: float) -> float:
    """Return how far a UAR lies between guessing (0) and always being right (1)."""
    return (uar - chance) / (1 - chance)


def verdict_of(found: Found) -> str:
    """Return one of `VERDICTS`."""
    if np.isnan(found.p_adjusted):
        return "constant"
    if found.p_adjusted >= LEVEL:
        return "none" if found.can_be_tested else "untested"
    effect = skill(found.uar, found.chance)
    if effect >= STRONG_SKILL or found.named_share >= STRONG_NAMED:
        return "strong"
    is_clear = effect >= CLEAR_SKILL or found.named_share >= CLEAR_NAMED
    return "clear" if is_clear or found.named_of_class >= CLEAR_NAMED_OF_CLASS else "weak"


def is_alarm(found: Found) -> bool:
    """Return whether results would be false if it went unnoticed.

    Of the label, what is clear and no voice, and what is strong even if the voice has a part in it. Of the speaker and
    the corpus, what is strong and lies in the files: people and rooms differ in any corpus. All properties together
    are no alarm: many small parts of the voice add up.
    """
    verdict = verdict_of(found)
    if found.group.name == ALL_TOGETHER:
        return False
    if found.target == "label":
        return verdict == "strong" or (verdict == "clear" and not found.group.is_voice)
    return verdict == "strong" and not found.group.is_habit


def words_of(found: Found) -> str:
    """Return the verdict as a sentence or two."""
    verdict, name = verdict_of(found), found.group.name
    score = f"UAR {found.uar:.2f}, chance {found.chance:.2f}"
    if verdict == "constant":
        return f"No clips, or too few, differ in {name}."
    if verdict == "untested":
        return f"There are too few speakers to tell what {name} says of the {found.target} from chance ({score})."
    if verdict == "none":
        return f"No sign that {name} tells the {found.target} ({score})."
    how = {
        "weak": "tells the {} a little, too little to matter",
        "clear": "tells part of the {}",
        "strong": "gives the {} away",
    }[verdict].format(found.target)
    remark = ""
    if found.target == "label" and found.group.is_voice and verdict != "weak":
        remark = " The voice itself may have a part in it."
    elif found.target != "label" and found.group.is_habit and verdict != "weak":
        remark = " People and rooms differ in it in any corpus."
    said = f" {found.sentence[:1].upper()}{found.sentence[1:]}." if found.sentence else ""
    return f"{name[:1].upper()}{name[1:]} {how} ({score}).{said}{remark}"
