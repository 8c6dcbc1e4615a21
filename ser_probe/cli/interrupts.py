"""Ctrl-C and a request to end (SIGTERM, as of `kill`, `timeout` and batch systems) both end a command in order.

Both raise in the main thread; what holds files lets go of them, and what is on disk is kept. Not while a module is
being imported: large packages catch everything there, and go on as if nothing had been asked (measured: Ctrl-C was
lost in 2 of 36 trials while the Trainer's modules were loaded). There the signal waits for the import's end.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

_IMPORTING = "<frozen importlib._bootstrap>"
_AGAIN_S = 0.05


class Terminated(KeyboardInterrupt):
    """The system asks the process to end."""


def raise_at_signals() -> None:
    """Let SIGINT and SIGTERM raise `KeyboardInterrupt` and `Terminated` where that is not swallowed.

    A signal that the process ignores (as after `nohup`, or in a shell's background) stays ignored. Processes that this
    one starts by fork end at SIGTERM as they would without it.
    """
    owner = os.getpid()
    waiting: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner and number == signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not waiting and _is_importing(frame):
            waiting.append(number)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)
        else:  # asked twice, it does not wait
            end(number)

    def look_again(number: int, frame: FrameType | None) -> None:
        if waiting and not _is_importing(frame):
            end(waiting[0])

    def end(number: int) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        waiting.clear()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    if not hasattr(signal, "setitimer"):  # not Unix
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, ask)
    signal.signal(signal.SIGALRM, look_again)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False
