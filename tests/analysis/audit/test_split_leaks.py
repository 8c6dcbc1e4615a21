"""Leaks between splits: speakers, sentences, labels that are missing."""

from __future__ import annotations

import pandas as pd
import pytest

from ser_probe.analysis.audit.split_leaks import judge_splits, normalise_sentence


def clips(**columns: list[str]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"path": [f"{number}.wav" for number in range(n)], **columns})


def found(table: pd.DataFrame) -> dict[str, str]:
    return {finding.check: finding.severity for finding in judge_splits(table)}


def test_a_clean_split_has_no_finding() -> None:
    table = clips(
        split=["train", "train", "validation", "validation", "test", "test"], speaker=["a", "a", "b", "b", "c", "c"],
        label=["joy", "fear"] * 3, sentence_text=["One.", "Two.", "Three.", "Four.", "Five.", "Six."],
    )  # fmt: skip
    assert judge_splits(table) == []
    assert judge_splits(table.drop(columns="split")) == []


def test_a_speaker_in_two_splits_is_named() -> None:
    (finding,) = judge_splits(clips(split=["train", "test", "test"], speaker=["a", "a", "b"]))
    assert (finding.check, finding.severity) == ("speakers_across_splits", "error")
    assert "a (train and test)" in finding.words
    assert finding.clips == ("0.wav", "1.wav")


def test_speakers_without_a_name_are_nobody() -> None:
    assert judge_splits(clips(split=["train", "test"], speaker=["", ""])) == []


def test_a_sentence_that_is_trained_on_is_named_in_any_spelling() -> None:
    table = clips(split=["train", "test", "test"], sentence_text=["L’autunno è qui!", "l'autunno  È qui", "Altro."])
    (finding,) = judge_splits(table)
    assert (finding.check, finding.severity) == ("sentences_across_splits", "warning")
    assert finding.clips == ("1.wav",)
    assert "50%" in finding.words


def test_where_all_speak_the_same_sentences_it_is_a_note() -> None:
    assert found(clips(split=["train", "test"], sentence=["a01", "a01"])) == {"sentences_across_splits": "note"}


def test_words_go_before_codes() -> None:
    table = clips(split=["train", "test"], sentence=["1", "1"], sentence_text=["One.", "Another."])
    assert judge_splits(table) == []


def test_a_split_without_a_label_and_a_clip_without_a_split() -> None:
    table = clips(split=["train", "train", "test", ""], label=["joy", "fear", "joy", "joy"])
    assert found(table) == {"no_split": "note", "label_without_split": "warning"}


@pytest.mark.parametrize("text", ["Che pizza!", " che  pizza", "CHE PIZZA."])
def test_normalised_sentences(text: str) -> None:
    assert normalise_sentence(text) == "che pizza"


@pytest.mark.parametrize("nothing", [None, float("nan"), "", "..."])
def test_no_sentence(nothing: object) -> None:
    assert normalise_sentence(nothing) == ""
