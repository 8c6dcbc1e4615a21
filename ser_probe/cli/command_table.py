"""A group of commands, each loaded when it is asked for: the help of the group reads their first sentences alone."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ser_probe.cli.options import OFFERS, with_options
from ser_probe.cli.words import InFlags


class CommandTable(Mapping[str, Any]):
    """Commands by name.

    Args:
        homes: Returns where each is: `module:name` of a function, or of a `typer.Typer` for a group; or a function
            that returns such a function.
    """

    def __init__(self, homes: Callable[[], Mapping[str, str | Callable[[], Any]]]) -> None:
        self._find_homes = homes
        self._built: dict[str, Any] = {}

    @functools.cached_property
    def _homes(self) -> Mapping[str, str | Callable[[], Any]]:
        return self._find_homes()

    def __getitem__(self, name: str) -> Any:
        """Return a command, made when it is asked for first."""
        if name not in self._built:
            command = self._find(name)
            self._built[name] = (
                typer.main.get_command(command) if isinstance(command, typer.Typer) else build_command(name, command)
            )
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    def help_of(self, name: str) -> str:
        """Return what a command is for, without making it."""
        command = self._find(name)
        text = command.info.help if isinstance(command, typer.Typer) else inspect.getdoc(command)
        return str(text)

    def _find(self, name: str) -> Any:
        home = self._homes[name]
        if callable(home):
            return home()
        module, _, attribute = home.partition(":")
        return getattr(importlib.import_module(module), attribute)


class LazyGroup(TyperGroup):
    """A group whose commands stand in a `CommandTable`."""

    table: CommandTable

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = self.table  # type: ignore[assignment]

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return a command and what is left of the words; the name of one may be two words, as `prepare join`."""
        name = " ".join(args[:2])
        if len(args) > 1 and name in self.table:
            return name, self.table[name], args[2:]
        return super().resolve_command(ctx, args)  # type: ignore[no-any-return]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write names and first sentences."""
        width = formatter.width - 6 - max(map(len, self.table))
        rows = [
            (name, TyperCommand(name, help=self.table.help_of(name)).get_short_help_str(width)) for name in self.table
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def build_command(name: str, function: Callable[..., Any]) -> Any:
    """Return a function as a command, with the options that it offers for keys."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    if OFFERS not in vars(function):
        app.command(name)(function)
        return typer.main.get_command(app)
    run, keys = with_options(function)
    app.command(name, cls=InFlags)(run)
    command = typer.main.get_command(app)
    command.keys = keys  # type: ignore[attr-defined]
    return command
