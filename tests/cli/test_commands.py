"""Every command: it has help, it is documented, and the step that it calls exists."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import ser_probe.cli
from ser_probe.cli.main import app
from ser_probe.cli.reference import own_parameters, render_reference, walk_commands
from ser_probe.config import StudyConfig

ROOT = Path(__file__).resolve().parents[2]
CLI = Path(inspect.getfile(ser_probe.cli)).parent
COMMANDS = dict(walk_commands())
SECTIONS = {
    "prepare": ("data", "audio", "split"),
    "extract": ("data", "audio", "split", "backbone", "extract"),
    "finetune": ("data", "audio", "split", "backbone", "finetune", "finetune.head"),
    "probe": ("analyze.probe", "split"),
    "similarity": ("analyze.similarity",),
    "drift": ("analyze.drift",),
    "geometry": ("analyze.geometry",),
    "acoustics": ("analyze.acoustics",),
    "umap": ("analyze.umap",),
    "stats": ("analyze.stats",),
}
# Options whose default differs from a study's on purpose, or which are no single key.
OWN_DEFAULT = {
    ("finetune", "scheme"), ("finetune", "early_stopping"), ("finetune", "head_learning_rate"),
    ("extract", "audio_root"), ("finetune", "audio_root"), ("umap", "audio_root"), ("probe", "target"),
    ("finetune", "hidden"), ("finetune", "loss"), ("finetune", "seeds"),
    ("acoustics", "splits"), ("stats", "where"), ("stats", "apart"), ("stats", "unit"), ("stats", "order"),
    ("stats", "contrasts"), ("stats", "pairs"), ("stats", "equivalence"),
}  # fmt: skip


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


def default_of(section: str, key: str) -> Any:
    """Return a study's default for a key; raise KeyError where the section has no such key."""
    kind: Any = StudyConfig
    for part in section.split("."):
        annotation = kind.model_fields[part].annotation
        options = getattr(annotation, "__args__", (annotation,))
        kind = next(option for option in options if option is not type(None))
    return kind.model_fields[key].default


@pytest.mark.parametrize("command", SECTIONS)
def test_shown_defaults_are_the_studys(command: str) -> None:
    (found,) = [each for name, each in COMMANDS.items() if name.endswith(f" {command}")]
    compared = 0
    for parameter in own_parameters(found):
        key = {"split_seed": "seed"}.get(parameter.name, parameter.name)
        if not isinstance(parameter.show_default, str) or (command, key) in OWN_DEFAULT:
            continue
        for section in SECTIONS[command]:
            try:
                default = default_of(section, key)
            except KeyError:
                continue
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
            # What auto stands for may follow it.
            stated = parameter.show_default.split(":")[0] if shown == "auto" else parameter.show_default
            assert stated == {"None": "off"}.get(shown, shown), f"{command} {parameter.name}"
            compared += 1
            break
        else:
            assert key == "splits", f"{command} {parameter.name} shows a default, and no section has the key"
    assert compared


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
            keywords = {keyword.arg or "": None for keyword in call.keywords}
            inspect.signature(steps[call.func.id]).bind(*call.args, **keywords)
