"""What a study could not make, and why: said in the terminal, kept beside its tables, shown in its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ser_probe.errors import SerProbeError
from ser_probe.files import read_json, write_json
from ser_probe.runtime import Progress

T = TypeVar("T")

_FILE = "left_out.json"


@dataclass
class LeftOut:
    """Stages of a study without a result.

    Attributes:
        failed: Why, by the name of each stage that was tried and could not be made on these data.
        passed_over: Why, by the name of each analysis that the study has not what it needs for.
    """

    failed: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, work: Callable[[Progress], T], otherwise: T, progress: Progress) -> T:
        """Return what a stage makes that no other needs; where the data do not allow it, note why and go on.

        Faults of ser-probe itself and interruptions are not caught.
        """
        counted = Counted(progress)
        try:
            return work(counted)
        except SerProbeError as error:
            counted.close()
            self.failed[name] = error.line()
            progress.say(f"{name}: FAILED. {self.failed[name]}")
            return otherwise

    def pass_over(self, name: str, reason: str, progress: Progress) -> None:
        """Note an analysis that is not tried."""
        self.passed_over[name] = reason
        progress.say(f"{name}: left out, {reason}")

    def lines(self) -> list[str]:
        """Return a line each, as the report has them."""
        failed = [f"{name} could not be made: {reason}" for name, reason in self.failed.items()]
        return failed + [f"{name} is left out, {reason}" for name, reason in self.passed_over.items()]

    def write(self, folder: Path) -> None:
        """Keep it in a study's folder, for a report that is written later."""
        path = folder / _FILE
        if self.failed or self.passed_over:
            write_json(path, {"failed": self.failed, "passed_over": self.passed_over})
        else:
            path.unlink(missing_ok=True)


def read_left_out(folder: Path) -> LeftOut:
    """Return what the last run of a study left out; nothing where that is not known."""
    try:
        kept = read_json(folder / _FILE)
        return LeftOut(*({str(k): str(v) for k, v in kept[name].items()} for name in ("failed", "passed_over")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return LeftOut()


class Counted:
    """A progress that can end what a failure left begun."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._begun = progress, 0

    def start(self, what: str, total: float, unit: str) -> None:
        self._progress.start(what, total, unit)
        self._begun += 1

    def advance(self, amount: float = 1, **fields: object) -> None:
        self._progress.advance(amount, **fields)

    def finish(self) -> None:
        self._progress.finish()
        self._begun -= 1

    def say(self, message: str) -> None:
        self._progress.say(message)

    def close(self) -> None:
        """End every stretch of work that is not ended."""
        while self._begun > 0:
            self.finish()
