from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

import pytest

from ser_probe.data.corpora import IMPORTERS
from ser_probe.data.crosswalk import WORDS, find_emotion
from ser_probe.data.identities import spelling_key
from ser_probe.data.labels import EMOTIONS


def test_every_shared_name_stands_in_the_table_and_every_word_once() -> None:
    assert set(WORDS) == set(EMOTIONS)
    words = Counter(spelling_key(word, zeros=False) for name, others in WORDS.items() for word in {name, *others})
    assert [word for word, count in words.items() if count > 1] == []


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("anger", "anger"), ("Angry", "anger"), (" JOY ", "happiness"), ("Ärger", "anger"), ("A\u0308RGER", "anger"),
        ("neutrality", "neutral"), ("快乐", "happiness"), ("pleasant surprise", "pleasant_surprise"), ("rage", None),
        ("", None), ("1", None),
    ],
)  # fmt: skip
def test_words_are_found_however_they_are_spelt(word: str, name: str | None) -> None:
    assert find_emotion(word) == name


@pytest.mark.parametrize(
    ("word", "other"), [("excited", "happiness"), ("ps", "surprise"), ("calm", "neutral"), ("frustrated", "anger")]
)
def test_two_emotions_are_not_made_one(word: str, other: str) -> None:
    assert find_emotion(word) != other


def test_the_crosswalk_and_the_importers_agree() -> None:
    # Words of three letters or more say what they mean; single letters mean another thing in each corpus.
    for name in IMPORTERS:
        codes = getattr(importlib.import_module(f"ser_probe.data.corpora.{name}"), "CODES", {})
        for code, emotion in codes.items():
            if len(code) > 2 and find_emotion(code) is not None:
                assert find_emotion(code) == emotion, f"{name}: {code}"


def test_the_documented_table_is_not_stale() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "corpora.md").read_text(encoding="utf-8")
    rows = page[page.index("| shared name | words |") :].strip().splitlines()[2:]
    assert rows == [f"| {name} | {', '.join(words)} |" for name, words in WORDS.items()]
