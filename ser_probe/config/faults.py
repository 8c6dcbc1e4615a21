"""Turning pydantic's errors into sentences for the person who wrote the YAML: key, expected, found, near match."""

from __future__ import annotations

import types
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ser_probe.config.document import Location, name_key
from ser_probe.config.study import COMBINATION
from ser_probe.errors import did_you_mean

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "tuple_type": "a list, as in [a, b]",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "greater_than": "a number above {gt:.12g}",
    "greater_than_equal": "{ge:.12g} or more",
    "less_than": "a number below {lt:.12g}",
    "less_than_equal": "{le:.12g} or less",
    "string_too_short": "text that is not empty",
    "too_short": "a list with at least {min_length}",
    "string_pattern_mismatch": "letters, digits, dot, dash, underscore, a letter or digit first",
}
_LONGEST_FOUND = 60


def describe_errors(
    error: ValidationError, schema: type[BaseModel], values: Any, origins: dict[Location, str]
) -> list[str]:
    """Return one sentence for each faulty key, in the order of the schema, and for each clash of keys."""
    grouped: dict[Location, list[ErrorDetails]] = {}
    for fault in error.errors():
        if fault["type"] != COMBINATION:
            grouped.setdefault(_written_location(fault, values), []).append(fault)
    # Of the alternatives of a union, the one that got furthest is what was meant.
    grouped = {
        location: faults
        for location, faults in grouped.items()
        if not any(other[: len(location)] == location and other != location for other in grouped)
    }
    sentences = [
        f"{name_key(location, origins)}: {_describe(location, faults, schema)}".removeprefix(": ")  # of a whole section
        for location, faults in grouped.items()
    ]
    for keys, message in clashing_keys(error):
        sentences.append(f"{name_key(tuple(keys[0].split('.')), origins)}: {message}")
    return sentences


def clashing_keys(error: ValidationError) -> list[tuple[tuple[str, ...], str]]:
    """Return the impossible combinations in an error: the keys involved and the message."""
    return [
        (clash.keys, clash.message)
        for fault in error.errors()
        if fault["type"] == COMBINATION
        for clash in fault["ctx"]["clashes"]
    ]


def _written_location(fault: ErrorDetails, values: Any) -> Location:
    """Return where a fault lies in what was written, without the alternatives of a union that pydantic names."""
    location: list[str | int] = []
    for part in fault["loc"]:
        inside = isinstance(values, dict) and part in values
        if inside or (isinstance(values, list) and isinstance(part, int) and part < len(values)):
            values = values[part]
            location.append(part)
        elif fault["type"] == "missing":
            location.append(part)
    return tuple(location)


def _describe(location: Location, faults: list[ErrorDetails], schema: type[BaseModel]) -> str:
    kind, found = faults[0]["type"], faults[0]["input"]
    if kind == "missing":
        return "required, and not given"
    if kind in ("extra_forbidden", "invalid_key"):
        return f"unknown key; {_near_key(location, schema)}"
    if kind == "value_error":  # a check of our own, which says it all
        return str(faults[0]["ctx"]["error"])
    expected = " or ".join(dict.fromkeys(_expected(fault) for fault in faults))
    sentence = f"expected {expected}, found {_shown(found)}"
    choices = [choice for fault in faults for choice in _choices(fault)]
    if choices and isinstance(found, str):
        near = did_you_mean(found, choices)
        sentence += f"; {near}" if near.startswith("did you mean") else ""
    if kind == "string_type" and not isinstance(found, dict | list) and found is not None:
        sentence += "; put it in quotes"
    return sentence


def _expected(fault: ErrorDetails) -> str:
    if fault["type"] == "literal_error":
        return str(fault["ctx"]["expected"])
    template = _EXPECTED.get(fault["type"])
    return fault["msg"] if template is None else template.format(**fault.get("ctx", {}))


def _choices(fault: ErrorDetails) -> list[str]:
    """Return the values that a literal admits; pydantic gives them as text: "'a', 'b' or 'c'"."""
    if fault["type"] != "literal_error":
        return []
    return [choice.strip("'") for choice in fault["ctx"]["expected"].replace(" or ", ", ").split(", ")]


def _near_key(location: Location, schema: type[BaseModel]) -> str:
    """Suggest a key: the same word in another section first, then near words in this one."""
    unknown = str(location[-1])
    elsewhere = [path for path in _all_keys(schema) if path.rsplit(".", 1)[-1] == unknown]
    if elsewhere:
        return "did you mean " + " or ".join(repr(path) for path in elsewhere) + "?"
    section: type[BaseModel] | None = schema
    for part in location[:-1]:
        section = None if section is None else section_below(section, str(part))
    return did_you_mean(unknown, section.model_fields if section else _all_keys(schema))


def _all_keys(schema: type[BaseModel], above: str = "") -> list[str]:
    keys = []
    for name in schema.model_fields:
        below = section_below(schema, name)
        keys.append(above + name)
        keys += _all_keys(below, f"{above}{name}.") if below else []
    return keys


def section_below(schema: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the section that a key holds, also where it may be null; None for a plain value."""
    if key not in schema.model_fields:
        return None
    annotation = schema.model_fields[key].annotation
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    sections = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    return sections[0] if sections else None


def _shown(value: object) -> str:
    """Show a value as YAML would have it, cut where it is long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= _LONGEST_FOUND else text[: _LONGEST_FOUND - 3] + "..."
