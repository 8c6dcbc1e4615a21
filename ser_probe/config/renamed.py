"""Keys that are called otherwise now. Studies that have a former name go on loading for one release, with a warning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ser_probe.config.document import Document, Location, name_key
from ser_probe.runtime import logger

RENAMED = {
    "analyze.probe.seeds": "initialisations",
    "analyze.probe.splits": "division",
    "analyze.umap.n_neighbors": "neighbours",
    "evaluate.test_sets.split": "splits",
}
"""New last part of a key, by its former name as it stands in a study; places in lists are left out."""


def renamed_key(key: str) -> str:
    """Return the name that a dotted key has now."""
    return f"{key.rpartition('.')[0]}.{RENAMED[key]}" if key in RENAMED else key


def former_names(section: str) -> dict[str, str]:
    """Return the keys of a section that are called otherwise now: new name by former name."""
    parts = {former: former.rpartition(".") for former in RENAMED}
    return {last: RENAMED[former] for former, (above, _, last) in parts.items() if above == section}


def rename_keys(document: Document) -> None:
    """Give every key of a study the name it has now, and warn of each; one given under both names is a fault."""
    origins = document.origins
    document.values = _renamed(document.values, (), document)
    document.origins = {_new_location(location): origin for location, origin in origins.items()}


def with_new_names(values: Any, section: str = "") -> Any:
    """Return values of a study, or of a section of one, by the names that keys have now.

    Args:
        values: Nested keys and values.
        section: Where they stand in a study.
    """
    return _renamed(values, tuple(section.split(".")) if section else (), None)


def _renamed(values: Any, location: Location, document: Document | None) -> Any:
    if isinstance(values, list):
        return [_renamed(value, (*location, index), document) for index, value in enumerate(values)]
    if not isinstance(values, Mapping):
        return values
    found: dict[Any, Any] = {}
    for key, value in values.items():
        here = (*location, key)
        new = _new_location(here)[-1]
        if new != key and document is not None:
            _tell(document, here, given_twice=new in values)
        found[new] = _renamed(value, here, document)
    return found


def _tell(document: Document, location: Location, *, given_twice: bool) -> None:
    named, new = name_key(location, document.origins), name_key(_new_location(location), {})
    if given_twice:
        document.faults.append(f"{named}: is called {new} now, which is given too; leave one out")
    else:
        logger.warning("%s is called %s now; the former name goes with the next release", named, new)


def _new_location(location: Location) -> Location:
    """Return a location with its names of now; those above a renamed key are the same."""
    words: list[str] = []
    found: list[str | int] = []
    for part in location:
        if isinstance(part, str):
            words.append(part)
            found.append(RENAMED.get(".".join(words), part))
        else:
            found.append(part)
    return tuple(found)
