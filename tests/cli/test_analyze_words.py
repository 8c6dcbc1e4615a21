"""Messages of the analyses name what was typed: flags."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

import ser_probe
from ser_probe.cli.analyze import app
from ser_probe.cli.analyze.words import with_flags
from ser_probe.cli.main import app as whole

SOURCES = Path(ser_probe.__file__).parent


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("set analyze.umap.n_neighbors lower", "set --n-neighbors lower"),
        ("set analyze.splits to all", "set --splits to all"),
        ("set analyze.probe.splits to study.", "set --splits to study."),
        ("analyse more", "analyse more"),
    ],
)
def test_keys_become_flags(text: str, said: str) -> None:
    assert with_flags(text) == said


def test_every_key_that_a_message_names_is_a_flag() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    flags = {name: {o for p in command.params for o in p.opts} for name, command in commands.items()}
    named = set()
    for room in ("steps", "analysis"):
        for source in (SOURCES / room).rglob("*.py"):
            if source.name not in ("run.py", "study_analyses.py"):
                named |= set(re.findall(r"analyze\.([a-z]+)\.([a-z_]+)", source.read_text(encoding="utf-8")))
    assert ("umap", "n_neighbors") in named
    for analysis, key in named:
        assert with_flags(f"analyze.{analysis}.{key}") in flags[analysis], f"analyze.{analysis}.{key}"


def test_a_message_reaches_the_terminal_in_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = tmp_path / "cells.csv"
    cells.write_text("step,mean,sd,n\n0,0.5,0.1,10\n50,0.6,0.1,1e18\n")
    words = ["analyze", "stats", str(cells), "--response", "score", "--factors", "step", "--from-moments"]
    with pytest.raises(SystemExit) as ended:
        whole([*words, "-o", str(tmp_path / "out")], prog_name="ser-probe")
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert "column n, row 2" in error
    assert "analyze." not in error
