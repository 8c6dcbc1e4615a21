from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from ser_probe.errors import CheckpointError
from ser_probe.training.locks import exclusive
from tests.training.conftest import Interrupting


def test_a_second_writer_is_refused_and_let_in_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "run" / ".lock"
    with exclusive(path, "trains here"):  # noqa: SIM117 - the order is what is tested
        with pytest.raises(CheckpointError, match="Another process trains here"), exclusive(path, "trains here"):
            pass
    with exclusive(path, "trains here"):
        pass


def test_with_a_progress_the_second_waits_and_says_so(tmp_path: Path) -> None:
    path, released, order = tmp_path / ".lock", threading.Event(), []

    def second() -> None:
        with exclusive(path, "fills it", progress):
            order.append("second")

    class Telling(Interrupting):
        def say(self, message: str) -> None:
            super().say(message)
            released.set()

    progress = Telling(0)
    thread = threading.Thread(target=second)
    with exclusive(path, "fills it"):
        thread.start()
        assert released.wait(timeout=10)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]
    assert progress.said == ["waiting: another process fills it"]


def test_an_error_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive(tmp_path / ".lock", "trains here"):
        raise KeyError
    with exclusive(tmp_path / ".lock", "trains here"):
        pass


def test_on_a_file_system_without_locks_the_work_goes_on_and_the_user_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with exclusive(tmp_path / "run" / ".lock", "trains here") as held:
        assert not held
    assert f"let one command at a time write to {tmp_path / 'run'}" in caplog.text
    monkeypatch.undo()
    with exclusive(tmp_path / "run" / ".lock", "trains here") as held:
        assert held
