"""What an importer is: one corpus, how its clips are named, and how their rows are made.

Each corpus is one module with one `IMPORTER`. These modules load no pandas before an import, so that `prepare --list`
and the recognition of a wrong folder can read them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ser_probe.errors import CorpusError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

Value = str | int | float | bool


@dataclass(frozen=True)
class Option:
    """An option of an importer.

    Attributes:
        text: What it does, for `prepare --list`.
        default: Its value where the user gives none.
        choices: The values it may have; none: any of the default's type.
    """

    text: str
    default: Value
    choices: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Published:
    """What the published corpus holds, so that an import can say what is missing or extra.

    Attributes:
        clips: Number of clips.
        speakers: Number of speakers; None where the corpus does not tell them.
        labels: Clips by original label, the column `label_code`; empty where no source states them.
        every: Columns of a design in which each combination of values was recorded once; missing clips are then named.
    """

    clips: int
    speakers: int | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    every: tuple[str, ...] = ()


@dataclass(frozen=True)
class CorpusRows:
    """The rows of a corpus.

    Attributes:
        table: One row per clip: `path` relative to the user's folder, `label`, `label_code` (the original label),
            `speaker`, `gender`, `language`, `corpus`, and what else the corpus tells. A cell that the corpus does not
            fill is empty; a column that it never fills is not there.
        rule: Which labels these are, as "intended emotion, from the file name".
        notes: What the user should know, such as clips that were left out, a line each.
        published: What the published corpus holds under the options used, if not the importer's own `published`.
        whole: The rows before an option left some out, to be compared with what was published; None: the table.
    """

    table: pd.DataFrame
    rule: str
    notes: tuple[str, ...] = ()
    published: Published | None = None
    whole: pd.DataFrame | None = None


@dataclass(frozen=True)
class Importer:
    """How a corpus is turned into rows of a manifest.

    Attributes:
        name: What the user calls it: small letters, digits and underscores.
        title: The corpus's own name.
        holds: Language, speakers, states and clips in a few words.
        paper: The publication to cite.
        licence: The terms it is under, as far as the corpus states them.
        home: Where it is to be had, as a short address, or "".
        layout: What its folders and files look like, with one example.
        clip: Regular expression of a clip's path from the corpus's own folder, with / between folders; letter case
            does not count. Its named groups are the parts of the name. A folder that copies may lack is optional.
        rows: Takes the clips that were found and the options by name; returns the rows.
        read: In place of `clip` and `rows`, for what is no corpus of named clips: takes the folder and the options.
        options: Options by name.
        suffixes: Endings of the files that may be clips.
        published: What the published corpus holds.
    """

    name: str
    title: str
    holds: str
    paper: str
    licence: str
    home: str
    layout: str
    clip: str = ""
    rows: Callable[..., CorpusRows] | None = None
    read: Callable[..., CorpusRows] | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    suffixes: tuple[str, ...] = (".wav",)
    published: Published | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path of a clip below any folder: group `home` is the folder of the corpus, the others the clip's."""
        return re.compile(rf"(?P<home>(?:.*?/)??)(?:{self.clip})", re.IGNORECASE)

    def settle_options(self, given: Mapping[str, object]) -> dict[str, Value]:
        """Return the value of every option.

        Raises:
            CorpusError: If one is not known, or has a value that it cannot have.
        """
        for name in given:
            if name not in self.options:
                raise CorpusError(
                    f"The importer {self.name!r} has no option {name!r}",
                    expected=", ".join(self.options) or "no options",
                    fix=did_you_mean(name, self.options) if self.options else "leave it out",
                )
        return {name: _settle(self, name, option, given) for name, option in self.options.items()}


def _settle(importer: Importer, name: str, option: Option, given: Mapping[str, object]) -> Value:
    value = given.get(name, option.default)
    if option.choices:
        # 1 equals True, but is not a spelling of it.
        known = [choice for choice in option.choices if choice == value and type(choice) is type(value)]
        expected = " or ".join(map(_shown, option.choices))
        fix = did_you_mean(str(value), map(str, option.choices))
    else:
        known = [value] if type(value) is type(option.default) else []
        expected = type(option.default).__name__
        fix = f"{name}={_shown(option.default)} is the default"
    if not known:
        raise CorpusError(
            f"{importer.title}: the option {name!r} cannot be {value!r}", expected=expected, found=value, fix=fix
        )
    return known[0]


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
