"""What the functions of the library return: tables with their figures, and a fine-tuning run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ser_probe.runtime import SILENT, Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN_ROWS = 8


@dataclass(frozen=True, eq=False, repr=False)
class AnalysisResult:
    """The tables of an analysis or an evaluation; each is an attribute, as `result.best_layers`.

    Attributes:
        name: The function that made it.
        tables: The tables by name.
        facts: Short facts about what was computed.
        notes: What was said on the way: what was left out, what misleads.
        headline: The rows that answer what was asked; empty where the report's answers are shown.
    """

    name: str
    tables: Mapping[str, pd.DataFrame]
    facts: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    headline: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def table(self) -> pd.DataFrame:
        """The main table: the one called as the function, of an evaluation the scores, else the last."""
        main = next((name for name in (self.name, "scores") if name in self.tables), list(self.tables)[-1])
        return self.tables[main]

    def __getattr__(self, name: str) -> pd.DataFrame:
        tables = self.__dict__.get("tables", {})
        if name in tables:
            return tables[name]
        raise AttributeError(f"{self.name!r} has no table {name!r}; there are {', '.join(tables)}" if tables else name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.tables})

    def __repr__(self) -> str:
        from ser_probe.report.headlines import headlines
        from ser_probe.steps.analyses.figures import report_headlines

        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items() if "\n" not in str(value))
        sizes = ", ".join(f"{name} [{len(table)}]" for name, table in self.tables.items())
        lines = [f"<{self.name}: {facts}>" if facts else f"<{self.name}>"]
        if not self.headline.empty:
            lines += ["", *_shown(self.headline)]
        else:
            for title, sentences, _, rows in headlines(self.tables, report_headlines()):
                lines += ["", title, *sentences, *_shown(rows)]
        return "\n".join([*lines, "", f"tables: {sizes}"])

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the main table, as the function `plot_...` of its kind does; `options` are those of that function."""
        from ser_probe.library import plots

        return plots.PLOTS[self.name](self, ax, **options)

    def figures(self) -> dict[str, Figure]:
        """Return the figures that a report has of these tables, by name; those that cannot be drawn are left out."""
        from ser_probe.report.figures import compose_figures
        from ser_probe.steps.analyses.figures import report_figures

        composed = compose_figures(self.tables, specs=report_figures())
        return {drawn.name: drawn.figure for drawn in composed if drawn.figure is not None}


@dataclass(frozen=True, eq=False, repr=False)
class FinetuneResult:
    """A fine-tuning run on disk; it stands for its folder wherever a path is taken.

    Attributes:
        folder: The folder of the run, of several seeds the one that holds them all.
        training: Losses and scores by step.
        best: The best checkpoint of each seed.
        checkpoints: All checkpoints that were kept, by seed and step.
        facts: Short facts about the training.
        notes: What was said on the way.
    """

    folder: Path
    training: pd.DataFrame
    best: tuple[Path, ...]
    checkpoints: tuple[Path, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        lines = [f"<finetune: {self.folder}, {len(self.checkpoints)} checkpoints>"]
        return "\n".join([*lines, *(f"{name}: {value}" for name, value in self.facts.items())])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the losses by step, as `plot_training`."""
        from ser_probe.library import plots

        return plots.PLOTS["finetune"](self, ax)


def _shown(rows: pd.DataFrame) -> list[str]:
    """Return the first rows of a table as text."""
    text = rows.head(_SHOWN_ROWS).to_string(index=False, float_format=lambda value: f"{value:.3f}")
    return [text, f"... {len(rows)} rows"] if len(rows) > _SHOWN_ROWS else [text]


class Notes:
    """A progress that keeps what is said, in the words of the call, and hands everything on to another one."""

    def __init__(self, outer: Progress = SILENT, say: Callable[[str], str] = str) -> None:
        self._outer, self._say = outer, say
        self.lines: list[str] = []

    def start(self, what: str, total: float, unit: str) -> None:
        """Hand on."""
        self._outer.start(what, total, unit)

    def advance(self, amount: float = 1, **fields: object) -> None:
        """Hand on."""
        self._outer.advance(amount, **fields)

    def finish(self) -> None:
        """Hand on."""
        self._outer.finish()

    def say(self, message: str) -> None:
        """Keep a line, and hand it on."""
        self.lines.append(self._say(message))
        self._outer.say(self.lines[-1])
