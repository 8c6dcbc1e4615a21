"""The reference of all commands, written from the commands themselves:

python -m ser_probe.cli.reference > docs/commands.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from ser_probe.cli.main import app

_HEAD = """# Commands

Written by `python -m ser_probe.cli.reference > docs/commands.md`; a test checks that it is not stale.

Results go to stdout or to files, progress and messages to stderr. Exit codes: 0 done, 1 a fault in the input or
the environment (also: clips were left out), 2 wrong usage, 130 interrupted, 143 told to end by SIGTERM.
`ser-probe --debug COMMAND ...` shows the traceback of a fault. Every `--set KEY=VALUE` takes the keys of a study's
YAML that the command uses, and refuses others by name; `ser-probe run --write-schema
FILE` writes them all, with descriptions, as a JSON schema for editors."""


def walk_commands(command: Any = None, name: str = "ser-probe") -> Iterator[tuple[str, Any]]:
    """Yield every command with its full name, groups before what is in them."""
    command = typer.main.get_command(app) if command is None else command
    yield name, command
    for below, inner in getattr(command, "commands", {}).items():
        yield from walk_commands(inner, f"{name} {below}")


def own_parameters(command: Any) -> list[Any]:
    """Return the parameters of a command without `--help`."""
    return [parameter for parameter in command.params if parameter.name != "help"]


def render_reference() -> str:
    """Return the reference as Markdown."""
    return "\n\n".join([_HEAD, *(_render(name, command) for name, command in walk_commands())]) + "\n"


def _render(name: str, command: Any) -> str:
    parameters = own_parameters(command)
    paragraphs = [" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")]
    lines = [f"## {name}", "", "\n\n".join(paragraphs)]
    if hasattr(command, "commands"):
        lines += ["", *(f"- [`{name} {below}`](#{_anchor(f'{name} {below}')})" for below in command.commands)]
    if parameters:
        lines += ["", "| | | default |", "|---|---|---|", *(_row(parameter) for parameter in parameters)]
    return "\n".join(lines)


def _row(parameter: Any) -> str:
    metavar = f" {parameter.metavar}" if parameter.metavar else ""
    if parameter.param_type_name == "argument":
        spelled = parameter.metavar or parameter.name.upper()
    else:
        spelled = ", ".join([*parameter.opts, *parameter.secondary_opts]) + metavar
    cells = [f"`{spelled}`", parameter.help, _default(parameter)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.default in (None, False) or parameter.default == []:
        return ""
    return "on" if parameter.default is True else str(parameter.default)


def _anchor(heading: str) -> str:
    return heading.replace(" ", "-")


if __name__ == "__main__":
    print(render_reference(), end="")
