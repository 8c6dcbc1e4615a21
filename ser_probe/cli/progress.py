"""Progress on stderr: a bar where there is a terminal, a line now and then where there is a log file."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from ser_probe.cli.terminal import plain
from ser_probe.cli.words import in_flags
from ser_probe.runtime import Progress, logger

SECONDS_BETWEEN_LINES = 10.0


@dataclass
class Stretch:
    """A stretch of work under way: what, how much of it, since when."""

    what: str
    total: float
    unit: str
    started: float = field(default_factory=lambda: time.monotonic())
    done: float = 0.0
    fields: dict[str, object] = field(default_factory=dict)

    def advance(self, amount: float, fields: dict[str, object]) -> None:
        """Count some units as done."""
        self.done += amount
        self.fields.update(fields)

    def state(self) -> str:
        """Return amount, rate, time left and fields, as `64/588 clips, 12.1 clips/s, 43 s left, loss=0.31`."""
        parts = [f"{_amount(self.done)}/{_amount(self.total)} {self.unit}"]
        rate = self._rate()
        if rate > 0:
            parts.append(self._pace())
            parts.append(f"{_duration(max(self.total - self.done, 0) / rate)} left")
        return ", ".join([*parts, *self._shown_fields()])

    def result(self) -> str:
        """Return the line that stays when the work is over."""
        elapsed = _duration(time.monotonic() - self.started)
        parts = [f"{_amount(self.done)} {self.unit} in {elapsed}", self._pace()]
        return plain(f"{self.what}: " + ", ".join([*parts, *self._shown_fields()]))

    def lasted_s(self) -> float:
        """Return for how long the work has been under way, in s."""
        return time.monotonic() - self.started

    def _rate(self) -> float:
        return self.done / max(time.monotonic() - self.started, 1e-6)

    def _pace(self) -> str:
        """Return the rate, or the time that each unit takes where that says more."""
        rate = self._rate()
        return f"{_duration(1 / rate)} each" if 0 < rate < 0.1 else f"{_amount(rate)} {self.unit}/s"

    def _shown_fields(self) -> list[str]:
        return [
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self.fields.items()
        ]


class Lines:
    """Progress for a log: the state every ten seconds, the result at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stretches: list[Stretch] = []
        self._last_line = 0.0

    def start(self, what: str, total: float, unit: str) -> None:
        """Begin a stretch of work; one begun before it is finished goes on inside the first."""
        if not self._stretches:
            self._last_line = time.monotonic()
        self._stretches.append(Stretch(what, total, unit))

    def advance(self, amount: float = 1, **fields: object) -> None:
        """Count some units as done."""
        self._stretches[-1].advance(amount, fields)
        if time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.say("; ".join(f"{stretch.what}: {stretch.state()}" for stretch in self._stretches))

    def finish(self) -> None:
        """End the innermost stretch of work; one inside another leaves a line if it was long."""
        stretch = self._stretches.pop()
        if not self._stretches or stretch.lasted_s() >= SECONDS_BETWEEN_LINES:
            self.say(stretch.result())

    def say(self, message: str) -> None:
        """Print a line."""
        # Neither markup nor wrapping: the text may come from a file, and a log is searched by line.
        self._console.print(plain(in_flags(message)), markup=False, highlight=False, emoji=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the stream as it is; a log has no bar to take away."""


class Bars(Lines):
    """Progress for a terminal: a bar per stretch of work, its result when it is over."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), _State())
        self._bars = RichProgress(*columns, console=console, transient=True)
        self._tasks: list[TaskID] = []

    def start(self, what: str, total: float, unit: str) -> None:
        """Begin a stretch of work with a bar of its own."""
        stretch = Stretch(what, total, unit)
        self._stretches.append(stretch)
        self._tasks.append(self._bars.add_task(plain(what), total=total, stretch=stretch))
        self._bars.start()

    def advance(self, amount: float = 1, **fields: object) -> None:
        """Move the innermost bar."""
        self._stretches[-1].advance(amount, fields)
        self._bars.advance(self._tasks[-1], amount)

    def finish(self) -> None:
        """Take the innermost bar away and leave its result."""
        self._bars.remove_task(self._tasks.pop())
        if not self._tasks:
            self._bars.stop()
        super().finish()

    def close(self) -> None:
        """Leave the terminal as it was, also after an error."""
        self._bars.stop()


class _State(ProgressColumn):
    """The text beside the bar."""

    def render(self, task: Task) -> Text:
        return Text(plain(task.fields["stretch"].state()))


@contextlib.contextmanager
def open_progress() -> Iterator[Progress]:
    """Yield the progress that fits stderr. Warnings are shown in its way, between bars and not through them."""
    console = Console(stderr=True)
    progress = Lines(console) if not console.is_terminal or console.is_dumb_terminal else Bars(console)
    warnings = _Warnings(progress)
    logger.addHandler(warnings)
    try:
        yield progress
    finally:
        logger.removeHandler(warnings)
        progress.close()


class _Warnings(logging.Handler):
    """Shows ser-probe's warnings as lines."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.WARNING)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.say(f"warning: {record.getMessage()}")


def _amount(value: float) -> str:
    """Return a number in few digits: one decimal under 100, none above."""
    # Thirds that were added up are whole again.
    whole = abs(value - round(value)) < 1e-6
    return f"{value:,.0f}" if value >= 100 or whole else f"{value:.1f}"


def _duration(seconds: float) -> str:
    """Return a time span as `8 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
