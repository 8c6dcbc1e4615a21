"""What a command says when its step is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from ser_probe.cli.terminal import finish, print_table
from ser_probe.steps.outcome import Outcome


def test_files_and_facts_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    finish(Outcome((Path("a.csv"), Path("b.html")), {"clips": 3}))
    assert capsys.readouterr() == ("clips: 3\nwrote a.csv\nwrote b.html\n", "")


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (1, "1 clip was left out as unusable; the reasons are in rejects.csv\n"),
        (2, "2 clips were left out as unusable; the reasons are in rejects.csv\n"),
    ],
)
def test_rejected_clips_are_the_last_line_and_the_exit_code(
    capsys: pytest.CaptureFixture[str], count: int, message: str
) -> None:
    with pytest.raises(typer.Exit) as ended:
        finish(Outcome((Path("a.csv"),), n_rejected=count, rejects=Path("rejects.csv")))
    assert ended.value.exit_code == 1
    assert capsys.readouterr() == ("wrote a.csv\n", message)


def test_what_failed_is_the_last_line_and_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        finish(Outcome((Path("a.csv"),), failed=("umap", "drift")))
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "could not be made on these data: umap, drift; the reasons are above\n"


def test_a_table_lines_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"state": "ok", "what": "python"}, {"state": "missing", "what": "x\x1b"}], ["state", "what"])
    assert capsys.readouterr().out == "state    what\nok       python\nmissing  x\\x1b\n"
