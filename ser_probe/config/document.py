"""Reading YAML so that every fault can be pointed at: duplicate keys, lines, numbers as people write them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ser_probe.errors import ConfigError, did_you_mean

Location = tuple[str | int, ...]

_TEXT_TAG = "tag:yaml.org,2002:str"
_MOST_BYTES = 1 << 18
_MOST_VALUES = 20_000  # what a text of some lines can hold by anchors that hold anchors has no bound of its own
_MERGE_TAG = "tag:yaml.org,2002:merge"


class UnreadableYamlError(ValueError):
    """Text that is not YAML; the message says where and why in one line."""


class _Loader(yaml.SafeLoader):
    """The safe loader, with `1e-5` read as a number, where YAML 1.1 wants `1.0e-5`, and every key as text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE_TAG:
                key.tag = _TEXT_TAG
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


@dataclass
class Document:
    """A study as it was written.

    Attributes:
        values: Nested keys and values.
        origins: Where each key was set: `line 12` or `--set`.
        faults: What is wrong so far.
    """

    values: dict[str, Any]
    origins: dict[Location, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def name_of(self, key: str) -> str:
        """Return a dotted key with where it was set, as `finetune.epochs (line 12)`."""
        return name_key(tuple(key.split(".")), self.origins)


def name_key(location: Location, origins: dict[Location, str]) -> str:
    """Return `a.b[0] (line 3)`, with the line of the nearest key above where it has none of its own."""
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    above = [location[:depth] for depth in range(len(location), 0, -1)]
    origin = next((origins[key] for key in above if key in origins), None)
    return dotted if origin is None else f"{dotted} ({origin})"


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        UnreadableYamlError: If it is not YAML, or asks for objects other than plain values.
    """
    return _parse(text)[0]


def read_document(path: Path) -> Document:
    """Read a YAML file whose top level is keys and values.

    Raises:
        ConfigError: If the file is missing, is not text, is not YAML or is not a mapping.
    """
    if not path.exists() or path.is_dir():  # a pipe is welcome: ser-probe run <(...)
        near = [str(file) for file in sorted(path.parent.glob("*.y*ml"))] if path.parent.is_dir() else []
        fix = did_you_mean(str(path), near) if near else "give the path of a study's YAML file"
        raise ConfigError("There is no such study file", where=path, fix=fix)
    try:
        values, keys = _parse(_read_text(path))
    except UnicodeDecodeError as error:
        raise ConfigError("The study file is not text in UTF-8", where=path, found=error) from error
    except UnreadableYamlError as error:
        raise ConfigError("The study file is not valid YAML", where=path, found=error) from error
    if not isinstance(values, dict):
        raise ConfigError(
            "The study file holds no keys",
            where=path,
            expected="keys and values, as in `name: my-study`",
            found="nothing" if values is None else type(values).__name__,
        )
    document = Document(values)
    first_lines: dict[Location, int] = {}
    for location, line in keys:
        if location in first_lines:
            dotted = ".".join(str(part) for part in location)
            document.faults.append(f"{dotted}: given twice, in line {first_lines[location]} and line {line}")
        first_lines.setdefault(location, line)
        document.origins[location] = f"line {line}"
    return document


def _read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        UnreadableYamlError: If it is too large for a study.
        UnicodeDecodeError: If it is not UTF-8.
    """
    with path.open("rb") as stream:  # a pipe tells its size by its end
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise UnreadableYamlError(f"more than {_MOST_BYTES:,} bytes")
    return content.decode("utf-8")


def _parse(text: str) -> tuple[Any, list[tuple[Location, int]]]:
    """Return the value of a text, and the location and line of every key in it."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        keys = list(_keys(node, (), frozenset(), itertools.count(1)))
        return (None if node is None else loader.construct_document(node)), keys
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise UnreadableYamlError(f"{where}{error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnreadableYamlError(" ".join(str(error).split())) from error


def _keys(
    node: yaml.Node | None, above: Location, open_nodes: frozenset[int], counted: Iterator[int]
) -> Iterator[tuple[Location, int]]:
    """Yield the location and line of every key; `counted` counts values, those of an anchor each time it is used.

    Raises:
        ValueError: If an anchor contains itself, or there are too many values.
    """
    if next(counted) > _MOST_VALUES:
        raise ValueError(f"more than {_MOST_VALUES:,} values, those of an anchor counted each time it is used")
    if not isinstance(node, yaml.CollectionNode):
        return
    if id(node) in open_nodes:
        raise ValueError(f"line {node.start_mark.line + 1}: the anchor contains itself")
    open_nodes |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                location = (*above, key.value)
                yield location, key.start_mark.line + 1
                yield from _keys(value, location, open_nodes, counted)
    else:
        for index, value in enumerate(node.value):
            yield from _keys(value, (*above, index), open_nodes, counted)
