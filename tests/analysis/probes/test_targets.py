from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.probes.targets import kind_of, make_target, names_groups
from ser_probe.errors import AnalysisError

GROUPS = np.array(["a", "a", "b", "b", "c", "c"])


def test_classes_are_sorted_and_clips_without_one_are_left_out() -> None:
    target = make_target("label", pd.Series(["joy", None, "anger", "joy", "", "anger"]), GROUPS)
    assert target.kind == "classes"
    assert target.classes.tolist() == ["anger", "joy"]
    assert target.clips.tolist() == [0, 2, 3, 5]
    assert target.values.tolist() == [1, 0, 1, 0]
    assert target.groups.tolist() == ["a", "b", "b", "c"]
    assert (target.n_classes, target.n_missing, target.group_name) == (2, 2, "speaker")


def test_numbers_are_kept_as_they_are() -> None:
    target = make_target("arousal", pd.Series([0.5, np.nan, 1.5, np.inf, 2, -1]), GROUPS, kind="numbers")
    assert target.values.tolist() == [0.5, 1.5, 2, -1]
    assert target.clips.tolist() == [0, 2, 4, 5]
    assert (target.n_missing, target.n_classes) == (2, 0)
    text = make_target("arousal", pd.Series(["1", "2", "3", "", "5", "6"]), GROUPS, kind="classes")
    assert text.n_classes == 5


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("arousal", np.linspace(0, 1, 11), "numbers"),
        ("arousal", np.linspace(0, 1, 10), "classes"),
        ("age", np.arange(30), "numbers"),
        ("speaker", np.arange(1001, 1092), "classes"),
        ("label", np.arange(30.0), "classes"),
        ("note", np.array(["x"] * 20), "classes"),
        ("flag", np.array([True, False] * 8), "classes"),
    ],
)
def test_columns_of_many_numbers_are_numeric_unless_they_are_names(
    name: str, values: np.ndarray, expected: str
) -> None:
    assert kind_of(name, pd.Series(values)) == expected


def test_what_cannot_be_predicted_is_refused() -> None:
    with pytest.raises(AnalysisError, match=r"'mood' is not numeric[\s\S]*'fine' in 2 of 6 clips"):
        make_target("mood", pd.Series([1, 2, "fine", "fine", 3, None]), GROUPS, kind="numbers")
    with pytest.raises(AnalysisError, match="No clip has a value of the target 'label'"):
        make_target("label", pd.Series([None] * 6), GROUPS)
    with pytest.raises(AnalysisError, match=r"All clips have the same value of the target 'label'[\s\S]*joy"):
        make_target("label", pd.Series(["joy"] * 6), GROUPS)
    with pytest.raises(AnalysisError, match=r"the same value of the target 'x'[\s\S]*0\.5"):
        make_target("x", pd.Series([0.5] * 6), GROUPS, kind="numbers")
    with pytest.raises(AnalysisError, match="same clips"):
        make_target("label", pd.Series(["a", "b"]), GROUPS)


def test_a_target_that_is_the_groups_is_recognised() -> None:
    assert names_groups(GROUPS, GROUPS)
    assert names_groups(np.array([1, 1, 2, 2, 3, 3]), GROUPS), "under another name"
    assert not names_groups(np.array(["f", "f", "m", "m", "f", "f"]), GROUPS), "shared by two speakers"
    assert not names_groups(np.array([1, 2, 1, 2, 1, 2]), GROUPS), "varies within a speaker"


@pytest.mark.parametrize(
    "values",
    [[1e308, -1e308, 0, 1, 2, 3], [1e-40, 2e-40, 0, 0, 0, 0], [1e9, 1e9 + 1, 1e9 + 2, 1e9, 1e9, 1e9]],
)
def test_numbers_out_of_range_are_refused_by_name(values: list[float]) -> None:
    with pytest.raises(AnalysisError, match=r"target 'arousal' (has numbers that are too large|differ too little)"):
        make_target("arousal", pd.Series(values), GROUPS, kind="numbers")


@pytest.mark.parametrize("values", [[1e20, -1e20, 0, 1, 2, 3], [1e-20, 2e-20, 0, 0, 0, 0], [1990, 1991, 2024, 5, 6, 7]])
def test_numbers_in_range_are_taken(values: list[float]) -> None:
    np.testing.assert_array_equal(make_target("arousal", pd.Series(values), GROUPS, kind="numbers").values, values)
