"""What a key of a section takes, as an option of a command line: how its value is typed, read and shown."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ser_probe.config.sections import NULL, OneOf

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

OFF, NONE = "off", "none"
"""What is typed for null, and for an empty list."""

_MOST_LETTERS = 44
"""Of choices that stand in place of the value; longer lists stand in the help text."""
_MOST_NOTES = 8


@dataclass(frozen=True)
class KeyType:
    """The values of a key.

    Attributes:
        kinds: Types that it takes, `str` and `Literal` among them; of a list those of its entries.
        choices: Words that it takes, with a note on each; of a list those of its entries.
        words: Words that stand for a whole list, as `all`.
        is_list: Whether it takes several values.
        nullable: Whether it takes null.
        may_be_empty: Whether it is a list that may have no entry.
    """

    kinds: frozenset[Any]
    choices: Mapping[str, str]
    words: tuple[str, ...]
    is_list: bool
    nullable: bool
    may_be_empty: bool

    @classmethod
    def of(cls, described: FieldInfo) -> KeyType:
        """Return the type of a key."""
        known = _merged(_alternatives(described.annotation, described.metadata))
        entries = _merged(_alternatives(known[tuple][0])) if tuple in known else known
        words = tuple(str(word) for word, _ in known.get(Literal, ())) if tuple in known else ()
        choices = {str(word): note for word, note in entries.get(Literal, ())}
        nullable, is_list = type(None) in known, tuple in known
        may_be_empty = is_list and not words and not nullable and not described.metadata
        return cls(frozenset(entries) - {type(None)}, choices, words, is_list, nullable, may_be_empty)

    @property
    def is_flag(self) -> bool:
        """Whether it is on or off: truth values, and sections that may be null."""
        return self.kinds == {bool} or self._is_section

    @property
    def is_mapping(self) -> bool:
        """Whether it takes values by name alone."""
        return self.kinds == {dict}

    @property
    def takes_off(self) -> bool:
        """Whether `off` is typed for null: not where any text, or a list, is a value."""
        return self.nullable and not self.is_list and not self.is_flag and self.kinds not in ({str}, {Path})

    @property
    def checked_type(self) -> Any:
        """The type that the command line itself checks; all else is checked by the section."""
        if self.is_flag:
            return bool | None
        if self.is_mapping:
            return list[str] | None
        plain = not self.is_list and not self.takes_off
        return next((kind | None for kind in (int, float, Path) if plain and self.kinds == {kind}), str | None)

    @property
    def metavar(self) -> str | None:
        """What stands for the value in a help page; None: the type."""
        if self.is_list:
            return "|".join([*self.words, *([NONE] if self.may_be_empty else []), "A,B,..."])
        if self.is_mapping:
            return "NAME=VALUE,..."
        if self.is_flag or (not self.choices and not self.takes_off):
            return None
        names = {bool: "on|off", int: "INT", float: "NUMBER", str: "NAME"}
        others = [names[kind] for kind in names if kind in self.kinds] + [OFF] * self.takes_off
        choices = [] if self.names_choices_in_help else self.choices
        return "|".join([*choices, *others]) or "NAME"

    @property
    def names_choices_in_help(self) -> bool:
        """Whether the choices are named in the help text, since they are too many, or entries of a list."""
        return bool(self.choices) and (self.is_list or len("|".join(self.choices)) > _MOST_LETTERS)

    def named_choices(self) -> str:
        """Return the choices with their notes, as `linear (one layer), knn`; without notes where they are many."""
        if len(self.choices) > _MOST_NOTES:
            return ", ".join(self.choices)
        return ", ".join(f"{word} ({note})" if note else word for word, note in self.choices.items())

    def read(self, value: Any) -> Any:
        """Return what was typed as a value of a study: None where nothing was, `NULL` for null.

        What is no value of the key stays text, which the section refuses.
        """
        if value is None:
            return None
        if self._is_section:
            return {} if value else NULL
        if self.is_mapping:
            return _mapping(value)
        if value == OFF and self.takes_off:
            return NULL
        if not self.is_list or value in self.words:
            return str(value) if isinstance(value, Path) else self._entry(value)
        if value == NONE:
            return []
        return [self._entry(entry.strip()) for entry in value.split(",") if entry.strip()]

    def shown(self, value: Any) -> str | None:
        """Return a default as it would be typed; None where there is none."""
        if value is None or value is NULL:
            return OFF if self.takes_off or self._is_section else None
        if isinstance(value, BaseModel):
            return ", ".join(["on", *(f"{name} {getattr(value, name)}" for name in type(value).model_fields)])
        if self.is_flag:
            return "on" if value else OFF
        if value is PydanticUndefined or isinstance(value, dict):
            return None
        if isinstance(value, tuple | list):
            return ",".join(map(str, value)) or NONE
        return str(value)

    @property
    def _is_section(self) -> bool:
        return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in self.kinds)

    def _entry(self, text: Any) -> Any:
        if not isinstance(text, str) or (text in self.choices and not text.isdecimal()):
            return text
        if bool in self.kinds and text in ("on", "true", OFF, "false"):
            return text in ("on", "true")
        if int in self.kinds or text in self.choices:
            return int(text) if re.fullmatch(r"-?\d+", text) else text
        return _number(text) if float in self.kinds else text


def _mapping(texts: Sequence[str]) -> dict[str, Any] | str:
    """Return `a=1,b=2` as values by name, all of them where a name comes again; as it was typed where it is no such."""
    values_of: dict[str, list[str]] = {}
    for entry in (entry.strip() for text in texts for entry in text.split(",")):
        name, _, value = (part.strip() for part in entry.partition("="))
        if not (name and value):
            return entry
        values_of.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in values_of.items()}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _merged(alternatives: Iterator[tuple[Any, tuple[Any, ...]]]) -> dict[Any, tuple[Any, ...]]:
    """Return what each type is made of, the words of several `Literal` together."""
    merged: dict[Any, tuple[Any, ...]] = {}
    for kind, inside in alternatives:
        merged[kind] = (*merged.get(kind, ()), *inside)
    return merged


def _alternatives(annotation: Any, metadata: Sequence[Any] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield the types of a union and what is in them: words and notes of `Literal`, the entries' type of a tuple."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if tables := [note.table for note in metadata if isinstance(note, OneOf)]:
        yield Literal, tuple((name, named.note) for table in tables for name, named in table.items())
    elif origin is Annotated:
        yield from _alternatives(inside[0], inside[1:])
    elif origin in (Union, types.UnionType):
        for alternative in inside:
            yield from _alternatives(alternative)
    elif origin is Literal:
        yield Literal, tuple((word, "") for word in inside)
    elif origin is tuple:
        yield tuple, inside
    else:
        yield origin or annotation, ()
