from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.errors import CheckpointError
from ser_probe.training.locks import exclusive


def test_a_second_writer_is_refused_and_let_in_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "run" / ".lock"
    with exclusive(path, "trains here"):  # noqa: SIM117 - the order is what is tested
        with pytest.raises(CheckpointError, match="Another process trains here"), exclusive(path, "trains here"):
            pass
    with exclusive(path, "trains here"):
        pass


def test_an_error_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive(tmp_path / ".lock", "trains here"):
        raise KeyError
    with exclusive(tmp_path / ".lock", "trains here"):
        pass
