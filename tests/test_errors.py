from __future__ import annotations

import pickle

import numpy as np
import pytest

from ser_probe.errors import (
    AudioError,
    ConfigError,
    DamagedFileError,
    SerProbeError,
    collect,
    did_you_mean,
    shorten,
    show,
)


def test_a_message_says_what_where_and_what_to_do() -> None:
    error = SerProbeError("The file is empty", where="a.wav", expected="samples", found="0 bytes", fix="copy it again")
    assert str(error).splitlines() == [
        "The file is empty",
        "  where: a.wav",
        "  expected: samples",
        "  found: 0 bytes",
        "  to do: copy it again",
    ]


def test_details_that_are_not_given_are_not_shown() -> None:
    assert str(SerProbeError("Nothing else is known")) == "Nothing else is known"


def test_an_error_keeps_kind_and_details_on_its_way_from_a_worker_process() -> None:
    for kind in (AudioError, DamagedFileError):
        error = kind("The clip is silent", where="b.wav", found="all zero")
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is kind
        assert str(back) == str(error)


def test_all_faults_are_in_one_message() -> None:
    error = collect(ConfigError, "The study cannot be used", ["a is unknown", "b is missing"], where="study.yaml")
    assert isinstance(error, ConfigError)
    assert str(error).splitlines()[:3] == ["The study cannot be used: 2 faults", "  - a is unknown", "  - b is missing"]
    assert "1 fault\n" in str(collect(ConfigError, "x", ["only one"]))


def test_a_flood_of_faults_is_cut_and_counted() -> None:
    error = collect(ConfigError, "x", [f"fault {n}" for n in range(100)], fix="mend them")
    assert str(error).splitlines() == [
        "x: 100 faults", *(f"  - fault {n}" for n in range(12)), "  - and 88 more", "  to do: mend them"
    ]  # fmt: skip
    assert str(collect(ConfigError, "x", ["a", "b", "c"], shown=1)).splitlines()[1:] == ["  - a", "  - and 2 more"]


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (np.float64("nan"), "nan"),
        (np.float32(0.5), "0.5"),
        (np.int64(3), "3"),
        (np.bool_(True), "True"),
        (np.str_("a"), "a"),
        (np.array([1.5, 2.0]), "[1.5, 2.0]"),
        ([np.float64(1.5), (np.str_("x"), {np.int64(1): np.array([np.int8(2)])})], "[1.5, ('x', {1: [2]})]"),
        ({np.str_("a")}, "{'a'}"),
        ({"train": np.float64(0.8)}, "{'train': 0.8}"),
    ],
)
def test_no_message_shows_an_object_of_numpy(found: object, shown: str) -> None:
    error = SerProbeError("x", where=found, expected=found, found=found)
    assert str(error).splitlines()[1:] == [f"  {name}: {shown}" for name in ("where", "expected", "found")]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (np.float64("nan"), "an empty cell"),
        (None, "an empty cell"),
        ("", "an empty cell"),
        (np.float64(1.5), "1.5"),
        (np.str_("high"), "'high'"),
        (0, "0"),
    ],
)
def test_a_cell_is_shown_as_a_table_has_it(cell: object, shown: str) -> None:
    assert show(cell) == shown


def test_near_matches_are_offered_and_otherwise_the_list() -> None:
    assert did_you_mean("learning_rat", ["learning_rate", "epochs"]) == "did you mean 'learning_rate'?"
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("zzz", map(str, range(100, 200))).endswith("123 and 76 more")


def test_long_lists_are_shortened() -> None:
    assert shorten("abc") == "a, b, c"
    assert shorten(map(str, range(12))).endswith("8, 9 and 2 more")
