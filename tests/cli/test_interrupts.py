"""Signals end a command, whatever catches exceptions on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SWALLOWS = """
    import time
    from pathlib import Path
    try:
        Path("importing").touch()
        while not Path("go on").exists():
            time.sleep(0.01)
    except:
        pass
"""
COMMAND = """
    import time
    from ser_probe.cli.interrupts import Terminated, raise_at_signals
    raise_at_signals()
    try:
        import swallows
        print("imported", flush=True)
        time.sleep(60)
    except Terminated:
        print("terminated")
    except KeyboardInterrupt:
        print("interrupted")
"""


def start(folder: Path, code: str) -> subprocess.Popen[str]:
    (folder / "command.py").write_text(textwrap.dedent(code))
    return subprocess.Popen([sys.executable, "command.py"], cwd=folder, stdout=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None


@pytest.mark.parametrize(("asked", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_module_that_catches_everything_does_not_swallow_it(
    tmp_path: Path, asked: signal.Signals, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path.cwd()}")
    (tmp_path / "swallows.py").write_text(textwrap.dedent(SWALLOWS))
    process = start(tmp_path, COMMAND)
    wait_for(tmp_path / "importing", process)
    process.send_signal(asked)
    (tmp_path / "go on").touch()
    output, _ = process.communicate(timeout=30)
    assert output.split()[-1] == said
    assert process.returncode == 0


def test_asked_twice_it_does_not_wait_for_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path.cwd()}")
    # The process asks itself: from outside, a second signal may arrive before the first was looked at, and be one.
    (tmp_path / "swallows.py").write_text(
        textwrap.dedent(
            """
            import signal
            signal.raise_signal(signal.SIGINT)
            print("waits", flush=True)
            signal.raise_signal(signal.SIGINT)
            print("waits on", flush=True)
            """
        )
    )
    process = start(tmp_path, COMMAND)
    assert process.communicate(timeout=30)[0].split() == ["waits", "interrupted"]


def test_what_is_ignored_stays_ignored_and_forked_processes_end_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    process = start(
        tmp_path,
        """
        import os, signal, time
        from ser_probe.cli.interrupts import raise_at_signals
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise_at_signals()
        os.kill(os.getpid(), signal.SIGINT)
        print("still there", flush=True)
        inside, outside = os.pipe()
        if (child := os.fork()) == 0:
            try:
                os.write(outside, b".")
                for _ in range(6000):  # one long sleep would not see a signal that came just before it
                    time.sleep(0.01)
            finally:
                print("a forked process runs on", flush=True)
        os.read(inside, 1)
        os.kill(child, signal.SIGTERM)
        print(-os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == signal.SIGTERM)
        """,
    )
    assert process.communicate(timeout=30)[0].split("\n")[:2] == ["still there", "True"]
