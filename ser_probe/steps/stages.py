"""What is fresh and what is stale: each stage of a study leaves a stamp of what it was made from and what it wrote.

A stage is skipped when its inputs are those of the stamp and its outputs lie there as they were left. The
stamp keeps the inputs themselves, so that a re-run can say which of them changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ser_probe.files import fingerprint, read_json, write_json
from ser_probe.runtime import Progress

_STAMP_FOLDER = ".stages"


def file_state(path: Path) -> list[int] | None:
    """Return size in bytes and time of last change in ns, None where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def file_states(paths: Iterable[Path]) -> str:
    """Return one fingerprint over the sizes and times of many files: what a re-run compares before it reads them."""
    return fingerprint([[str(path), file_state(path)] for path in paths])


class Stages:
    """The stages of one study's folder.

    Args:
        folder: The study's folder.
        progress: Where to say what is skipped and why.
        force: Names of stages to run even if they are fresh; `all` for every one.
    """

    def __init__(self, folder: Path, progress: Progress, *, force: Iterable[str] = ()) -> None:
        self.folder, self.progress, self.force = folder, progress, frozenset(force)
        self.skipped: list[str] = []
        self.done: list[str] = []

    def run(self, name: str, inputs: dict[str, Any], work: Callable[[], Iterable[Path]]) -> list[Path]:
        """Run a stage unless it is fresh.

        Args:
            name: Name of the stage, a file name.
            inputs: What its outputs depend on, JSON-like; keys are shown to the user when they changed.
            work: Does the stage and returns the files it wrote.

        Returns:
            The stage's output files.
        """
        stamp_path = self.folder / _STAMP_FOLDER / f"{name}.json"
        inputs = json.loads(json.dumps(inputs, default=str))
        reason = self._stale_because(name, stamp_path, inputs)
        if reason is None:
            self.skipped.append(name)
            self.progress.say(f"{name}: fresh, nothing to do")
            return [Path(path) for path in read_json(stamp_path)["outputs"]]
        self.progress.say(f"{name}: {reason}")
        stamp_path.unlink(missing_ok=True)
        outputs = [Path(path) for path in work()]
        write_json(stamp_path, {"inputs": inputs, "outputs": {str(path): file_state(path) for path in outputs}})
        self.done.append(name)
        return outputs

    def _stale_because(self, name: str, stamp_path: Path, inputs: dict[str, Any]) -> str | None:
        """Return why the stage must run, None if it is fresh."""
        if name in self.force or "all" in self.force:
            return "runs again, as asked"
        if not stamp_path.is_file():
            return "not done yet"
        try:
            stamp = read_json(stamp_path)
            before, outputs = stamp["inputs"], stamp["outputs"]
        except (ValueError, KeyError):
            return "its stamp is damaged; runs again"
        changed = [key for key in sorted({*before, *inputs}) if before.get(key) != inputs.get(key)]
        if changed:
            return "stale, because changed: " + ", ".join(changed)
        gone = [path for path, state in outputs.items() if file_state(Path(path)) != state]
        if gone:
            return f"stale, because {Path(gone[0]).name} is gone or was changed"
        return None
