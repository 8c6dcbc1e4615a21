"""Which files of a folder a training run has written, and their deletion: nothing else in the folder is touched.

A file is the run's if checkpoint.json lists it, if it has a name that only runs use, or if it ends like the run's
TensorBoard events. In a checkpoint with a damaged checkpoint.json the names of the other checkpoints' files count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ser_probe.errors import CheckpointError, DamagedFileError, shorten
from ser_probe.files import Kinds, read_json
from ser_probe.models.checkpoint_folders import CHECKPOINTS, list_checkpoints
from ser_probe.models.contents import CONTENTS
from ser_probe.training.checkpoints import listed_files, remove_leftovers

RECORD, BEST, EVENTS = "training.json", "best.json", "tensorboard"
EVENTS_SUFFIX = ".ser-probe"
"""Suffix of the run's TensorBoard events."""

_SHOWN = 3
_NOTES: dict[str, Kinds] = {BEST: {"step": int}, RECORD: {"ingredients": dict, "environment": dict}}


def delete_run(folder: Path) -> None:
    """Delete the run that lies in a folder. Only the holder of the run's lock may call this.

    Raises:
        CheckpointError: If there are files in its place that no run has written, or nothing says that they are a run's;
            then nothing is deleted.
    """
    remove_leftovers(folder / CHECKPOINTS)
    of_run, foreign = _sort_files(folder)
    if foreign:
        raise CheckpointError(
            "The folder holds files that are not known to be of a training run, and is not cleared",
            where=folder, expected="what fine-tuning wrote, and no other files in its folders",
            found=shorten((path.relative_to(folder) for path in foreign), _SHOWN),
            fix="move them away, or take another folder",
        )  # fmt: skip
    for path in of_run:
        path.unlink()
    for inside in (
        *(path for _, path in list_checkpoints(folder / CHECKPOINTS)),
        folder / CHECKPOINTS,
        folder / EVENTS,
    ):
        if not inside.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                inside.rmdir()


def _sort_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the run's files, in the order in which they may be deleted, and unknown files among them.

    Files that list others come last, so that the rest is still known after an interrupted deletion.
    """
    checkpoints = [path for _, path in list_checkpoints(folder / CHECKPOINTS)]
    names = frozenset[str]().union(*map(listed_files, checkpoints))
    first: list[Path] = []
    last: list[Path] = []
    foreign: list[Path] = []
    for path in _everything_in(folder / CHECKPOINTS):
        if path.parent not in checkpoints or path.name not in names:
            foreign.append(path)
        else:
            (last if path.name == CONTENTS else first).append(path)
    for path in _everything_in(folder / EVENTS):
        (first if path.name.endswith(EVENTS_SUFFIX) else foreign).append(path)
    for name, entries in _NOTES.items():
        path = folder / name
        if path.exists() or path.is_symlink():
            # A damaged file is the run's if there are checkpoints of it.
            (last if names or _holds(path, entries) else foreign).append(path)
    return [*first, *last], foreign


def _everything_in(folder: Path) -> Iterator[Path]:
    """Yield files and empty or linked folders below a folder, but not checkpoints that are empty."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            inside = list(_everything_in(path))
            yield from inside
            if not inside and path not in [checkpoint for _, checkpoint in list_checkpoints(folder)]:
                yield path
        else:
            yield path


def _holds(path: Path, entries: Kinds) -> bool:
    try:
        read_json(path, entries=entries)
    except (OSError, DamagedFileError):
        return False
    return True
