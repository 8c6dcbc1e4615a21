"""Command-line options made from the sections of a study, where each key is declared once.

A command says which keys of which sections it offers; name, type, help and default of each option come from the key.
Sections load pydantic, so a command names its offers in a function, which is called when the command itself is asked
for. What is typed goes into the command's options as `{dotted key: value}`, for `words.checked`.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ser_probe.cli.words import Keys, typed_keys

if TYPE_CHECKING:
    from ser_probe.config.key_types import KeyType
    from ser_probe.config.sections import Section

F = TypeVar("F", bound=Callable[..., Any])

_NULL = r"; (?:null|unset): ([^;.]+)"
"""Where a description says what null stands for; a help page has it as the default."""
OFFERS = "ser_probe_offers"
"""The attribute of a command that says what it offers."""
_LAST = ("overrides", "as_json")
"""Parameters that stand behind the derived options in a help page."""


@dataclass(frozen=True)
class Flag:
    """How a command offers a key, where the key alone does not say it.

    Args:
        names: Spellings, as `("--scheme",)`; empty: from the key.
        help: What stands in the help in place of the first sentence of the key's description.
        metavar: What stands for the value, in place of the type.
        default: What the command has in place of a study's default; `...` for the study's.
        shown: How the default is shown, where its value does not say it.
        required: Whether the command cannot do without it.
    """

    names: tuple[str, ...] = ()
    help: str | None = None
    metavar: str | None = None
    default: Any = ...
    shown: str | None = None
    required: bool = False


@dataclass(frozen=True)
class Offer:
    """Keys of one section that a command takes as options.

    Args:
        schema: The section.
        section: Where it stands in a study, as `finetune.head`; empty for what is no section of a study.
        flags: The keys, and how each is offered.
    """

    schema: type[Section]
    section: str
    flags: Mapping[str, Flag]

    def key(self, name: str) -> str:
        """Return the dotted key, as it stands in a study."""
        return f"{self.section}.{name}".lstrip(".")


def offer(
    schema: type[Section], section: str, keys: str = "", *, but: str = "", flags: Mapping[str, Flag] | None = None
) -> Offer:
    """Return an offer of keys of a section.

    Args:
        schema: The section.
        section: Where it stands in a study.
        keys: The keys, with spaces between them; empty for all.
        but: Keys that are left out.
        flags: How a key is offered otherwise than it says itself.
    """
    chosen = [name for name in keys.split() or schema.model_fields if name not in but.split()]
    return Offer(schema, section, {name: (flags or {}).get(name, Flag()) for name in chosen})


def offers(
    make: Callable[[], Iterator[Offer]],
    *,
    spelled: Mapping[str, str] | None = None,
    former: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """Let a command have options for the keys of sections.

    Args:
        make: Yields the offers; called when the command is asked for.
        spelled: Flag or argument by key, of keys that the command's own parameters set.
        former: Flags that have another name now, and that name; they are still taken, with a warning.
    """

    def mark(command: F) -> F:
        vars(command)[OFFERS] = (make, spelled or {}, former or {})
        return command

    return mark


@dataclass
class _Derived:
    """The options of a command that are made from keys: by the name of the parameter."""

    parameters: dict[str, inspect.Parameter] = field(default_factory=dict)
    keys: dict[str, tuple[str, KeyType]] = field(default_factory=dict)


def with_options(command: Callable[..., Any]) -> tuple[Callable[..., Any], Keys]:
    """Return a command that takes the options it offers, and which flag sets which key."""
    make, spelled, former = vars(command)[OFFERS]
    offered = tuple(make())
    keys = [(part, name, flag) for part in offered for name, flag in part.flags.items()]
    flags = {**spelled, **{part.key(name): _names(name, flag)[0] for part, name, flag in keys}}
    defaults = {part.key(name): flag.default for part, name, flag in keys if flag.default is not ...}
    derived = _Derived()
    for part, name, flag in keys:
        _add_option(derived, part, name, flag, flags)
    signature = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def run(**given: Any) -> Any:
        values = {key: kind.read(given.pop(name)) for name, (key, kind) in derived.keys.items()}
        typed_keys().values.update(values)
        return command(**given)

    written = signature.parameters
    listed = [parameter for name, parameter in written.items() if name not in _LAST]
    listed += derived.parameters.values()
    listed.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    listed += [parameter for name, parameter in written.items() if name in _LAST]
    # Typer reads the signature of a command; keywords may stand in any order.
    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in listed]
    run.__signature__ = signature.replace(parameters=keywords)  # type: ignore[attr-defined]
    former = {**former, **{_flag(old): _flag(new) for part in offered for old, new in _former_names(part)}}
    known = Keys(takes_set="overrides" in signature.parameters, flags=flags, defaults=defaults, former=former)
    return run, known


def _add_option(derived: _Derived, offered: Offer, name: str, flag: Flag, flags: Mapping[str, str]) -> None:
    from ser_probe.config.key_types import OFF, KeyType

    described = offered.schema.model_fields[name]
    kind = KeyType.of(described)
    names = _names(name, flag)
    parameter = names[0].removeprefix("--").replace("-", "_")
    assert parameter not in derived.parameters, f"two options are called {names[0]}"
    if kind.is_flag:
        names = (f"{names[0]}/--no-{names[0].removeprefix('--')}", *names[1:])
    default = described.get_default(call_default_factory=True) if flag.default is ... else flag.default
    text, stands_for = _help(described.description or "", kind, offered, flags)
    if default is not None and stands_for is not None:
        text, stands_for = f"{text.rstrip('.')}; {OFF}: {stands_for}.", None
    shown = flag.shown or ": ".join(part for part in (kind.shown(default), stands_for) if part)
    option = typer.Option(
        *names,
        metavar=flag.metavar or kind.metavar,
        help=flag.help or text,
        show_default=False if flag.required else shown or False,
    )
    derived.parameters[parameter] = inspect.Parameter(
        parameter,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if flag.required else None,
        annotation=Annotated[kind.checked_type, option],
    )
    derived.keys[parameter] = (offered.key(name), kind)


def _former_names(offered: Offer) -> Iterator[tuple[str, str]]:
    """Yield the keys of an offer that had another name, and that name before."""
    from ser_probe.config.renamed import former_names

    yield from ((old, new) for old, new in former_names(offered.section).items() if new in offered.flags)


def _names(name: str, flag: Flag) -> tuple[str, ...]:
    return flag.names or (_flag(name),)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _help(description: str, kind: KeyType, offered: Offer, flags: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the first sentence of a key's description as a terminal shows it, and what null stands for.

    Choices that neither it nor the option's value names are added.
    """
    from ser_probe.config.key_types import OFF

    sentence = re.sub(r"`([^`]+)`", lambda key: _flag_of(key[1], offered, flags), first_sentence(description))
    null = re.search(_NULL, sentence)
    text = re.sub(_NULL, "", sentence)
    if kind.takes_off:
        text = re.sub(r"\bnull\b", OFF, text)
    if kind.names_choices_in_help and not all(choice in text for choice in kind.choices):
        joined = (". Any of " if kind.is_list else ". One of ") if ":" in text else ": "
        text = f"{text.rstrip('.')}{joined}{kind.named_choices()}."
    if kind.is_mapping:
        text = f"{text} May be repeated."
    return text, null[1] if null else None


def _flag_of(word: str, offered: Offer, flags: Mapping[str, str]) -> str:
    """Return the flag of what a description has in backticks, where that is a key of the command."""
    return flags.get(word) or flags.get(offered.key(word)) or word


def first_sentence(text: str) -> str:
    """Return the first sentence of a description, on one line."""
    return re.split(r"(?<=[.])\s+", " ".join(text.split()), maxsplit=1)[0]
