"""Which files of a folder a training run has written, and their deletion: nothing else in the folder is touched.

A file is the run's if checkpoint.json lists it, if it has one of the names that belong to the run alone, or if it ends
as the run's own TensorBoard events do. A checkpoint whose checkpoint.json is damaged is told by the names that the
other checkpoints of the run list.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ser_probe.errors import CheckpointError, DamagedFileError
from ser_probe.files import Kinds, read_json
from ser_probe.models.checkpoint_folders import CHECKPOINTS, list_checkpoints
from ser_probe.models.contents import CONTENTS
from ser_probe.training.checkpoints import listed_files, remove_leftovers

RECORD, BEST, EVENTS = "training.json", "best.json", "tensorboard"
EVENTS_SUFFIX = ".ser-probe"
"""How the names of the run's own TensorBoard events end."""

_SHOWN = 3
_NOTES: dict[str, Kinds] = {BEST: {"step": int}, RECORD: {"ingredients": dict, "environment": dict}}


def delete_run(folder: Path) -> None:
    """Delete the run that lies in a folder. Only the holder of the run's lock may call this.

    Raises:
        CheckpointError: If there are files in its place that no run has written, or nothing says that they are a run's;
            then nothing is deleted.
    """
    remove_leftovers(folder / CHECKPOINTS)
    own, foreign = _sort_files(folder)
    if foreign:
        more = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
        raise CheckpointError(
            "The folder holds files that are not known to be of a training run, and is not cleared",
            where=folder, expected="what fine-tuning wrote, and no other files in its folders",
            found=", ".join(str(path.relative_to(folder)) for path in foreign[:_SHOWN]) + more,
            fix="move them away, or take another folder",
        )  # fmt: skip
    for path in own:
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
    """Return the run's files, in the order in which they may be deleted, and what lies in their place and is not known.

    What tells the files comes last: of a deletion that was stopped the rest is still known.
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
            # A damaged one is the run's where there are checkpoints of it.
            (last if names or _holds(path, entries) else foreign).append(path)
    return [*first, *last], foreign


def _everything_in(folder: Path) -> Iterator[Path]:
    """Yield files and empty or linked folders below a folder, but not checkpoints that are empty."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            inside = list(_everything_in(path))
            yield from inside
            if not inside and path not in [each for _, each in list_checkpoints(folder)]:
                yield path
        else:
            yield path


def _holds(path: Path, entries: Kinds) -> bool:
    try:
        read_json(path, entries=entries)
    except (OSError, DamagedFileError):
        return False
    return True
