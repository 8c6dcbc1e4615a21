from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ser_probe.data.columns import clean_text, find_column, name_columns, settle_cells
from ser_probe.errors import ManifestError


def settle(**columns: object) -> tuple[pd.DataFrame, list[str]]:
    return settle_cells(pd.DataFrame(columns), "m.csv")


@pytest.mark.parametrize(
    ("name", "columns", "found"),
    [
        ("emotion", ["path", "label"], "label"),
        ("Emotion", ["path", "label"], "label"),
        ("class_id", ["label"], "label"),
        ("actor", ["speaker"], "speaker"),
        ("emotion", ["label", "emotion"], "emotion"),  # a column of its own beside the true name
        ("VALENCE", ["valence"], "valence"),
        ("speaker", ["actor"], None),
        ("Session", ["session"], None),
    ],
)
def test_a_column_is_found_by_its_alias(name: str, columns: list[str], found: str | None) -> None:
    assert find_column(name, columns) == found


def test_a_clash_names_what_the_file_calls_them() -> None:
    with pytest.raises(ManifestError, match=r"'label', 'emo' all mean 'label'(.|\n)*--map OLD=NEW"):
        name_columns(["path", "label", "label"], "m.csv", written=["path", "label", "emo"])


@pytest.mark.parametrize(
    ("written", "clean"),
    [
        ("anger", "anger"),
        (" anger\u00a0", "anger"),
        ("an\u200bger\ufeff", "anger"),
        ("very\u00a0 \tangry", "very angry"),
        ("cole\u0300re", "col\u00e8re"),
        ("\u200f\u062e\u0634\u0645\u200e", "\u062e\u0634\u0645"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\u200d\u200b", ""),
    ],
)
def test_what_nobody_sees_is_no_part_of_a_name(written: str, clean: str) -> None:
    assert clean_text(written) == clean


@pytest.mark.parametrize("word", ["NaN", "nan", "NA", "n/a", "-", "None", "#N/A", "missing", "<NA>"])
@pytest.mark.parametrize("name", ["valence", "rating"])
def test_a_word_for_nothing_does_not_make_numbers_text(name: str, word: str) -> None:
    table, notes = settle(**{name: ["1.5", word, "", "-2e1"]})
    np.testing.assert_array_equal(table[name], [1.5, np.nan, np.nan, -20])
    assert notes == [f"column {name!r}: {word!r} in 1 cell counts as empty; the others are numbers"]


def test_words_alone_are_a_text_unless_the_column_is_known_to_hold_numbers() -> None:
    table, notes = settle(word=["nan", "inf"], arousal=["NA", "-"])
    assert table["word"].tolist() == ["nan", "inf"]
    assert table["arousal"].isna().all()
    assert notes == ["column 'arousal': 'NA', '-' in 2 cells counts as empty"]


def test_what_keeps_numbers_from_being_numbers_is_named() -> None:
    table, notes = settle(rating=["1", "2", "high", "4", "5"], code=["1", "2", "03", "4", "5"])
    assert table["rating"].tolist() == ["1", "2", "high", "4", "5"]
    assert notes == ["column 'rating' counts as text: 'high' in row 4 is no number, as the others are"]


def test_decimal_commas_are_numbers_and_thousands_are_not() -> None:
    table, notes = settle(a=["1,5", "2", "-3,25"], b=["1,500", "2,000", "12,125"], c=["1,5", "2.5", "3"])
    assert table["a"].tolist() == [1.5, 2, -3.25]
    assert table["b"].tolist() == ["1,500", "2,000", "12,125"]
    assert table["c"].tolist() == ["1,5", "2.5", "3"]
    assert notes == ["column 'a': numbers with a decimal comma, such as 1,5"]


def test_infinite_numbers_are_told() -> None:
    table, notes = settle(x=["1", "inf", "-Infinity"], y=[1.0, np.inf, 2.0])
    np.testing.assert_array_equal(table["x"], [1, np.inf, -np.inf])
    assert notes == ["column 'x': 2 numbers not finite", "column 'y': 1 number not finite"]


def test_genders_that_say_nothing_are_empty() -> None:
    table, notes = settle(gender=["F", "unknown", "-", "NaN", "Male", "other"])
    assert table["gender"].tolist() == ["female", "", "", "", "male", "other"]
    assert notes == ["column 'gender': 'unknown', '-', 'NaN' in 3 cells counts as empty"]


def test_numbers_in_a_column_of_names_are_names() -> None:
    table, _ = settle(speaker=[1.0, np.nan], label=["1.0", "1.5"], sentence=[True, False], corpus=[1, 2])
    assert table["speaker"].tolist() == ["1", ""]
    assert table["label"].tolist() == ["1", "1.5"]
    assert table["sentence"].tolist() == ["True", "False"]
    assert table["corpus"].tolist() == ["1", "2"]


def test_what_no_text_may_hold_is_refused_with_its_place() -> None:
    with pytest.raises(ManifestError, match=r"NUL(.|\n)*where: m.csv, row 3, 'note'(.|\n)*'b\\x00'"):
        settle(note=["a", "b\0"])
    with pytest.raises(ManifestError, match="surrogate"):
        settle(path=pd.Series(["a\ud800"], dtype=object))


def test_nested_values_are_left_out_and_named() -> None:
    table, notes = settle(path=["a"], audio=[{"bytes": b"x"}])
    assert list(table.columns) == ["path"]
    assert notes == ["column 'audio' holds values of the kind dict and is left out"]


def test_a_path_is_taken_as_it_is_written() -> None:
    table, _ = settle(path=[" a\u00a0b.wav", "1.0"])
    assert table["path"].tolist() == ["a\u00a0b.wav", "1.0"]
