"""Processes to be killed, limited or asked to stop: forked from the tests' own, so that all is imported already.

A fresh interpreter takes seconds to import torch. What belongs to a process's start and end (its imports, the exit of
its interpreter, the whole command line) is tried by processes that are started as a user starts them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

POLL_S = 0.002


class Forked:
    """A child of this process that runs one function, with what it prints in files.

    Its exit status is 0, that of SystemExit, or 1 with a traceback, as a script's is.

    Args:
        work: What it runs.
        folder: Where the files of its output lie.
        environment: Environment variables to set.
        group: Whether it leads a process group of its own, as a command in a terminal does.
    """

    def __init__(
        self,
        work: Callable[[], object],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        group: bool = False,
    ) -> None:
        self.returncode: int | None = None
        start_ns = time.monotonic_ns()
        self._out, self._errors = (folder / f".{name}-{start_ns}.txt" for name in ("out", "errors"))
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            if group:
                os.setsid()
            self._run(work, environment or {})

    def _run(self, work: Callable[[], object], environment: Mapping[str, str]) -> None:
        """Run the function in the child, which ends here."""
        status = 1
        try:
            for number, path in ((1, self._out), (2, self._errors)):
                opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(opened, number)
                os.close(opened)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
            os.environ.update(environment)
            status = _status_of(work)
        finally:
            os._exit(status)

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._out.read_text() if self._out.exists() else ""

    @property
    def errors(self) -> str:
        """What it has written to the standard error so far."""
        return self._errors.read_text() if self._errors.exists() else ""

    def poll(self) -> int | None:
        """Return its exit status, negative where a signal ended it; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout_s: float = 60.0) -> int:
        """Return its exit status once it has ended.

        Raises:
            TimeoutError: If it runs on for longer.
        """
        deadline = time.monotonic() + timeout_s
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} runs on after {timeout_s} s")
            time.sleep(POLL_S)
        return status

    def wait_for_output(self, line: str, timeout_s: float = 60.0) -> None:
        """Return once it has printed a line."""
        deadline = time.monotonic() + timeout_s
        while line not in self.out.splitlines():
            assert self.poll() is None or line in self.out.splitlines(), self.errors
            assert time.monotonic() < deadline, f"no '{line}' after {timeout_s} s"
            time.sleep(POLL_S)

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self.send_signal(signal.SIGKILL)
        self.wait()


def _status_of(work: Callable[[], object]) -> int:
    """Run a function; return the exit status of a script that consisted of it."""
    try:
        work()
    except SystemExit as leaving:
        if not isinstance(leaving.code, int | None):
            print(leaving.code, file=sys.stderr)
            return 1
        return leaving.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
