"""Keyword arguments that are keys of a study: where a signature has them from, and how faults name them.

An option is declared in its section of `config`, with its default and its description. A public function takes
`**options`; its signature and its documentation are completed from the sections, and what the rooms below say of keys
and flags is said of arguments.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pydantic import ValidationError

from ser_probe.config import Section
from ser_probe.config.faults import describe_errors
from ser_probe.errors import ConfigError, SerProbeError, collect, did_you_mean, plain_value

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=Section)

TEMPORARY = "ser-probe-"
"""How the names of a call's temporary folders begin."""

FilePath = str | os.PathLike[str]

_SHARED = {
    "output": "Folder to write to; None writes nothing.",
    "audio_root": "Where relative paths start; None: as the manifest says, of a table the current folder.",
    "progress": "Told of what is done.",
}
_ELSEWHERE = re.compile(r" \(in a study: [^()]*\)")
# What stands in backticks is a command to type in a shell.
_FLAG = re.compile(r"`[^`]*`|(?<![\w-])--(?P<name>[a-z][a-z-]*)")
# Files in which a call hands on what it was given; nobody but the call knows them.
_TEMPORARY = re.compile(rf"{re.escape(tempfile.gettempdir())}/{TEMPORARY}[^/\s]+/")
_DETAILS = ("what", "where", "expected", "found", "fix")


@dataclass(frozen=True)
class Options:
    """Keys of a section that a function takes as keyword arguments.

    Args:
        key: Where the section stands in a study, such as `analyze.probe`.
        schema: The section.
        without: Keys that the function does not take.
        only: The keys that it takes; None: all but those.
    """

    key: str
    schema: type[Section]
    without: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that are taken, in the order of the section."""
        wanted = self.schema.model_fields if self.only is None else self.only
        return tuple(name for name in wanted if name not in self.without)

    def parameters(self) -> Iterator[inspect.Parameter]:
        """Yield the keys as keyword arguments with their defaults."""
        for name in self.names:
            default = self.schema.model_fields[name].get_default(call_default_factory=True)
            yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_plain(default))

    def lines(self) -> Iterator[str]:
        """Yield what each argument does, as an entry of the function's docstring."""
        for name in self.names:
            text = " ".join((self.schema.model_fields[name].description or "").split())
            yield textwrap.fill(f"{name}: {text}", 112, initial_indent=" " * 8, subsequent_indent=" " * 12)


@dataclass(frozen=True)
class Call:
    """A public function's options; calling it with the function completes that.

    Args:
        options: The options, by section.
        spelled: What messages of the rooms below say, and what is said in its place.
        described: What arguments do that several functions share, by name.
    """

    options: tuple[Options, ...] = ()
    spelled: Mapping[str, str] = field(default_factory=dict)
    described: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function with its options in signature and docstring, and with faults that name arguments."""
        signature = inspect.signature(function)
        if not self.options:
            return self._named(function, None)
        fixed = [argument for argument in signature.parameters.values() if argument.kind is not argument.VAR_KEYWORD]
        offered = [parameter for group in self.options for parameter in group.parameters()]
        call = self._named(function, [argument.name for argument in (*fixed, *offered)])
        call.__signature__ = signature.replace(parameters=[*fixed, *offered])  # type: ignore[attr-defined]
        described = {**_SHARED, **self.described}
        shared = [f"        {name}: {described[name]}" for argument in fixed if (name := argument.name) in described]
        lines = [f"{call.__doc__}\n    Further arguments:", *shared]
        for group in self.options:
            lines += [f"\n    As in a study's `{group.key}`:", *group.lines()]
        call.__doc__ = "\n".join([*lines, "    "])
        return call

    def _named(self, function: Callable[P, T], known: Sequence[str] | None) -> Callable[P, T]:
        """Return the function with faults that name its arguments, of which those not known are refused."""

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in kwargs:
                if known is not None and name not in known:
                    raise ConfigError(f"{function.__name__}() has no argument {name!r}", fix=did_you_mean(name, known))
            try:
                return function(*args, **kwargs)
            except SerProbeError as error:
                for detail in _DETAILS:
                    value = getattr(error, detail)
                    setattr(error, detail, self.say(str(value)) if isinstance(value, str | Path) else value)
                error.args = (error.what,)
                raise

        return call

    def check(self, options: Mapping[str, Any], schema: type[S]) -> S:
        """Return a section of the options that belong to it.

        Raises:
            ConfigError: With every fault.
        """
        group = next(group for group in self.options if group.schema is schema)
        return validate(schema, {name: value for name, value in options.items() if name in group.names})

    def keys(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options as a study has them: values by key, by section; sections below others are no matter."""
        return {
            group.key: {name: options[name] for name in group.names if name in options}
            for group in self.options
            if any(name in options for name in group.names)
        }

    def say(self, text: str) -> str:
        """Return a message of the rooms below with arguments in the place of keys and flags."""
        text = _ELSEWHERE.sub("", _TEMPORARY.sub("", text))
        if "pip install" in text:
            return text
        for written, said in self.spelled.items():
            text = text.replace(written, said)
        for group in self.options:
            names = "|".join(map(re.escape, group.names))
            text = re.sub(rf"(?<![\w./-]){re.escape(group.key)}\.(?=(?:{names})(?!\w|/))", "", text)
        return _FLAG.sub(lambda match: match["name"].replace("-", "_") if match["name"] else match[0], text)


def validate(schema: type[S], values: Mapping[str, Any]) -> S:
    """Return a section of these values; numpy's numbers count as Python's.

    Raises:
        ConfigError: With every fault.
    """
    given = {name: plain_value(value) for name, value in values.items()}
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        faults = describe_errors(error, schema, given, {})
        raise collect(ConfigError, "These arguments cannot be used", faults) from error


def _plain(default: Any) -> Any:
    """Return a default as a caller would write it: a section as its keys and values."""
    return default.model_dump() if isinstance(default, Section) else default
