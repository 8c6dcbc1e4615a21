"""Every command: it has help, it is documented, and the step that it calls exists."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import ser_probe.cli
from ser_probe.cli.main import app
from ser_probe.cli.reference import own_parameters, render_reference, walk_commands

ROOT = Path(__file__).resolve().parents[2]
CLI = Path(inspect.getfile(ser_probe.cli)).parent
COMMANDS = dict(walk_commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app([*name.split()[1:], "--help"])
    assert ended.value.code == 0
    assert "Usage: " in capsys.readouterr().out
    assert COMMANDS[name].help
    for parameter in own_parameters(COMMANDS[name]):
        assert parameter.help, f"{name} {parameter.name} has no help"
        assert parameter.help.rstrip().endswith((".", "stop.")), f"{name} {parameter.name}: {parameter.help}"


@pytest.mark.parametrize("name", COMMANDS)
def test_documented(name: str) -> None:
    reference = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert f"## {name}\n" in reference


def test_the_reference_is_not_stale() -> None:
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == render_reference(), "run: python -m ser_probe.cli.reference > docs/commands.md"


@pytest.mark.parametrize("path", sorted(CLI.rglob("*.py")), ids=lambda path: path.stem)
def test_every_step_that_is_called_exists_and_takes_what_it_is_given(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    steps = {
        name.name: getattr(importlib.import_module(node.module or ""), name.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ser_probe.steps.")
        for name in node.names
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    for call in calls:
        assert isinstance(call.func, ast.Name)
        if call.func.id in steps:
            keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg is not None}
            unpacked = len(keywords) < len(call.keywords)
            signature = inspect.signature(steps[call.func.id])
            (signature.bind_partial if unpacked else signature.bind)(*call.args, **keywords)
