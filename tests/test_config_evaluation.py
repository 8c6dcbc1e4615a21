"""The section `evaluate`, and the label map of a file and of a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ser_probe.config import check_options
from ser_probe.config.evaluation import EvaluateConfig, load_label_map, parse_pairs
from ser_probe.errors import ConfigError

FILE = """
rage: anger
boredom: null
no: neutral      # a label that YAML 1.1 takes for false
emodb:
  joy: happiness
  calm: "-"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "map.yaml"
    path.write_text(FILE)
    return path


def test_the_map_of_a_file_and_of_the_command_line(path: Path) -> None:
    found = load_label_map(path, ["rage=-", "fury = anger"])
    assert found == {
        "rage": "-", "boredom": None, "no": "neutral", "emodb": {"joy": "happiness", "calm": "-"}, "fury": "anger",
    }  # fmt: skip
    assert check_options(EvaluateConfig, {"label_map": found}).label_map == found
    assert load_label_map(None) == {}


@pytest.mark.parametrize("pair", ["rage", "rage=", "=anger"])
def test_what_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"The command cannot be used: 1 fault\n  - --map {pair}: expected NAME=VALUE"
    ):
        load_label_map(None, ["fury=anger", pair])
    assert parse_pairs(["a=b=c"], "--truth", "a=b") == {"a": "b=c"}


def test_a_label_that_is_given_twice(path: Path) -> None:
    path.write_text("rage: anger\nrage: joy\n")
    with pytest.raises(
        ConfigError, match="The label map cannot be used: 1 fault\n  - rage: given twice, in line 1 and"
    ):
        load_label_map(path)


@pytest.mark.parametrize("text", ["- rage\n", "", "rage: [anger\n", "a: \x00"])
def test_a_file_that_is_no_map(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match="The label map cannot be read") as raised:
        load_label_map(path)
    assert raised.value.found is not None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no such label map"):
        load_label_map(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": "tset"}, r"splits \(command line\): expected .*found 'tset'; did you mean 'test'"),
        ({"label_map": {"rage": 3}}, r"label_map.rage .*found 3"),
        ({"resamples": 10}, r"resamples \(command line\): expected 100 or more, found 10"),
        ({"precision": "fp23"}, r"precision \(command line\): expected .*did you mean"),
        ({"bins": 0}, r"bins \(command line\): expected 1 or more"),
        ({"min_duration_s": 0.01}, r"min_duration_s \(command line\): expected 0.025 or more"),
    ],
)
def test_faults(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_options(EvaluateConfig, options)
