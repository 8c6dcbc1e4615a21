"""Deleting a run takes what fine-tuning wrote, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ser_probe.errors import CheckpointError
from ser_probe.models.checkpoint_folders import checkpoint_folder
from ser_probe.training.checkpoints import new_checkpoint
from ser_probe.training.run_files import delete_run
from tests.training.conftest import make_settings


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tune: Callable[..., object]) -> dict[str, bytes]:
    """The files of a finished run, by their path in its folder."""
    folder = tmp_path_factory.mktemp("trained")
    tune(folder, make_settings(max_steps=2, checkpoint_every=1))
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(trained: dict[str, bytes], tmp_path: Path) -> Path:
    for name, content in trained.items():
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_bytes(content)
    return tmp_path / "run"


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_of_the_run_goes_and_what_lies_beside_stays(run: Path) -> None:
    (run / "notes.txt").write_text("mine")
    (run / "checkpoints" / ".checkpoint-3.partial").mkdir()
    delete_run(run)
    assert {path.name for path in run.iterdir()} <= {"notes.txt", ".training.lock"}


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/mine.pt",
        "checkpoints/checkpoint-1/notes.txt",
        "checkpoints/checkpoint-1/deep/model.safetensors",
        "checkpoints/checkpoint-mine/model.safetensors",
        "tensorboard/events.out.tfevents.1700000000.host.1.0",
        "tensorboard/seed-1/events.out.tfevents.1700000000.host.1.0",
    ],
)
def test_a_file_of_somebody_else_keeps_the_run(run: Path, name: str) -> None:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_text("mine")
    before = files_in(run)
    with pytest.raises(CheckpointError, match=f"(?s)not known to be of a training run.*found: {name}.*move them away"):
        delete_run(run)
    assert files_in(run) == before


def test_an_empty_folder_of_somebody_else_is_named(run: Path) -> None:
    (run / "checkpoints" / "kept").mkdir()
    with pytest.raises(CheckpointError, match="found: checkpoints/kept"):
        delete_run(run)


def test_notes_alone_are_the_run_s_where_they_say_so(tmp_path: Path, trained: dict[str, bytes]) -> None:
    (tmp_path / "training.json").write_text('{"mine": 1}')
    (tmp_path / "best.json").write_text('{"mine": 1}')
    with pytest.raises(CheckpointError, match=r"found: best\.json, training\.json"):
        delete_run(tmp_path)
    for name in ("best.json", "training.json"):
        (tmp_path / name).write_bytes(trained[name])
    delete_run(tmp_path)
    assert not files_in(tmp_path)


def test_damaged_records_of_a_run_do_not_keep_it(run: Path) -> None:
    (run / "training.json").write_text("{")
    (run / "checkpoints" / "checkpoint-1" / "checkpoint.json").write_text("{")
    (run / "checkpoints" / "checkpoint-2" / "model.safetensors").unlink()
    delete_run(run)
    assert set(files_in(run)) <= {".training.lock"}


def test_where_no_checkpoint_tells_its_files_they_are_not_guessed(run: Path) -> None:
    for path in run.glob("checkpoints/*/checkpoint.json"):
        path.unlink()
    before = files_in(run)
    with pytest.raises(CheckpointError, match="not known to be of a training run"):
        delete_run(run)
    assert files_in(run) == before


def test_a_deletion_that_was_stopped_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, unlink = [7], Path.unlink

    def stop_after_some(path: Path, missing_ok: bool = False) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stop_after_some)
        with pytest.raises(KeyboardInterrupt):
            delete_run(run)
    assert len(files_in(run)) > 6
    delete_run(run)
    assert set(files_in(run)) <= {".training.lock"}


def test_linked_folders_keep_their_link(run: Path, tmp_path: Path) -> None:
    (run / "checkpoints").rename(tmp_path / "large disk")
    (run / "checkpoints").symlink_to(tmp_path / "large disk")
    delete_run(run)
    assert (run / "checkpoints").is_symlink()
    assert not any((tmp_path / "large disk").iterdir())


def test_a_damaged_checkpoint_makes_way_but_not_what_lies_in_it(run: Path) -> None:
    checkpoints = run / "checkpoints"
    (checkpoint_folder(checkpoints, 1) / "notes.txt").write_text("mine")
    for step in (1, 2):
        (checkpoint_folder(checkpoints, step) / "model.safetensors").unlink()
        with new_checkpoint(checkpoints, step) as folder:
            (folder / "model.safetensors").write_text("anew")
    assert (checkpoints / "replaced-checkpoint-1-1" / "notes.txt").read_text() == "mine"
    assert not list(checkpoints.glob("replaced-checkpoint-2*"))
    for step in (1, 2):
        assert (checkpoint_folder(checkpoints, step) / "model.safetensors").read_text() == "anew"
