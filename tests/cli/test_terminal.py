"""What a command says when its step is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from ser_probe.cli.terminal import finish, print_answer, print_table
from ser_probe.steps.outcome import Answer, Outcome


def test_files_and_facts_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    finish(Outcome((Path("a.csv"), Path("b.html")), {"clips": 3}))
    assert capsys.readouterr() == ("clips: 3\nwrote b.html, a.csv\n", "")


def test_many_files_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    out = Path("out")
    tables = [out / f"{name}{suffix}" for name in ("probe", "best_layers") for suffix in (".parquet", ".csv")]
    figures = [out / "figures" / f"{name}{suffix}" for name in ("a", "b", "c.5") for suffix in (".png", ".svg")]
    finish(Outcome((*tables, out / "anova.tex", out / "summary.md", out / "clips.csv", *figures)))
    assert capsys.readouterr().out == (
        "wrote out/clips.csv, out/summary.md, 2 tables, 1 LaTeX table and 3 figures in out\n"
    )
    caches = [Path("cache") / f"step-{step}.h5" for step in range(7)]
    finish(Outcome(tuple(caches[:2])))
    finish(Outcome(tuple(caches)))
    assert capsys.readouterr().out == "wrote cache/step-1.h5, cache/step-0.h5\nwrote 7 embedding files in cache\n"


def test_answers_are_printed_before_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer("Where", ("step", "test UAR"), (("0", "0.412"), ("4", "0.530")))
    finish(Outcome((Path("a.csv"),), {"clips": 3}, answers=(answer,), warnings=("pooled",)))
    out = "clips: 3\n\nWhere:\nstep  test UAR\n0     0.412\n4     0.530\n\nwrote a.csv\n"
    assert capsys.readouterr() == (out, "warning: pooled\n")


def test_an_answer_that_is_too_wide_has_a_column_a_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_answer(Answer("Where", ("step", "test UAR", "95 %"), (("0", "0.412", "0.3 to 0.5"), ("4", "0.5", "-"))))
    assert capsys.readouterr().out == "step      0           4\ntest UAR  0.412       0.5\n95 %      0.3 to 0.5  -\n"
    rows = tuple((str(step), "0.5", "0.3 to 0.5") for step in range(15))
    print_answer(Answer("Where", ("step", "test UAR", "95 %"), rows))
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0].split(), lines[-1], len(lines)) == (
        ["step", "test", "UAR", "95", "%"], "... and 3 more rows, in the tables", 14,
    )  # fmt: skip


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
