from __future__ import annotations

import os
from pathlib import Path

import pytest

from ser_probe.errors import CheckpointError
from ser_probe.models.checkpoint_folders import list_checkpoints
from ser_probe.runtime import SILENT
from ser_probe.training.checkpoints import (
    drop_resume_files,
    find_fault,
    new_checkpoint,
    newest_resumable,
    remove_leftovers,
)
from tests.training.conftest import Interrupting


def write(folder: Path, step: int) -> Path:
    with new_checkpoint(folder, step) as temporary:
        for name in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
            (temporary / name).write_bytes(bytes(8))
        (temporary / "trainer_state.json").write_text("{}")
    return folder / f"checkpoint-{step}"


def test_a_checkpoint_appears_only_when_whole(tmp_path: Path) -> None:
    with new_checkpoint(tmp_path, 50) as temporary:
        (temporary / "trainer_state.json").write_text("{}")
        assert list_checkpoints(tmp_path) == []
    assert find_fault(tmp_path / "checkpoint-50") is None
    with pytest.raises(KeyboardInterrupt), new_checkpoint(tmp_path, 100):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-50"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0\nat")])
def test_a_failed_write_says_what_to_do_and_leaves_the_older_ones(tmp_path: Path, error: Exception) -> None:
    older = write(tmp_path, 0)
    with (
        pytest.raises(CheckpointError, match="checkpoint of step 50 could not be written"),
        new_checkpoint(tmp_path, 50),
    ):
        raise error
    assert list(tmp_path.iterdir()) == [older]
    assert find_fault(older, to_resume=True) is None


def test_a_damaged_checkpoint_is_replaced_by_a_new_one(tmp_path: Path) -> None:
    path = write(tmp_path, 50)
    (path / "model.safetensors").unlink()
    assert find_fault(write(tmp_path, 50)) is None


@pytest.mark.parametrize(
    ("name", "n_bytes", "fault"),
    [
        ("model.safetensors", None, "model.safetensors is missing"),
        ("model.safetensors", 3, "model.safetensors has 3 bytes, not 8"),
        ("trainer_state.json", 1, "trainer_state.json cannot be read"),
        ("checkpoint.json", None, "checkpoint.json or trainer_state.json cannot be read"),
        ("optimizer.pt", None, "optimizer.pt is missing"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, name: str, n_bytes: int | None, fault: str) -> None:
    whole, damaged = write(tmp_path, 50), write(tmp_path, 100)
    if n_bytes is None:
        (damaged / name).unlink()
    else:
        os.truncate(damaged / name, n_bytes)
    assert fault in str(find_fault(damaged, to_resume=True))
    progress = Interrupting(0)
    assert newest_resumable(tmp_path, progress) == whole
    assert fault in progress.said[0]


def test_older_optimiser_states_are_dropped_and_their_models_kept(tmp_path: Path) -> None:
    old, new = write(tmp_path, 0), write(tmp_path, 50)
    drop_resume_files(tmp_path, before=50)
    assert find_fault(old) is None
    assert "optimizer.pt is missing" in str(find_fault(old, to_resume=True))
    assert newest_resumable(tmp_path, SILENT) == new
    (new / "optimizer.pt").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint is whole and has its optimiser state"):
        newest_resumable(tmp_path, SILENT)


def test_without_checkpoints_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert newest_resumable(tmp_path / "absent", SILENT) is None


def test_what_a_killed_run_was_writing_is_removed(tmp_path: Path) -> None:
    whole = write(tmp_path, 0)
    (tmp_path / ".checkpoint-50.partial").mkdir()
    (tmp_path / ".checkpoint-50.partial" / "model.safetensors").write_bytes(bytes(3))
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == [whole]
