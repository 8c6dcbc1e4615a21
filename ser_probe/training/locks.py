"""One writer at a time: a lock on a file, which the operating system releases whatever ends its holder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ser_probe.errors import CheckpointError
from ser_probe.files import lock
from ser_probe.runtime import Progress


@contextlib.contextmanager
def exclusive(path: Path, what: str, progress: Progress | None = None) -> Iterator[bool]:
    """Hold a lock while the block runs.

    Args:
        path: The lock file; it stays, empty.
        what: What another holder does, for the message.
        progress: Told when we wait; if None, an error is raised instead of waiting.

    Yields:
        Whether it is held: on a file system without locks the work goes on, and the user is told to see to it.

    Raises:
        CheckpointError: If another process holds it and `progress` is None.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            held = lock(descriptor, path, wait=False)
        except BlockingIOError as error:
            if progress is None:
                raise CheckpointError(
                    f"Another process {what}", where=path.parent, fix="wait for it, or use another folder"
                ) from error
            progress.say(f"waiting: another process {what}")
            held = lock(descriptor, path, wait=True)
        yield held
    finally:
        os.close(descriptor)


def training_lock(folder: Path) -> contextlib.AbstractContextManager[bool]:
    """Hold the lock of a run's folder, without waiting for it; see `exclusive`."""
    return exclusive(folder / ".training.lock", "trains in this folder")
