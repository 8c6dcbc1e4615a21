"""What the rooms below say in a study's keys, said in the flags of the command that was typed.

Which key each flag sets is known from the command's own options, when it has them checked (`checked`); every message
that follows goes through `in_flags`. A command that takes a study's YAML has no such table, and its messages keep the
keys that stand in the file.
"""

from __future__ import annotations

import contextvars
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from typer.core import TyperCommand

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

# Parameters that are not called as the last part of the key that they set, or that set one entry of it at a time.
_CALLED = {"backbone.name": "model", "target_columns": "truth", "similarity.egemaps": "features"}
_ENTRIES = {"data.options": "option"}


@dataclass
class Keys:
    """The keys that a command's options set.

    Attributes:
        command: Name of the command, as `COMMANDS` of the configuration has it.
        takes_set: Whether it takes `--set`.
        flags: Flag or argument by key, as the keys stand in a study.
        local: The same as they stand in the section that the options were checked as.
        parameters: Flag or argument by the name of the parameter.
    """

    command: str
    takes_set: bool
    parameters: Mapping[str, str]
    flags: dict[str, str] = field(default_factory=dict)
    local: dict[str, str] = field(default_factory=dict)

    def add(self, keys: Iterable[str], section: str) -> None:
        """Learn which flags set some keys of a section."""
        for key in keys:
            above, _, last = key.rpartition(".")
            if above in _ENTRIES:
                option = self.parameters[_ENTRIES[above]]
                self.flags[above] = self.local[above] = option
                spelled: str | None = f"{option} {last}"
            else:
                names = (_CALLED.get(key, last), last, "_".join([*section.split("."), *key.split(".")][-2:]))
                spelled = next((self.parameters[name] for name in names if name in self.parameters), None)
            if spelled is not None:
                self.flags[f"{section}.{key}".lstrip(".")] = self.local[key] = spelled

    def of(self, key: str) -> str | None:
        """Return what a user of the command sets a study's key with; None where nothing does."""
        if key in self.flags:
            return self.flags[key]
        if not self.takes_set:
            return self.parameters.get(key.rpartition(".")[2])
        from ser_probe.config.commands import COMMANDS

        return f"{key} (--set)" if COMMANDS[self.command].takes(key) else None


_TYPED: contextvars.ContextVar[Keys | None] = contextvars.ContextVar("typed", default=None)


class InFlags(TyperCommand):
    """A command whose messages name its flags."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            SerProbeError: As the steps below do, in the words of the command.
        """
        spelled = {
            str(each.name): str(each.metavar) if each.param_type_name == "argument" else each.opts[0]
            for each in self.params
        }
        before = _TYPED.set(Keys(str(self.name), "overrides" in spelled, spelled))
        try:
            return super().invoke(ctx)
        except SerProbeError as error:
            for name in ("what", "where", "expected", "found", "fix"):
                value = getattr(error, name)
                setattr(error, name, in_flags(value) if isinstance(value, str) else value)
            raise
        finally:
            _TYPED.reset(before)


def checked(
    schema: type[S],
    options: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    section: str = "",
    defaults: Mapping[str, Any] | None = None,
) -> S:
    """Make a study, or a section of one, from a command's options; what is said from here on names its flags.

    Args:
        schema: What to make.
        options: Value by dotted key, as for `check_options`.
        overrides: What `--set` was given.
        section: Where the schema stands in a study, as `analyze.probe`.
        defaults: What the command has in place of a study's defaults.

    Raises:
        ConfigError: With every fault.
    """
    from ser_probe.config import check_options

    known = _TYPED.get()
    if known is not None:
        known.add(options, section)
    command = known.command if known is not None and known.takes_set else None
    return check_options(schema, options, overrides, command=command, defaults=defaults)


def in_flags(text: str) -> str:
    """Return a text with `--n-neighbors` for `analyze.umap.n_neighbors`, where a command has the flag."""
    known = _TYPED.get()
    if known is None:
        return text
    text = _SET_HERE.sub(lambda found: _set_here(found, known), _IN_A_STUDY.sub("", text))
    return _KEY.sub(lambda found: known.of(found["key"]) or found["key"], text)


def _set_here(found: re.Match[str], known: Keys) -> str:
    """Return how a key was set that an option, or a default of the command, has set."""
    colon = found["colon"] or ""
    whole = found["key"]
    if whole in known.local:
        return known.local[whole] + colon
    if known.takes_set and (other := known.of(whole)) is not None:
        return other + colon
    above = [whole[: match.start()] for match in re.finditer(r"\.", whole)]
    inside = next((known.local[key] for key in reversed(above) if key in known.local), None)
    # Of a section the message itself names the keys.
    return "" if inside is None and colon and not found["rest"] else (inside or whole) + colon
