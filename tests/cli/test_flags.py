"""Options as keys of a study."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from ser_probe.cli import flags
from ser_probe.cli.main import app
from ser_probe.config import NULL, AnalyzeConfig


def test_names_stay_text() -> None:
    assert flags.names("1, joy,") == ["1", "joy"]
    assert flags.names(None) is None


def test_a_command_is_a_study_named_after_its_folder_without_analyses() -> None:
    found = flags.study_defaults(Path("runs/my run (2)"), split__scheme="manifest")
    assert (found["name"], found["split.scheme"]) == ("my-run-2", "manifest")
    assert {key for key, value in found.items() if value is NULL} == {
        f"analyze.{name}" for name in AnalyzeConfig.model_fields if name not in ("splits", "by_corpus")
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("3", [3]), ("0-2", [0, 1, 2]), ("256,128", [256, 128]), ("5, 1-2,2", [5, 1, 2])],
)
def test_whole_numbers(text: str | None, expected: list[int] | None) -> None:
    assert flags.whole_numbers(text, "--seeds") == expected


@pytest.mark.parametrize("text", ["", "a", "3-1", "1.5", "-1", "0-", "0-999999999"])
def test_what_is_no_whole_number_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected whole numbers such as 0-9"):
        flags.whole_numbers(text, "--seeds")


@pytest.mark.parametrize("command", ["similarity", "geometry", "acoustics", "umap"])
@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_that_no_generator_takes_is_wrong_usage(
    command: str, seed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["analyze", command, "x.h5", "--seed", seed, "-o", "out"], prog_name="ser-probe")
    assert ended.value.code == 2
    assert "--seed" in capsys.readouterr().err
