"""What the rooms below say in a study's keys, said in the flags of the command that was typed.

Which key each flag sets stands with the command's options (`options`); every message of the command goes through
`in_flags`. A command that takes a study's YAML has no such table, and its messages keep the
keys that stand in the file.
"""

from __future__ import annotations

import contextvars
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from typer.core import TyperCommand

from ser_probe.cli.terminal import print_note
from ser_probe.errors import SerProbeError

if TYPE_CHECKING:
    from ser_probe.config.sections import Section

S = TypeVar("S", bound="Section")

_NAME = r"[a-z][a-z0-9_]*"
_SECTIONS = "analyze|audio|backbone|data|evaluate|extract|finetune|output|search|split"
_SET_HERE = re.compile(
    rf"(?P<key>{_NAME}(?:\.{_NAME})*)(?P<rest>(?:\[\d+\]|\.[^\s:()]+)*) \(command line\)(?P<colon>: )?"
)
# Not a key that was typed as one (`--set KEY`), nor one that is proposed for `--set` ('KEY'), nor part of a path.
_KEY = re.compile(rf"(?<!--set )(?<![\w./'-])(?P<key>(?:{_SECTIONS})(?:\.{_NAME})+)(?![\w/]|\.\w|'| \(--set\))")
_IN_A_STUDY = re.compile(r" \(in a study: [^()]*\)")


@dataclass
class Keys:
    """The keys that a command's options set.

    Attributes:
        takes_set: Whether the command takes `--set`.
        flags: Flag or argument by key, as the keys stand in a study.
        defaults: What the command has in place of a study's defaults, by key.
        former: Flags that are called otherwise now, and their new name.
        command: Name of the command, as `COMMANDS` of the configuration has it.
        values: What was typed, by key: None where nothing was.
        local: Flag or argument by key as it stands in the section that the options were checked as.
    """

    takes_set: bool = False
    flags: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    former: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    local: dict[str, str] = field(default_factory=dict)

    def check(self, section: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values below a section, by the keys as they stand in it, and learn which flags set these.

        Args:
            section: Where it stands in a study.
            given: Values that the command sets itself.
        """
        above = f"{section}." if section else ""
        self.local = {key.removeprefix(above): flag for key, flag in self.flags.items() if key.startswith(above)}
        for key in given:
            # An entry of a mapping, such as `data.options.labels`, is set by the flag of the mapping.
            mapping, _, last = key.rpartition(".")
            if key not in self.local and mapping in self.local:
                self.local[key] = f"{self.local[mapping]} {last}"
                self.flags = {**self.flags, f"{above}{key}": self.local[key]}
        typed = {key.removeprefix(above): value for key, value in self.values.items() if key.startswith(above)}
        return {**typed, **given}

    def of(self, key: str) -> str | None:
        """Return what a user of the command sets a study's key with; None where nothing does."""
        if key in self.flags:
            return self.flags[key]
        if not self.takes_set:
            return None
        from ser_probe.config.commands import COMMANDS

        return f"{key} (--set)" if COMMANDS[self.command].takes(key) else None


_TYPED: contextvars.ContextVar[Keys | None] = contextvars.ContextVar("typed", default=None)


def typed_keys() -> Keys:
    """Return the keys of the command that runs; those of a program that runs none are empty."""
    return _TYPED.get() or Keys()


class InFlags(TyperCommand):
    """A command whose messages name its flags.

    Attributes:
        keys: The keys that its options set.
    """

    keys = Keys()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of the command line, those with a former name under their new one."""
        return super().parse_args(ctx, [self._renamed(word) for word in args])

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            SerProbeError: As the steps below do, in the words of the command.
        """
        before = _TYPED.set(dataclasses.replace(self.keys, command=str(self.name), values={}, local={}))
        try:
            return super().invoke(ctx)
        except SerProbeError as error:
            for name in ("what", "where", "expected", "found", "fix"):
                value = getattr(error, name)
                setattr(error, name, in_flags(value) if isinstance(value, str) else value)
            raise
        finally:
            _TYPED.reset(before)

    def _renamed(self, word: str) -> str:
        name, equals, value = word.partition("=")
        if name not in self.keys.former:
            return word
        new = self.keys.former[name]
        print_note(f"warning: {name} is called {new} now; the former name goes with the next release")
        return f"{new}{equals}{value}"


def checked(
    schema: type[S],
    options: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    *,
    section: str = "",
    defaults: Mapping[str, Any] | None = None,
) -> S:
    """Make a study, or a section of one, from what was typed; what is said from here on names the command's flags.

    Args:
        schema: What to make.
        options: Value by dotted key that the command sets itself, as for `check_options`.
        overrides: What `--set` was given.
        section: Where the schema stands in a study, as `analyze.probe`.
        defaults: What the command has in place of a study's defaults.

    Raises:
        ConfigError: With every fault.
    """
    from ser_probe.config import check_options

    known = typed_keys()
    above = f"{section}." if section else ""
    usual = {key.removeprefix(above): value for key, value in known.defaults.items() if key.startswith(above)}
    command = known.command if known.takes_set else None
    values = known.check(section, options or {})
    return check_options(schema, values, overrides, command=command, defaults={**usual, **(defaults or {})})


def in_flags(text: str) -> str:
    """Return a text with `--neighbours` for `analyze.umap.neighbours`, where a command has the flag."""
    known = _TYPED.get()
    if known is None:
        return text
    text = _SET_HERE.sub(lambda words: _set_here(words, known), _IN_A_STUDY.sub("", text))
    return _KEY.sub(lambda word: known.of(word["key"]) or word["key"], text)


def _set_here(words: re.Match[str], known: Keys) -> str:
    """Return how a key was set that an option, or a default of the command, has set."""
    colon = words["colon"] or ""
    whole = words["key"]
    if whole in known.local:
        return known.local[whole] + colon
    if known.takes_set and (other := known.of(whole)) is not None:
        return other + colon
    above = [whole[: match.start()] for match in re.finditer(r"\.", whole)]
    inside = next((known.local[key] for key in reversed(above) if key in known.local), None)
    # Of a section the message itself names the keys.
    return "" if inside is None and colon and not words["rest"] else (inside or whole) + colon
