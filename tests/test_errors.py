from __future__ import annotations

import pickle

import pytest

from ser_probe.errors import (
    AudioError,
    ConfigError,
    DamagedFileError,
    MissingExtraError,
    SerProbeError,
    collect,
    did_you_mean,
    require,
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


def test_near_matches_are_offered_and_otherwise_the_list() -> None:
    assert did_you_mean("learning_rat", ["learning_rate", "epochs"]) == "did you mean 'learning_rate'?"
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"


def test_an_installed_dependency_is_returned() -> None:
    assert require("json", extra="x", purpose="reading").loads("1") == 1


def test_a_missing_dependency_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match="drawing needs the package 'no_such_package'") as caught:
        require("no_such_package", extra="paint", purpose="drawing")
    assert caught.value.fix == "pip install 'ser-probe[paint]'"
