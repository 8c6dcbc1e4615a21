from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.models.checkpoint_folders import checkpoint_folder, checkpoint_step, list_checkpoints, run_folder


def test_checkpoints_are_listed_by_step(tmp_path: Path) -> None:
    for step in (100, 0, 50):
        checkpoint_folder(tmp_path, step).mkdir()
    (tmp_path / "checkpoint-x").mkdir()
    (tmp_path / "checkpoint-7").touch()
    assert list_checkpoints(tmp_path) == [(step, tmp_path / f"checkpoint-{step}") for step in (0, 50, 100)]
    assert list_checkpoints(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("name", "step"),
    [("checkpoint-50", 50), ("checkpoint-0", 0), ("b", None), ("50", None), (".checkpoint-5.partial", None)],
)
def test_a_checkpoint_folder_tells_its_step(name: str, step: int | None) -> None:
    assert checkpoint_step(name) == step


def test_a_checkpoint_belongs_to_a_run() -> None:
    assert run_folder(Path("runs/x/checkpoints/checkpoint-50")) == Path("runs/x")
    assert run_folder(Path("x/checkpoint-50")) == Path("x")
