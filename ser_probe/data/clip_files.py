"""The files of a manifest's clips: whether each is there, is audio, and is of an allowed length.

The room may not decode audio, so the caller passes the function that looks into a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from ser_probe.data.manifest import Manifest
from ser_probe.errors import AudioError, ManifestError
from ser_probe.files import LFS_FIX, is_lfs_pointer
from ser_probe.packages import import_fault
from ser_probe.runtime import Progress


class AudioFacts(Protocol):
    """What is known of a clip from its file."""

    @property
    def clip_id(self) -> str:
        """Hash of the file's bytes."""

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""

    @property
    def sample_rate_hz(self) -> int:
        """Sampling rate in Hz, as stored."""

    @property
    def channels(self) -> int:
        """Number of channels, as stored."""

    @property
    def audio_id(self) -> str:
        """Hash of the decoded samples; the clip id where the file was not decoded."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing about how the file is read."""


def look_into_files(
    manifest: Manifest,
    inspect: Callable[[Path], AudioFacts],
    min_duration_s: float,
    max_duration_s: float,
    n_threads: int | None,
    progress: Progress,
) -> tuple[dict[int, AudioFacts], list[tuple[int, str, str]]]:
    """Look into the files of a manifest, several at a time.

    Returns:
        The facts of the usable files by row, and row, kind and reason of the others.
    """

    def look(written: str) -> AudioFacts | tuple[str, str]:
        try:
            path = manifest.resolve(written)
            if trouble := _file_trouble(path, written):
                return trouble
            facts = inspect(path)
        except (AudioError, ManifestError, OSError, ValueError) as error:
            if fault := import_fault(error):
                raise fault from error
            if isinstance(error, OSError) and error.errno is None:
                raise  # not about a file: a library cannot be loaded
            return "unreadable", " ".join(str(error).split())
        return _length_trouble(facts.duration_s, min_duration_s, max_duration_s) or facts

    facts: dict[int, AudioFacts] = {}
    rejects: list[tuple[int, str, str]] = []
    paths = manifest.table["path"]
    progress.start("checking clips", len(paths), "clips")
    pool = ThreadPoolExecutor(n_threads or min(16, 2 * (os.cpu_count() or 1)))
    try:
        for row, result in zip(paths.index, pool.map(look, paths), strict=True):
            if isinstance(result, tuple):
                rejects.append((row, *result))
            else:
                facts[row] = result
            progress.advance()
    finally:
        # After Ctrl-C the files not yet begun are not waited for.
        pool.shutdown(cancel_futures=True)
        progress.finish()
    return facts, rejects


def _file_trouble(path: Path, written: str) -> tuple[str, str] | None:
    if not written:
        return "missing", "the row names no file"
    if not path.exists():
        hint = "; write paths with / instead of \\" if "\\" in written else ""
        return (
            "missing",
            f"no such file below {path.parent}{hint}" if path.parent.is_dir() else f"no folder {path.parent}{hint}",
        )
    if not path.is_file():
        return "unreadable", "it is not a file"
    if not path.stat().st_size:
        return "empty", "the file has no bytes"
    if is_lfs_pointer(path):
        return "lfs_pointer", f"a Git LFS pointer, not audio: {LFS_FIX}"
    return None


def _length_trouble(duration_s: float, min_duration_s: float, max_duration_s: float) -> tuple[str, str] | None:
    if duration_s <= 0:
        return "empty", "the file holds no samples"
    if duration_s < min_duration_s:
        return "too_short", f"{duration_s * 1000:.2f} ms, shorter than {min_duration_s * 1000:g} ms"
    if duration_s > max_duration_s:
        return "too_long", f"{duration_s:.1f} s, longer than {max_duration_s:g} s"
    return None
