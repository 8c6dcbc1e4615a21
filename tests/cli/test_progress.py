"""Progress: what a log holds, what a terminal shows, and that text is only text."""

from __future__ import annotations

import contextlib
import io
import itertools
import time

import pytest
from rich.console import Console

from ser_probe.cli import progress as module
from ser_probe.cli.progress import Bars, Lines, Stretch, open_progress
from ser_probe.cli.terminal import plain


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that moves when the test says so; its only element is the time in s."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def log_of(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_state_holds_amount_rate_and_time_left(clock: list[float]) -> None:
    stretch = Stretch("extract", 588, "clips")
    assert stretch.state() == "0/588 clips"
    clock[0] += 10
    stretch.advance(98, {"loss": 0.314159, "step": 7})
    assert stretch.state() == "98/588 clips, 9.8 clips/s, 50 s left, loss=0.3142, step=7"
    clock[0] += 3600
    stretch.advance(490, {})
    assert stretch.result() == "extract: 588 clips in 1 h 0 min, 0.2 clips/s, loss=0.3142, step=7"


def test_slow_work_says_what_each_takes(clock: list[float]) -> None:
    stretch = Stretch("umap", 4, "maps")
    clock[0] += 28
    stretch.advance(1, {})
    assert stretch.state() == "1/4 maps, 28 s each, 1 min 24 s left"


def test_shares_of_a_fit_add_up(clock: list[float]) -> None:
    stretch = Stretch("probes", 1, "fits")
    clock[0] += 2
    for _ in range(10):
        stretch.advance(0.1, {})
    assert stretch.done != 1
    assert stretch.result() == "probes: 1 fits in 2 s, 0.5 fits/s"


def test_a_log_gets_a_line_now_and_then(clock: list[float]) -> None:
    console = Console(file=io.StringIO(), width=40)
    lines = Lines(console)
    lines.start("extract", 100, "clips")
    for _ in itertools.repeat(None, 100):
        clock[0] += 0.25
        lines.advance()
    lines.finish()
    assert log_of(console) == [
        "extract: 40/100 clips, 4 clips/s, 15 s left",
        "extract: 80/100 clips, 4 clips/s, 5 s left",
        "extract: 100 clips in 25 s, 4 clips/s",
    ]


def test_stretches_nest(clock: list[float]) -> None:
    console = Console(file=io.StringIO())
    lines = Lines(console)
    lines.start("study", 2, "stages")
    lines.start("extract", 4, "clips")
    lines.advance(4)
    lines.finish()
    lines.advance()
    clock[0] += 90
    lines.finish()
    assert [line.split(",")[0] for line in log_of(console)] == ["study: 1 stages in 1 min 30 s"], (
        "what was over at once"
    )


def test_long_work_inside_other_work_is_told_with_it(clock: list[float]) -> None:
    console = Console(file=io.StringIO(), width=40)
    lines = Lines(console)
    lines.start("similarity", 2, "parts")
    for kernel in ("linear", "rbf"):
        lines.start(kernel, 4, "permutations")
        for _ in range(4):
            clock[0] += 2.5 if kernel == "linear" else 2
            lines.advance()
        lines.finish()
        lines.advance()
    lines.finish()
    assert log_of(console) == [
        "similarity: 0/2 parts; linear: 4/4 permutations, 0.4 permutations/s, 0 s left",
        "linear: 4 permutations in 10 s, 0.4 permutations/s",
        "similarity: 2 parts in 18 s, 0.1 parts/s",
    ], "short stretches do not put the next line off"


def test_text_is_only_text() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    Lines(console).say("[bold]label[/bold] :smile: \x1b[31mred\x07 " + "long " * 20)
    (line,) = log_of(console)
    assert line.rstrip() == ("[bold]label[/bold] :smile: \\x1b[31mred\\x07 " + "long " * 20).rstrip()
    assert plain("one\ntwo\r\x00é\u202e") == "one\ntwo\\r\\x00é\\u202e"


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, _environ={"TERM": "xterm"})
    bars = Bars(console)
    bars.start("[red]extract", 2, "clips")
    bars.advance(uar=0.5)
    bars.advance()
    bars.say("a note")
    bars.finish()
    bars.close()
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "[red]extract" in shown
    assert "a note\n" in shown
    assert shown.endswith("uar=0.5\n"), "nothing is left below the result"


def test_the_terminal_is_given_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    monkeypatch.setattr(module, "Console", lambda **_: console)
    with contextlib.suppress(ZeroDivisionError), open_progress() as progress:
        progress.start("work", 1, "steps")
        raise ZeroDivisionError
    assert isinstance(console.file, io.StringIO)
    written = console.file.getvalue()
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l"), "the cursor is shown again"
    assert written.endswith("\x1b[2K"), "the bar is gone"


def test_a_log_file_gets_lines() -> None:
    with open_progress() as progress:
        assert type(progress) is Lines
