"""What an analysis is to a study, to the command line, to the report and to the docs: one entry says it all.

An entry names code by text, `module:name`, which is loaded when it is used: the table of all entries loads nothing
heavy, and the configuration imports no room above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ser_probe.config.clashes import Clash
from ser_probe.config.sections import Section
from ser_probe.packages import Need

if TYPE_CHECKING:
    from ser_probe.config.study import StudyConfig

Given = Literal[
    "caches", "features", "control", "repeats", "checkpoints", "audio_root", "tables",
    "split", "splits", "by_corpus", "seed",
    "reference", "seed_caches", "predictions", "table", "from_moments",
]  # fmt: skip
"""What an analysis can be given: the names of `steps.analyses.inputs.Inputs`, which says what each is."""


@dataclass(frozen=True)
class OwnCommand:
    """How `ser-probe analyze NAME` offers keys of a section, where it does otherwise than the keys say themselves.

    Args:
        instead: Keys that it does not offer, and the flag or argument that stands for each.
        spelled: Flags by key, where they are not the key's name.
        former: Flags that are called otherwise now, and their new name; those of renamed keys are known.
        defaults: What it has in place of the section's defaults, by key: the value, and how a help page shows it.
        required: Keys that it cannot do without.
    """

    instead: Mapping[str, str] = field(default_factory=dict)
    spelled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    former: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    required: tuple[str, ...] = ()


@dataclass(frozen=True)
class Analysis:
    """One analysis.

    Args:
        name: Its key in `analyze`, its command `ser-probe analyze NAME`, its stage, and its page of the docs.
        section: Its options; every one has a default.
        summary: What it is, as the JSON schema describes its key.
        run: The function that takes `Inputs` and a `section`, and returns an `Outcome`, as `module:function`.
        tables: Names of all tables that it may write, in the report's order. It writes no other.
        needs: What a study gives it, and what makes its stage stale. It is given nothing else.
        accepts: What its own command takes besides.
        command: How its own command offers the keys of the section.
        requires: What of both it cannot do without.
        figures: Its figures, in the report's order: tables of `FigureSpec`, as `module:NAME`.
        headlines: Its rows at the head of the report, in their order: `Headline`, as `module:NAME`.
        figure_options: Keys of the section that a figure's draw function takes: by figure, option to key.
        pages: Files beside its tables that are read by themselves, and what the report calls them.
        unlisted: Those of its tables that the report draws and does not list.
        columns: Keys of the section that name columns of the clips.
        table_key: Key of the section that names the table of the study it reads; empty where it reads none.
        clashes: Yields what its section and the rest of a study exclude; takes both.
        lack: Says why it cannot run in a study, in words after "left out,", or nothing: `module:function` of
            `Inputs` and section.
        look_ahead: Raises, before hours of training, what will end it: `module:function` of the study, its clips and a
            progress.
        loads: Modules that it loads, with compiled parts, tried before a study begins.
        finds: Packages that only have to be installed.
        extra: An optional package that it needs.
        key_follows: The analysis whose key in a study's YAML stands before its own; empty: the one before it in
            `ANALYSES`.
    """

    name: str
    section: type[Section]
    summary: str
    run: str
    tables: tuple[str, ...]
    needs: frozenset[Given]
    accepts: frozenset[Given] = frozenset()
    requires: frozenset[Given] = frozenset()
    command: OwnCommand = field(default_factory=OwnCommand)
    figures: tuple[str, ...] = ()
    headlines: tuple[str, ...] = ()
    figure_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    table_key: str = ""
    clashes: Callable[[Any, StudyConfig], Iterator[Clash]] | None = None
    lack: str = ""
    look_ahead: str = ""
    loads: tuple[str, ...] = ()
    finds: tuple[str, ...] = ()
    extra: Need | None = None
    key_follows: str = ""
