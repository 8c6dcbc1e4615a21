"""A run's checkpoints on disk: complete or not there, and resumable or not.

    checkpoint-<step>/   the model files of `ser_probe.models.checkpoint`, and
        trainer_state.json         step, epoch, all that was measured so far
        optimizer.pt, scheduler.pt what is needed to resume; by default in the newest checkpoint only
        adapters.safetensors       low-rank adapters, which are merged in the backbone's weights
        layer_weights.json         of a head on a sum of layers: the weight of each, for the reader
        checkpoint.json            every file with its size and hash; other files are no part of the checkpoint

No random state is saved: order, dropout and masks are functions of the seed and the step.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from ser_probe.errors import CheckpointError, DamagedFileError
from ser_probe.files import fsync_path, read_json, write_json
from ser_probe.models.checkpoint_folders import checkpoint_folder, checkpoint_step, list_checkpoints
from ser_probe.models.contents import CONTENTS, describe_contents, read_contents, refuse_changed_files
from ser_probe.runtime import Progress

STATE = "trainer_state.json"
RESUME_FILES = ("optimizer.pt", "scheduler.pt")
ADAPTERS = "adapters.safetensors"
LAYER_WEIGHTS = "layer_weights.json"

_PARTIAL = ".partial"


def find_fault(checkpoint: Path, *, to_resume: bool = False) -> str | None:
    """Return what is wrong with a checkpoint, None if nothing is.

    Args:
        checkpoint: The folder.
        to_resume: Whether the optimiser's state must be there too.
    """
    try:
        sizes, _ = read_contents(checkpoint)
        read_json(checkpoint / STATE)
    except (OSError, DamagedFileError) as error:
        return f"{CONTENTS} or {STATE} cannot be read ({_in_short(error)})"
    for name, n_bytes in sizes.items():
        if name in RESUME_FILES and not to_resume:
            continue
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != n_bytes:
            return f"{name} has {path.stat().st_size} bytes, not {n_bytes}"
    return None


def _find_changed(checkpoint: Path) -> str | None:
    """Return which file of a checkpoint was changed, by its hash; None if none was."""
    try:
        refuse_changed_files(checkpoint, but=())
    except CheckpointError as error:
        return f"{Path(str(error.where)).name} is not as it was written ({error.found})"
    return None


def _in_short(error: Exception) -> str:
    return f"{error.what}: {error.found}" if isinstance(error, DamagedFileError) else str(error)


@contextlib.contextmanager
def new_checkpoint(folder: Path, step: int) -> Iterator[Path]:
    """Yield a temporary folder to write a checkpoint into; on success it is flushed to disk and renamed.

    Raises:
        CheckpointError: If it cannot be written, as on a full disk; nothing is left of it.
    """
    final = checkpoint_folder(folder, step)
    temporary = final.with_name(f".{final.name}{_PARTIAL}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        files = sorted(path for path in temporary.iterdir() if path.is_file())
        write_json(temporary / CONTENTS, {"step": step, **describe_contents(temporary)})
        for path in (*files, temporary):
            fsync_path(path)
        _clear_place(final)
        os.replace(temporary, final)
        fsync_path(folder)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors wrap the system's error
        raise CheckpointError(
            f"The checkpoint of step {step} could not be written",
            where=folder,
            found=str(error).partition("\n")[0] or type(error).__name__,
            fix="make room on the disk; the same command goes on from the checkpoint before",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _clear_place(checkpoint: Path) -> None:
    """Delete a damaged checkpoint, which resuming has passed over; rename it if it holds files of others."""
    if not checkpoint.exists():
        return
    if all(path.name in listed_files(checkpoint) and not path.is_dir() for path in checkpoint.iterdir()):
        shutil.rmtree(checkpoint)
        return
    free = (checkpoint.with_name(f"replaced-{checkpoint.name}-{number}") for number in itertools.count(1))
    checkpoint.rename(next(path for path in free if not path.exists()))


def listed_files(checkpoint: Path) -> frozenset[str]:
    """Return the names of the files that fine-tuning wrote into a checkpoint; none if they are not recorded."""
    try:
        return frozenset((*read_contents(checkpoint)[0], CONTENTS))
    except (OSError, DamagedFileError):
        return frozenset()


def drop_resume_files(folder: Path, *, before: int) -> None:
    """Delete the optimiser states of checkpoints before a step; their model files stay."""
    for step, path in list_checkpoints(folder):
        if step < before:
            for name in RESUME_FILES:
                (path / name).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete partial checkpoints of a killed run. Only the holder of the run's lock may call this."""
    if folder.is_dir():
        for path in folder.iterdir():
            name = path.name.removeprefix(".").removesuffix(_PARTIAL)
            if path.name == f".{name}{_PARTIAL}" and checkpoint_step(name) is not None:
                shutil.rmtree(path)


def newest_resumable(folder: Path, progress: Progress) -> Path | None:
    """Return the newest checkpoint that training can go on from, None where there is no checkpoint.

    Raises:
        CheckpointError: If there are checkpoints, and none can be resumed from.
    """
    faults = []
    for _, path in reversed(list_checkpoints(folder)):
        fault = find_fault(path, to_resume=True) or _find_changed(path)
        if fault is None:
            return path
        faults.append(f"{path.name}: {fault}")
        progress.say(f"passed over {path.name}: {fault}")
    if not faults:
        return None
    raise CheckpointError(
        "Training cannot go on: no checkpoint is whole and has its optimiser state",
        where=folder,
        found="; ".join(faults),
        fix="start over with --restart, or in another folder",
    )
