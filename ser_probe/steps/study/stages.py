"""What is fresh and what is stale: each stage of a study leaves a stamp of what it was made from and what it wrote.

A stage is skipped when its inputs are those of the stamp and its outputs lie there as they were left. The
stamp keeps the inputs themselves, so that a re-run can say which of them changed.

Of what lies in the study's folder a stamp knows the place in that folder, and of small files the content. So a study
that was moved or copied is the study that its new folder holds, and never looks into the folder it came from: what is
there as it was written is fresh, also where copying has given it another time, and the rest is made anew. The embedding
files outside are those of the study's cache.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ser_probe import __version__
from ser_probe.config.renamed import with_new_names
from ser_probe.errors import DamagedFileError
from ser_probe.files import content_id, fingerprint, flatten, read_json, write_json
from ser_probe.runtime import Progress

_STAMP_FOLDER = ".stages"
_STAMP = {"inputs": dict, "outputs": dict, "contents": dict, "checksum": str, "paths": str}
_INSIDE = "./"
"""What stands before the path of an output that lies in the study's folder; other paths begin with no such thing."""
_PATHS = "in the study's folder"
"""What stamps say of their paths. Those of versions before named files by the folder that they were in then."""
_LARGEST_HASHED_BYTES = 64 << 20
"""Tables and lists are far smaller; what is larger, such as weights, is known by size and time alone."""
_SHOWN_KEYS = 5
_SHOWN_LETTERS = 40  # longer values, such as fingerprints, tell a reader nothing


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
        cache: The folder of embedding files. What a stage wrote must lie there or in the study's folder; None: it may
            lie anywhere.
    """

    def __init__(
        self, folder: Path, progress: Progress, *, force: Iterable[str] = (), cache: Path | None = None
    ) -> None:
        self.folder, self.progress, self.force, self.cache = folder, progress, frozenset(force), cache
        self.skipped: list[str] = []
        self.done: list[str] = []

    def run(self, name: str, inputs: dict[str, Any], work: Callable[[], Iterable[Path]]) -> list[Path]:
        """Run a stage unless it is fresh.

        Args:
            name: Name of the stage, a file name.
            inputs: What its outputs depend on, JSON-like; keys are shown to the user when they changed, those of
                nested mappings with dots as in a config.
            work: Does the stage and returns the files it wrote.

        Returns:
            The stage's output files.
        """
        stamp_path = self._stamp_path(name)
        # Another version may compute something else; what is expensive is then found finished, and only checked.
        inputs = json.loads(json.dumps({"version of ser-probe": __version__, **inputs}, default=str))
        reason = self._stale_because(name, stamp_path, inputs)
        if reason is None:
            self.skipped.append(name)
            self.progress.say(f"{name}: fresh, nothing to do")
            return [self._place(name) for name in read_json(stamp_path)["outputs"]]
        self.progress.say(f"{name}: {reason}")
        stamp_path.unlink(missing_ok=True)
        outputs = [Path(path) for path in work()]
        self._write_stamp(stamp_path, inputs, outputs)
        self.done.append(name)
        return outputs

    def has_run(self, name: str) -> bool:
        """Tell whether a stage has been done before, be it fresh or not."""
        return self._stamp_path(name).is_file()

    def _write_stamp(self, path: Path, inputs: dict[str, Any], outputs: list[Path]) -> None:
        """Write down what the stage was made from and what it wrote, of files in the study's folder their content."""
        inside = [output for output in outputs if output.is_relative_to(self.folder) and output.is_file()]
        small = [output for output in inside if output.stat().st_size <= _LARGEST_HASHED_BYTES]
        stamp = {
            "inputs": inputs,
            "outputs": {self._name(output): file_state(output) for output in outputs},
            "contents": {output.relative_to(self.folder).as_posix(): content_id(output) for output in small},
            "paths": _PATHS,
        }
        write_json(path, {**stamp, "checksum": fingerprint(stamp)})

    def _name(self, path: Path) -> str:
        """Return what a stamp calls an output."""
        return _INSIDE + path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)

    def _place(self, name: str) -> Path:
        """Return where an output of a stamp lies."""
        return self.folder / name.removeprefix(_INSIDE) if name.startswith(_INSIDE) else Path(name)

    def _is_as_written(self, name: str, stamp: dict[str, Any]) -> bool:
        """Tell whether an output is what the stage wrote: by size and time, or else by its content."""
        path, state = self._place(name), stamp["outputs"][name]
        now = file_state(path)
        if now == state or now is None or state is None or now[0] != state[0]:
            return now == state
        content = stamp["contents"].get(name.removeprefix(_INSIDE)) if name.startswith(_INSIDE) else None
        return content is not None and content == content_id(path)

    def _is_elsewhere(self, name: str) -> bool:
        """Tell whether an output lies neither in the study's folder nor in its cache."""
        if self.cache is None or name.startswith(_INSIDE):
            return False
        return not Path(os.path.abspath(name)).is_relative_to(os.path.abspath(self.cache))

    def _stamp_path(self, name: str) -> Path:
        return self.folder / _STAMP_FOLDER / f"{name}.json"

    def _stale_because(self, name: str, stamp_path: Path, inputs: dict[str, Any]) -> str | None:
        """Return why the stage must run, None if it is fresh."""
        if name in self.force or "all" in self.force:
            return "runs again, as asked"
        if not stamp_path.is_file():
            return "not done yet"
        try:
            stamp = _read_stamp(stamp_path)
        except (ValueError, OSError):
            return f"its stamp {stamp_path} is damaged or of an earlier version; runs again"
        before, outputs = stamp["inputs"], stamp["outputs"]
        # A key that is called otherwise now has not changed by that.
        changed = _changes(with_new_names(before), inputs)
        if changed:
            more = f" and {len(changed) - _SHOWN_KEYS} more" if len(changed) > _SHOWN_KEYS else ""
            return "stale, because changed: " + ", ".join(changed[:_SHOWN_KEYS]) + more
        elsewhere = [name for name in outputs if self._is_elsewhere(name)]
        if elsewhere:
            return f"stale, because {elsewhere[0]} lies in another folder than the study's {self.cache}"
        gone = [name for name in outputs if not self._is_as_written(name, stamp)]
        if gone:
            return f"stale, because {Path(gone[0]).name} is gone or was changed"
        return None


