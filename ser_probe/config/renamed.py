"""Keys that are called otherwise now. Studies that have a former name go on loading for one release, with a warning.

A page of help reads the table, so that the module loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser_probe.config.document import Document, Location

    Tell = Callable[[Location, bool], None]  # of a key's former name, and whether it is given under both

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
    parts = [(former.rpartition("."), new) for former, new in RENAMED.items()]
    return {last: new for (above, _, last), new in parts if above == section}


def rename_keys(document: Document) -> None:
    """Give every key of a study the name it has now, and warn of each; one given under both names is a fault."""
    from ser_probe.config.document import name_key

    def tell(location: Location, given_twice: bool) -> None:
        named, new = name_key(location, document.origins), name_key(_new_location(location), {})
        if given_twice:
            document.faults.append(f"{named}: is called {new} now, which is given too; leave one out")
        else:
            _warn(named, new)

    document.values = _renamed(document.values, (), tell)
    document.origins = {_new_location(location): origin for location, origin in document.origins.items()}


def rename_override(key: str, value: Any) -> tuple[str, Any]:
    """Return what `--set` was given by the names that keys have now, and warn of others."""
    from ser_probe.config.document import name_key

    def tell(location: Location, _: bool) -> None:
        _warn(f"--set {name_key(location, {})}", name_key(_new_location(location), {}))

    location = tuple(key.split("."))
    if renamed_key(key) != key:
        tell(location, False)
    return renamed_key(key), _renamed(value, location, tell)


def with_new_names(values: Any) -> Any:
    """Return keys and values of a study by the names that keys have now; keys may be dotted."""
    return _renamed(values, (), lambda location, given_twice: None)


def _warn(named: str, new: str) -> None:
    from ser_probe.runtime import logger

    logger.warning("%s is called %s now; the former name goes with the next release", named, new)


def _renamed(values: Any, location: Location, tell: Tell) -> Any:
    if isinstance(values, list):
        return [_renamed(value, (*location, index), tell) for index, value in enumerate(values)]
    if not isinstance(values, dict):
        return values
    renamed: dict[Any, Any] = {}
    for key, value in values.items():
        here = (*location, str(key))
        new = _new_location(here)[-1]
        if new != key:
            tell(here, new in values)
        renamed[new if isinstance(key, str) else key] = _renamed(value, here, tell)
    return renamed


def _new_location(location: Location) -> Location:
    """Return a location with its names of now; no key lies below two that were renamed."""
    words: list[str] = []
    renamed: list[str | int] = []
    for part in location:
        words += [part] if isinstance(part, str) else []
        renamed.append(RENAMED.get(".".join(words), part) if isinstance(part, str) else part)
    return tuple(renamed)
