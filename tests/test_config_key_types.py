"""What is typed for a key: read as a value of a study, and shown as a default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from ser_probe.config import NULL, StudyConfig
from ser_probe.config.finetune import EarlyStopping
from ser_probe.config.key_types import KeyType
from ser_probe.config.sections import FilePath, Flag, Layer, Name, OneOf, Section, Seed
from ser_probe.names.named import Named

from .keys import walk_keys

COLOURS = {"red": Named("red", "of blood"), "blue": Named("blue")}


class Sample(Section):
    """A key of each kind."""

    flag: Flag = False
    count: Annotated[int, Field(strict=True, ge=1)] = 3
    share: Annotated[float, Field(strict=True)] = 0.5
    text: Name = "auto"
    path: FilePath | None = None
    maybe_text: Name | None = None
    seed: Seed | None = None
    level: Literal["checkpoint"] | Annotated[float, Field(strict=True)] | None = -23.0
    choice: Literal["a", "b"] = "a"
    kind: Literal[2, 3] = 3
    colour: Annotated[str, OneOf(COLOURS)] | None = None
    colours: tuple[Annotated[str, OneOf(COLOURS)], ...] = ("red",)
    layers: Annotated[tuple[Layer, ...], Field(min_length=1)] = (0, "final")
    splits: Literal["all"] | tuple[Literal["train", "test"], ...] = "all"
    numbers: tuple[float, ...] = ()
    cached: Literal["auto"] | Flag = "auto"
    stopping: EarlyStopping | None = EarlyStopping()
    columns: tuple[Name, ...] | dict[Name, Name] = ()
    where: dict[Name, str | tuple[str, ...]] = Field(default_factory=dict)


def kind_of(key: str) -> KeyType:
    return KeyType.of(Sample.model_fields[key])


@pytest.mark.parametrize(
    ("key", "typed", "value"),
    [
        ("flag", True, True),
        ("count", 7, 7),
        ("share", 0.25, 0.25),
        ("text", "off", "off"),
        ("path", Path("a/b"), "a/b"),
        ("maybe_text", "off", "off"),
        ("seed", "7", 7),
        ("seed", "-7", -7),
        ("seed", "off", NULL),
        ("level", "-30", -30.0),
        ("level", "checkpoint", "checkpoint"),
        ("level", "off", NULL),
        ("level", "loud", "loud"),
        ("choice", "b", "b"),
        ("choice", "c", "c"),
        ("kind", "2", 2),
        ("colour", "off", NULL),
        ("colours", "red, blue,", ["red", "blue"]),
        ("layers", "0,6,final", [0, 6, "final"]),
        ("layers", "", []),
        ("splits", "all", "all"),
        ("splits", "train,all", ["train", "all"]),
        ("numbers", "0.5,1,x", [0.5, 1.0, "x"]),
        ("numbers", "none", []),
        ("cached", "off", False),
        ("cached", "auto", "auto"),
        ("stopping", True, {}),
        ("stopping", False, NULL),
        ("columns", "1,joy", ["1", "joy"]),
        ("where", ["a=1, b=x=y", "a=2"], {"a": ["1", "2"], "b": "x=y"}),
        ("where", ["a=1", "b"], "b"),
    ],
)
def test_what_is_typed_is_read(key: str, typed: Any, value: Any) -> None:
    found = kind_of(key).read(typed)
    assert found == value
    assert type(found) is type(value)
    assert kind_of(key).read(None) is None


@pytest.mark.parametrize(
    ("key", "metavar", "default"),
    [
        ("flag", None, "off"),
        ("count", None, "3"),
        ("text", None, "auto"),
        ("path", None, None),
        ("seed", "INT|off", "off"),
        ("level", "checkpoint|NUMBER|off", "-23.0"),
        ("choice", "a|b", "a"),
        ("kind", "2|3", "3"),
        ("colour", "red|blue|off", "off"),
        ("colours", "none|A,B,...", "red"),
        ("layers", "A,B,...", "0,final"),
        ("splits", "all|A,B,...", "all"),
        ("numbers", "none|A,B,...", "none"),
        ("cached", "auto|on|off", "auto"),
        ("where", "NAME=VALUE,...", None),
        ("stopping", None, "on, metric loss, threshold 0.025, patience 5"),
    ],
)
def test_how_a_key_is_shown(key: str, metavar: str | None, default: str | None) -> None:
    assert kind_of(key).metavar == metavar
    assert kind_of(key).shown(Sample.model_fields[key].get_default(call_default_factory=True)) == default


def test_choices_have_notes_where_they_are_few() -> None:
    assert kind_of("colours").named_choices() == "red (of blood), blue"
    many = KeyType.of(StudyConfig.model_fields["analyze"].default.similarity.__class__.model_fields["measures"])
    assert "(" not in many.named_choices()


def test_a_default_that_is_typed_is_the_default() -> None:
    """Of every key of a study: what its help shows is read back as its value."""
    compared = 0
    for key in walk_keys():
        schema: Any = StudyConfig
        *above, last = key.split(".")
        for part in above:
            schema = next(
                each
                for each in getattr(
                    schema.model_fields[part].annotation, "__args__", [schema.model_fields[part].annotation]
                )
                if each is not type(None)
            )
        described = schema.model_fields[last]
        kind, default = KeyType.of(described), described.get_default(call_default_factory=True)
        shown = kind.shown(default)
        if kind.is_flag or shown is None:
            continue
        found = kind.read(shown)
        found = {NULL: None}.get(found, found) if not isinstance(found, list) else tuple(found)
        assert found == (str(default) if isinstance(default, Path) else default) or float(found) == default, key
        compared += 1
    assert compared > 60
