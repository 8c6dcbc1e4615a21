from __future__ import annotations

import itertools

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_probe.data.identities import find_value, settle_identities, spelling_key
from ser_probe.data.splits import split_speakers
from ser_probe.errors import ManifestError


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1", "01", True),
        ("1", "1.0", True),
        ("s1", "S001", True),
        ("Anger", " anger ", True),
        ("an\u200bger", "anger", True),
        ("col\u00e8re", "cole\u0300re", True),
        ("very happy", "very\u00a0 happy", True),
        ("\uff11", "1", True),
        ("1", "10", False),
        ("1", "11", False),
        ("1.05", "1.5", False),
        ("0", "00", True),
        ("f1", "m1", False),
        ("anger", "angry", False),
        ("1_10", "11_0", False),
    ],
)
def test_spelling_does_not_tell_names_apart(one: str, other: str, same: bool) -> None:
    assert (spelling_key(one) == spelling_key(other)) == same


def test_only_one_near_value_can_be_meant() -> None:
    assert find_value("anger", ["Anger", "joy"]) == "Anger"
    assert find_value("anger", ["anger", "Anger"]) == "anger"
    assert find_value("ANGER", ["anger", "Anger"]) is None
    assert find_value("sad", ["joy"]) is None


def test_one_label_has_one_spelling_that_of_most_clips() -> None:
    table, notes = settle_identities(pd.DataFrame({"label": ["Anger", "anger", "Anger", "joy"]}))
    assert table["label"].tolist() == ["Anger", "Anger", "Anger", "joy"]
    assert len(notes) == 1
    assert "'anger' (1 clip) and 'Anger' (2 clips) differ by spelling alone" in notes[0]


def test_one_person_has_one_name() -> None:
    table, notes = settle_identities(pd.DataFrame({"speaker": ["1", "01", "001", "2", "10"]}))
    assert table["speaker"].tolist() == ["1", "1", "1", "2", "10"]
    assert "'01' (1 clip) and '1' (1 clip)" in notes[0]


def test_one_id_in_two_corpora_is_two_people_in_any_spelling() -> None:
    table = pd.DataFrame({"speaker": ["03", "03", "3", "4", "5"], "corpus": ["A", "a", "B", "B", "A"]})
    settled, notes = settle_identities(table)
    assert settled["speaker"].tolist()[3:] == ["4", "5"]
    first, second, third = settled["speaker"][:3]
    assert first == second != third
    assert third == "B/3"
    assert any("'3' are in the corpora" in note and "different people" in note for note in notes)
    again, quiet = settle_identities(settled)
    pd.testing.assert_frame_equal(again, settled)
    assert quiet == []


def test_a_name_with_its_corpus_is_the_same_person_as_without() -> None:
    table = pd.DataFrame({"speaker": ["A/1", "1", "A/2"], "corpus": ["A", "A", "A"]})
    assert settle_identities(table)[0]["speaker"].tolist() == ["A/1", "A/1", "A/2"]


def test_a_clip_without_a_corpus_is_of_the_one_that_knows_its_speaker() -> None:
    table = pd.DataFrame({"speaker": ["01", "1", "1"], "corpus": ["A", "", ""]})
    assert settle_identities(table)[0]["speaker"].tolist() == ["1", "1", "1"]
    torn = pd.DataFrame({"speaker": ["1", "1", "01"], "corpus": ["A", "B", ""]})
    with pytest.raises(ManifestError, match=r"no corpus(.|\n)*'1' is in the corpora A, B, and in none(.|\n)*fill the"):
        settle_identities(torn, "m.csv")


def test_a_blank_gender_is_that_of_the_speakers_other_clips() -> None:
    table = pd.DataFrame(
        {"speaker": ["1", "01", "2", "3", "3", "3"], "gender": ["female", "", "", "male", "female", ""]}
    )
    settled, notes = settle_identities(table)
    assert settled["gender"].tolist() == ["female", "female", "", "male", "female", ""]
    assert "column 'gender': blank in 1 clip" in notes[-1]


def test_names_that_look_forgotten_are_told_and_kept() -> None:
    table, notes = settle_identities(pd.DataFrame({"speaker": ["nan", "1"], "label": ["NA", "None"]}))
    assert table["speaker"].tolist() == ["nan", "1"]
    assert notes == ["column 'speaker' says 'nan' in 1 clip; if that means none, empty these cells"]


def test_other_columns_keep_the_zeros_that_tell_codes_apart() -> None:
    table = pd.DataFrame({"code": ["010", "10"], "mood": ["Low", "low"], "age": [1, 2]})
    settled, _ = settle_identities(table)
    assert settled["code"].tolist() == ["010", "10"]
    assert settled["mood"].nunique() == 1


NAMES = st.sampled_from(["1", "01", "1.0", " 1", "2", "02", "s1", "S1", "s01", "A/1", "b/2", "\u200b2"])
ROWS = st.lists(st.tuples(NAMES, st.sampled_from(["A", "a ", "B"])), min_size=1, max_size=24)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_no_spelling_of_a_person_is_in_two_splits_and_no_two_people_are_one(rows: list[tuple[str, str]]) -> None:
    table = pd.DataFrame(rows, columns=["speaker", "corpus"])
    settled, _ = settle_identities(table)
    pd.testing.assert_frame_equal(settle_identities(settled)[0], settled)

    def person(speaker: str, corpus: str) -> tuple[str, str]:
        home = spelling_key(corpus)
        return home, spelling_key(spelling_key(speaker).removeprefix(f"{home}/"))

    people = [person(*row) for row in rows]
    for (who, name), (other, other_name) in itertools.combinations(zip(people, settled["speaker"], strict=True), 2):
        assert (who == other) == (name == other_name)
    if settled["speaker"].nunique() >= 3:
        splits = split_speakers(settled, scheme="study_e")
        assert (splits.groupby(pd.Series(people, index=splits.index)).nunique() == 1).all()