def written_contents(folder: Path) -> dict[str, str]:
    """Return what the stages of a study wrote into its folder: by path in it, the id of the content.

    Files that a stage does not know, because its stamp is missing or damaged, are not among them.
    """
    contents: dict[str, str] = {}
    for path in sorted((folder / _STAMP_FOLDER).glob("*.json")):
        with contextlib.suppress(ValueError, OSError):
            contents |= _read_stamp(path)["contents"]
    return contents


def _read_stamp(path: Path) -> dict[str, Any]:
    """Return a stamp that is as it was written.

    Raises:
        DamagedFileError: If it is not.
    """
    stamp = read_json(path, entries=_STAMP)
    checksum = stamp.pop("checksum")
    if checksum != fingerprint(stamp):
        raise DamagedFileError(f"{path.name} was changed", where=path, expected=checksum, found=fingerprint(stamp))
    return stamp


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the keys whose values differ, with both values where they are short and say something."""
    old, new = ({".".join(names): value for names, value in flatten(inputs)} for inputs in (before, now))
    changed = []
    for key in sorted({*old, *new}):
        then, is_now = old.get(key), new.get(key)
        if then != is_now:
            values = [json.dumps(value, ensure_ascii=False) for value in (then, is_now)]
            short = all(len(value) <= _SHOWN_LETTERS for value in values)
            changed.append(f"{key} ({values[0]} -> {values[1]})" if short else key)
    return changed
