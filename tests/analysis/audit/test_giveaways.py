"""The sentence that says which values give a class away."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.audit.giveaways import Giveaway, find_giveaway
from ser_probe.analysis.audit.property_bins import TO_TELL, bin_values

N = 200
CLASSES = ("anger", "disgust", "fear", "joy")
CODES = np.arange(N) % 4


def found(column: str, values: object, *, target: str = "label", classes: tuple[str, ...] = CLASSES) -> Giveaway:
    return find_giveaway([(column, bin_values(pd.Series(values), fineness=TO_TELL))], CODES, classes, target=target)


def test_a_rate_that_only_one_label_has() -> None:
    there = (CODES == 1) & (np.arange(N) < 60)
    giveaway = found("file_rate_hz", np.where(there, 44_100, 16_000))
    assert giveaway.sentence == "15 of 15 clips with a sampling rate of 44100 Hz are disgust (25% of all clips)"
    assert (giveaway.named, giveaway.largest_share) == (15, pytest.approx(0.3))


def test_a_format_in_which_one_speaker_is() -> None:
    giveaway = found("file_format", np.where(CODES == 3, "AIFF PCM_16", "WAV PCM_16"), target="speaker")
    assert giveaway.sentence == "50 of 50 clips with the format AIFF PCM_16 are speaker joy (25% of all clips)"
    assert giveaway.named == 50


def test_what_lies_above_a_value(rng: np.random.Generator) -> None:
    lengths = rng.uniform(1, 2, N) + 5 * (CODES == 2) * (rng.random(N) < 0.8)
    giveaway = found("duration_s", lengths)
    assert re.fullmatch(
        r"4\d of 4\d clips with a length from [56]\.\d+ s up are fear \(25% of all clips\)", giveaway.sentence
    )
    assert giveaway.largest_share > 0.5


def test_missing_values_and_long_names() -> None:
    values = np.where(CODES == 0, np.nan, -30.0)
    long = tuple(f"{name}{'0' * 60}" for name in CLASSES)
    giveaway = found("channel_difference_db", values, target="corpus", classes=long)
    assert giveaway.sentence == (
        "50 of 50 clips with no value for difference of channels are of anger000000000000000000… (25% of all clips)"
    )


def test_nothing_to_say() -> None:
    assert found("channels", np.ones(N)) == Giveaway("", 0, 0.0)
    assert found("channels", np.where(np.arange(N) < 8, 2, 1)).named == 0


def test_a_few_clips_are_no_rule() -> None:
    """Nine clips of one class, alone with their value: too few to be said to name it."""
    there = (CODES == 1) & (np.arange(N) < 36)
    assert there.sum() == 9
    assert found("file_format", np.where(there, "odd", "usual")).named == 0
