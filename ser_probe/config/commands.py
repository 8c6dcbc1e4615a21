"""Which keys of a study each command uses: what `--set` gives to a command that never looks at it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from ser_probe.config.faults import section_below
from ser_probe.config.study import StudyConfig


@dataclass(frozen=True)
class Command:
    """What a command takes of a study.

    Args:
        uses: Keys, or sections for all of their keys.
        but: Keys of those sections that make no difference to it.
        given: Keys that are arguments of the command: how it calls them.
    """

    uses: tuple[str, ...]
    but: tuple[str, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict)

    def takes(self, key: str) -> bool:
        """Tell whether a dotted key makes a difference to the command."""
        return _lies_in(key, self.uses) and not _lies_in(key, (*self.but, *self.given))


_EVERYTHING = tuple(StudyConfig.model_fields)
_MANIFEST = {"data.manifest": "the argument MANIFEST"}
_OF_A_CORPUS = ("data.corpus", "data.root", "data.options")

COMMANDS: Mapping[str, Command] = {
    "prepare": Command(
        uses=("seed", "data", "audio.min_duration_s", "audio.max_duration_s", "split"),
        but=("data.manifest", "data.audio_root"),
        given={"data.corpus": "the argument CORPUS", "data.root": "the argument ROOT"},
    ),
    "extract": Command(
        uses=("data", "audio", "backbone", "extract"),
        but=(*_OF_A_CORPUS, "extract.checkpoints", "extract.egemaps", "extract.random_control"),
        given={**_MANIFEST, "backbone.name": "--model"},
    ),
    "finetune": Command(
        uses=("seed", "data", "audio", "split", "backbone", "finetune", "output.cache"),
        but=(*_OF_A_CORPUS, "finetune.enabled"),
        given={**_MANIFEST, "backbone.name": "--model"},
    ),
    # The study with the best values holds every key.
    "search": Command(uses=_EVERYTHING, but=("finetune.enabled",)),
    "run": Command(uses=_EVERYTHING, but=("search",)),
}
"""The commands that take `--set`."""


def unused_key(command: str, key: str, value: Any) -> str | None:
    """Return what is wrong with setting a key for a command, None if it makes a difference or is no key at all.

    Args:
        command: A name of `COMMANDS`.
        key: The dotted key.
        value: What it is set to; of a section, its keys and values.
    """
    for leaf in _leaves(StudyConfig, key, value):
        if COMMANDS[command].takes(leaf) or not _is_known(leaf):
            continue
        if leaf in COMMANDS[command].given:
            return f"{leaf}: give it to `{command}` as {COMMANDS[command].given[leaf]}"
        users = [f"`{name}`" for name, other in COMMANDS.items() if other.takes(leaf)]
        listed = " and ".join([", ".join(users[:-1]), users[-1]] if len(users) > 1 else users)
        by_others = f"; {listed} {'do' if len(users) > 1 else 'does'}" if users else ""
        return f"{leaf}: `{command}` does not use this key{by_others}"
    return None


def _lies_in(key: str, sections: tuple[str, ...]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _leaves(schema: type[BaseModel] | None, key: str, value: Any, above: str = "") -> Iterator[str]:
    """Yield the keys that are set where `key` below `above` is set to `value`: itself, or those of its section."""
    name, _, rest = key.partition(".")
    below = None if schema is None else section_below(schema, name)
    if rest and below is not None:
        yield from _leaves(below, rest, value, f"{above}{name}.")
    elif below is not None and isinstance(value, dict) and value:
        for inner_key, inner in value.items():
            yield from _leaves(below, str(inner_key), inner, f"{above}{name}.")
    else:
        yield f"{above}{key}"


def _is_known(key: str) -> bool:
    """Tell whether a study has the key; of the others the schema says more."""
    schema: type[BaseModel] | None = StudyConfig
    for part in key.split("."):
        if schema is None:
            return True
        if part not in schema.model_fields:
            return False
        schema = section_below(schema, part)
    return True
