"""Shortcuts that were planted are found, and none where there are none."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from benchmarks.audit_shortcuts import any_found, any_found_freely, simulate_corpus
from ser_probe.analysis.audit.shortcuts import SHORTCUT_COLUMNS, baseline, find_shortcuts
from ser_probe.errors import AnalysisError

PERMUTATIONS = 199
FALSE_ALARMS = 0.05
"""Share of corpora without a shortcut that may raise an alarm."""


@pytest.fixture(scope="module")
def properties() -> pd.DataFrame:
    """Habits of speakers, no shortcut: two groups of properties."""
    return simulate_corpus(7, n_clips=300, n_speakers=6).properties[["duration_s", "file_rate_hz"]]


@pytest.fixture(scope="module")
def clips() -> pd.DataFrame:
    return simulate_corpus(7, n_clips=300, n_speakers=6, n_corpora=1).clips


def row_of(table: pd.DataFrame, target: str, group: str) -> pd.Series:
    (row,) = [row for _, row in table.iterrows() if (row["target"], row["properties"]) == (target, group)]
    return row


def test_a_planted_rate_is_found(properties: pd.DataFrame, clips: pd.DataFrame) -> None:
    rate = np.where((clips["label"] == "x1") & (np.arange(300) % 2 == 0), 44_100, 16_000)
    table = find_shortcuts(properties.assign(file_rate_hz=rate), clips, permutations=PERMUTATIONS)
    assert tuple(table.columns) == SHORTCUT_COLUMNS
    assert list(table["target"].drop_duplicates()) == ["label", "speaker"]
    row = row_of(table, "label", "rate and container")
    assert (row["alarm"], row["p"]) == (True, 1 / (PERMUTATIONS + 1))
    assert row["low"] < row["uar"] < row["high"]
    assert "with a sampling rate of 44100 Hz are x1" in row["giveaway"]
    assert row["named_clips"] == (rate == 44_100).sum()
    assert not row_of(table, "label", "duration")["alarm"]
    assert (table["p_adjusted"] >= table["p"]).all()
    again = find_shortcuts(properties.assign(file_rate_hz=rate), clips, permutations=PERMUTATIONS)
    pd.testing.assert_frame_equal(table, again)


def test_habits_tell_speakers_and_raise_no_alarm(properties: pd.DataFrame, clips: pd.DataFrame) -> None:
    table = find_shortcuts(properties, clips, permutations=PERMUTATIONS)
    assert row_of(table, "speaker", "duration")["p_adjusted"] < 0.05
    assert not table["alarm"].any()
    assert (table.loc[table["target"] == "label", "p_adjusted"] > 0.05).all()


def test_a_constant_costs_nothing(properties: pd.DataFrame, clips: pd.DataFrame) -> None:
    """Its rows score chance and do not count among those that p-values are corrected for."""
    more = properties.assign(dc_offset=0.0, channels=1)
    table = find_shortcuts(more, clips, permutations=19)
    row = row_of(table, "label", "DC offset")
    assert (row["uar"], row["verdict"]) == (pytest.approx(row["chance"]), "constant")
    assert np.isnan(row["p"])
    without = find_shortcuts(properties, clips, permutations=19)
    expected = without.set_index(["target", "properties"])["p_adjusted"]
    adjusted = table.set_index(["target", "properties"])["p_adjusted"]
    pd.testing.assert_series_equal(adjusted.reindex(expected.index), expected)


def test_corpora_of_few_speakers_cannot_be_tested() -> None:
    corpus = simulate_corpus(3, n_clips=120, n_speakers=4)
    rate = np.where(corpus.clips["corpus"] == "c0", 44_100, 16_000)
    table = find_shortcuts(pd.DataFrame({"file_rate_hz": rate}), corpus.clips, permutations=PERMUTATIONS)
    row = row_of(table, "corpus", "rate and container")
    assert (row["uar"], row["verdict"], row["alarm"]) == (1.0, "untested", False)
    assert row["words"].startswith("There are too few speakers")


def test_corpora_of_enough_speakers() -> None:
    corpus = simulate_corpus(4, n_clips=160, n_speakers=16)
    rate = np.where(corpus.clips["corpus"] == "c0", 44_100, 16_000)
    table = find_shortcuts(pd.DataFrame({"file_rate_hz": rate}), corpus.clips, permutations=PERMUTATIONS)
    assert row_of(table, "corpus", "rate and container")["alarm"]


def test_clips_are_joined_by_their_id(properties: pd.DataFrame, clips: pd.DataFrame) -> None:
    names = pd.Series([f"clip {place}" for place in range(len(clips))])
    there, given = properties.assign(clip_id=names), clips.assign(clip_id=names)
    expected = find_shortcuts(properties, clips, permutations=19)
    shuffled = find_shortcuts(there.sample(frac=1, random_state=0), given, permutations=19)
    pd.testing.assert_frame_equal(shuffled, expected)
    with pytest.raises(AnalysisError, match="does not have one row for each clip") as error:
        find_shortcuts(there.iloc[1:], given)
    assert "clip 0" in str(error.value)
    with pytest.raises(AnalysisError, match="does not have one row for each clip"):
        find_shortcuts(pd.concat([there, there.iloc[:1]]), given)


def test_bad_input(properties: pd.DataFrame, clips: pd.DataFrame) -> None:
    with pytest.raises(AnalysisError, match="do not describe the same clips"):
        find_shortcuts(properties.iloc[1:], clips)
    with pytest.raises(AnalysisError, match="holds none that is known"):
        find_shortcuts(pd.DataFrame({"path": clips["label"]}), clips)
    with pytest.raises(AnalysisError, match="needs permutations"):
        find_shortcuts(properties, clips, permutations=0)


def test_nothing_to_predict(properties: pd.DataFrame) -> None:
    table = find_shortcuts(properties, pd.DataFrame({"label": ["a"] * len(properties)}))
    assert table.empty
    assert tuple(table.columns) == SHORTCUT_COLUMNS
    assert baseline(properties, pd.DataFrame({"label": ["a"] * len(properties)})).empty


def test_the_baseline_is_the_row_of_all_together(properties: pd.DataFrame, clips: pd.DataFrame) -> None:
    table = find_shortcuts(properties, clips, permutations=1)
    expected = table[table["properties"] == "all together"].reset_index()
    pd.testing.assert_frame_equal(
        baseline(properties, clips), expected[["target", "uar", "chance", "low", "high"]], check_dtype=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("habits", [1.0, 0.0])
def test_no_alarm_in_corpora_without_a_shortcut(habits: float) -> None:
    """Of 200 corpora at most 5 % raise one, up to what chance allows. Without habits no row at all is significant."""
    found = np.array([any_found(seed, habits=habits) for seed in range(5000, 5200)])
    columns = [0, 1] if habits else [0, 1, 2]
    for column in columns:
        most = scipy.stats.binom.ppf(0.999, len(found), FALSE_ALARMS)
        assert found[:, column].sum() <= most


@pytest.mark.slow
def test_permuting_within_speakers_is_what_keeps_habits_out() -> None:
    """The counter-case: favourite labels and no speakers told, so that habits pass for shortcuts."""
    draw = partial(any_found_freely, favourites=0.6)
    assert np.mean([draw(seed)[1] for seed in range(20)]) > 0.5
