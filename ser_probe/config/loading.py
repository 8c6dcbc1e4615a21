"""From a YAML file and `--set key=value` to a checked study, or to one message with every fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from ser_probe.config.commands import unused_key
from ser_probe.config.document import Document, Location, UnreadableYamlError, parse_yaml, read_document
from ser_probe.config.faults import clashing_keys, describe_errors
from ser_probe.config.renamed import rename_keys, rename_override
from ser_probe.config.sections import NULL, Section
from ser_probe.config.study import COMBINATION, StudyConfig
from ser_probe.errors import ConfigError, collect

S = TypeVar("S", bound=Section)

_MOST_FAULTS = 50
"""Listed of one file: each is another key to mend, so more than where rows share a fault."""

# The least that a study needs, to look for clashes among the other keys while one of these is missing.
_LEAST: dict[str, Any] = {"name": "stand-in", "data": {}, "backbone": {"name": "stand-in"}}


def load_study(path: Path | str, overrides: Sequence[str] = (), *, command: str | None = None) -> StudyConfig:
    """Read and check a study.

    Args:
        path: A YAML file. Relative paths inside it start from the current folder, as those of `--set` do.
        overrides: `a.b=value` each, the value in YAML; the later wins.
        command: Whose keys alone may be overridden, a name of `COMMANDS`; None: any.

    Raises:
        ConfigError: With every fault of file and overrides: key, line, what was expected and found.
    """
    path = Path(path)
    document = read_document(path)
    rename_keys(document)
    for override in overrides:
        _apply_override(document, override, command)
    return _check(document, StudyConfig, where=path)


def check_options(
    schema: type[S],
    options: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    command: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> S:
    """Make a study, or a section of one, from what was given on a command line.

    Args:
        schema: What to make.
        options: Value by dotted key; None stands for an option that was not given, `NULL` for null.
        overrides: `a.b=value` each, as for `load_study`.
        command: Whose keys alone may be overridden, a name of `COMMANDS`; None: any.
        defaults: What the command has in place of a study's defaults, by dotted key; `NULL` for null.

    Raises:
        ConfigError: With every fault.
    """
    document = Document({})
    given = {key: value for key, value in options.items() if value is not None}
    for key, value in given.items():
        _set(document, tuple(key.split(".")), None if value is NULL else value, "command line")
    for override in overrides:
        _apply_override(document, override, command, given if command else {})
    for key, value in (defaults or {}).items():
        _set_default(document, tuple(key.split(".")), None if value is NULL else value)
    return _check(document, schema, where=None)


def _check(document: Document, schema: type[S], *, where: Path | None) -> S:
    checked: S | None = None
    try:
        checked = schema.model_validate(document.values)
    except ValidationError as error:
        document.faults += describe_errors(error, schema, document.values, document.origins)
        document.faults += _remaining_clashes(error, document, schema)
    if checked is None or document.faults:
        raise collect(ConfigError, "The configuration cannot be used", document.faults, where=where, shown=_MOST_FAULTS)
    return checked


def study_yaml(study: Section) -> str:
    """Return a study as YAML with every default spelled out; `load_study` reads it back to an equal study."""
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a study, for editors that complete and check YAML."""
    schema = StudyConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "ser-probe study"}


def _apply_override(
    document: Document, override: str, command: str | None, given: Mapping[str, Any] | None = None
) -> None:
    """Set the key of one `--set`; what cannot be set becomes a fault, as does what an option has set otherwise."""
    key, equals, text = (part.strip() for part in override.partition("="))
    if not equals or not all(key.split(".")):
        document.faults.append(f"--set {override}: expected key=value, as in finetune.epochs=3")
        return
    try:
        value = parse_yaml(text)
    except UnreadableYamlError as error:
        document.faults.append(f"--set {override}: the value is not valid YAML ({error}); put it in quotes")
        return
    key, value = rename_override(key, value)
    parts = key.split(".")
    unused = None if command is None else unused_key(command, key, value)
    if unused is not None:
        document.faults.append(f"--set {unused}")
        return
    for option, chosen in (given or {}).items():
        # `--early-stopping` makes a section, which `--set` may fill.
        if _overlap(tuple(option.split(".")), tuple(parts)) and not (chosen == {} and key.startswith(f"{option}.")):
            document.faults.append(f"--set {override}: {option} is also set by an option of the command; leave one out")
            return
    blocked_by = _set(document, tuple(parts), value, "--set")
    if blocked_by is not None:
        document.faults.append(f"--set {override}: {blocked_by} is a value and has no keys below it")


def _set(document: Document, location: tuple[str, ...], value: Any, origin: str) -> str | None:
    """Set a key, making the sections on the way; return the key that is no section where one is in the way."""
    section = document.values
    for depth, part in enumerate(location[:-1], start=1):
        if section.get(part) is None:
            section[part] = {}
            document.origins[location[:depth]] = origin
        if not isinstance(section[part], dict):
            return ".".join(location[:depth])
        section = section[part]
    section[location[-1]] = value
    for replaced in [key for key in document.origins if key[: len(location)] == location]:
        del document.origins[replaced]
    document.origins[location] = origin
    return None


def _set_default(document: Document, location: tuple[str, ...], value: Any) -> None:
    """Set a key that nobody has set, unless a section on the way was set to something else than keys."""
    section: Any = document.values
    for part in location:
        if not isinstance(section, dict):
            return
        if part not in section:
            _set(document, location, value, "command line")
            return
        section = section[part]


def _remaining_clashes(error: ValidationError, document: Document, schema: type[Section]) -> list[str]:
    """Find the impossible combinations that single faulty keys hide: check again without those keys."""
    faulty = [fault["loc"] for fault in error.errors() if fault["type"] != COMBINATION]
    repaired = _copied(document.values)
    for fault in error.errors():
        _repair(repaired, fault["loc"], missing=fault["type"] == "missing")
    try:
        schema.model_validate(repaired)
    except ValidationError as again:
        return [
            f"{document.name_of(keys[0])}: {message}"
            for keys, message in clashing_keys(again)
            if faulty and not any(_overlap(tuple(key.split(".")), bad) for key in keys for bad in faulty)
        ]
    return []


def _overlap(first: Location, second: Location) -> bool:
    """Tell whether one key lies inside the other."""
    depth = min(len(first), len(second))
    return first[:depth] == second[:depth]


def _copied(value: Any) -> Any:
    """Copy nested mappings; lists are replaced as a whole and need no copy."""
    return {key: _copied(below) for key, below in value.items()} if isinstance(value, dict) else value


def _repair(values: dict[str, Any], location: Location, *, missing: bool) -> None:
    """Take a faulty key away, so that its default stands in; a required one gets the least, or loses its section."""
    section: Any = values
    least: Any = _LEAST
    for depth, part in enumerate(location):
        least = least.get(part) if isinstance(least, dict) else None
        below = section.get(part)
        last = depth == len(location) - (2 if missing and least is None else 1)
        if last or not isinstance(below, dict):
            section.pop(part, None)
            if least is not None:
                section[part] = least
            return
        section = below
