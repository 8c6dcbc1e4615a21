"""The folders that fine-tuning writes, `checkpoint-<step>`: named, parsed and listed here alone. Loads no torch."""

from __future__ import annotations

import re
from pathlib import Path

CHECKPOINTS = "checkpoints"
"""The folder of a run in which its checkpoints lie."""

_NAME = re.compile(r"checkpoint-(\d+)")


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Return where the checkpoint of a step lies in a run's folder of checkpoints."""
    return folder / f"checkpoint-{step}"


def checkpoint_step(name: str) -> int | None:
    """Return the step that a checkpoint folder's name states; None for any other name."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Return step and path of every checkpoint in a folder, by step, complete or not."""
    if not folder.is_dir():
        return []
    steps = ((checkpoint_step(path.name), path) for path in folder.iterdir() if path.is_dir())
    return sorted((step, path) for step, path in steps if step is not None)


def run_folder(checkpoint: Path) -> Path:
    """Return the folder of the fine-tuning run that a checkpoint belongs to."""
    return checkpoint.parent.parent if checkpoint.parent.name == CHECKPOINTS else checkpoint.parent
