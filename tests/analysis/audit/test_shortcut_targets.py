"""What is held out and what is permuted, for label, speaker and corpus."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.audit.shortcut_targets import (
    CLIP_FOLDS,
    MOST_CLIPS_OF_SPEAKERS,
    MOST_FOLDS,
    MOST_SPEAKERS,
    Target,
    count_arrangements,
    make_target,
    permuted_targets,
)

N = 240


def clips(n_speakers: int = 6, n_labels: int = 4) -> pd.DataFrame:
    place = np.arange(N)
    return pd.DataFrame({"speaker": place % n_speakers, "label": place // n_speakers % n_labels}).astype(str)


def made(name: str, table: pd.DataFrame) -> Target:
    target = make_target(name, table)
    assert target is not None
    return target


def test_labels_are_predicted_of_speakers_left_out(rng: np.random.Generator) -> None:
    target = made("label", clips())
    assert (np.unique(np.stack([target.speakers, target.folds]), axis=1).shape[1], target.n_speakers) == (6, 6)
    drawn = permuted_targets(target, 20, rng)
    for speaker in range(6):
        inside = target.speakers == speaker
        np.testing.assert_array_equal(np.sort(drawn[:, inside]), np.tile(np.sort(target.codes[inside]), (20, 1)))
    assert (drawn != target.codes).any()
    assert count_arrangements(target) == np.inf


def test_many_speakers_are_left_out_in_groups() -> None:
    target = made("label", clips(n_speakers=40))
    assert target.folds.max() + 1 == MOST_FOLDS
    assert np.unique(np.stack([target.speakers, target.folds]), axis=1).shape[1] == 40


def test_labels_of_speakers_with_one_are_dealt_to_speakers(rng: np.random.Generator) -> None:
    table = clips(n_speakers=8)
    table["label"] = np.where(table["speaker"].astype(int) < 5, table["speaker"].astype(int) % 2, table["label"])
    target = made("label", table.astype(str))
    drawn = permuted_targets(target, 50, rng)
    for speaker in range(5):
        assert all(len(set(row[target.speakers == speaker])) == 1 for row in drawn)
    assert len({tuple(row[target.speakers == 0]) for row in drawn}) == 2
    assert (np.sort(drawn[:, target.speakers == 6]) == np.sort(target.codes[target.speakers == 6])).all()


def test_corpora_are_dealt_to_whole_speakers(rng: np.random.Generator) -> None:
    table = clips().assign(corpus=lambda t: np.where(t["speaker"].astype(int) < 3, "a", "b"))
    target = made("corpus", table)
    assert count_arrangements(target) == pytest.approx(20)
    drawn = permuted_targets(target, 200, rng)
    assert len(np.unique(drawn, axis=0)) == 20
    alone = table.assign(corpus=np.where(table["speaker"] == "0", "c", table["corpus"]))
    assert made("corpus", alone).classes == ("a", "b"), "a corpus of one speaker cannot be predicted of another"


def test_equal_names_in_two_corpora_are_two_speakers() -> None:
    table = clips().assign(corpus=np.where(np.arange(N) < N // 2, "a", "b"))
    assert made("label", table).n_speakers == 12
    assert len(made("speaker", table).classes) == 12


def test_speakers_are_predicted_of_clips_left_out(rng: np.random.Generator) -> None:
    target = made("speaker", clips())
    table = np.zeros((CLIP_FOLDS, 6), int)
    np.add.at(table, (target.folds, target.codes), 1)
    assert table.min() == table.max() == N // 6 // CLIP_FOLDS
    labels = clips()["label"].to_numpy()[target.rows]
    for row in permuted_targets(target, 5, rng):
        for label in set(labels):
            for fold in range(CLIP_FOLDS):
                inside = (labels == label) & (target.folds == fold)
                np.testing.assert_array_equal(np.sort(row[inside]), np.sort(target.codes[inside]))


def test_there_are_bounds_to_speakers_and_clips() -> None:
    table = pd.DataFrame({"speaker": np.arange(20_000) % 80}).astype(str)
    target = made("speaker", table)
    assert len(target.classes) == MOST_SPEAKERS
    assert len(target.codes) == MOST_CLIPS_OF_SPEAKERS


def test_unknown_speakers_are_each_their_own() -> None:
    table = clips()
    table.loc[table["speaker"] == "5", "speaker"] = None
    assert made("label", table).n_speakers == 5 + N // 6
    nobody = made("label", table[["label"]])
    assert nobody.n_speakers == 0
    assert nobody.folds.max() + 1 == CLIP_FOLDS
    assert "speakers unknown" in nobody.scheme
    assert "one speaker" in made("label", table.assign(speaker="me")).scheme


def test_nothing_to_tell_apart() -> None:
    assert make_target("label", clips().drop(columns="label")) is None
    assert make_target("label", clips(n_labels=1)) is None
    assert make_target("speaker", clips(n_speakers=1)) is None
    assert make_target("speaker", clips(n_speakers=N)) is None, "one clip a speaker"
    assert make_target("corpus", clips().assign(corpus="a")) is None
    rare = clips().assign(label=["rare"] * 3 + ["a", "b", "c"] * 79)
    assert made("label", rare).classes == ("a", "b", "c")
