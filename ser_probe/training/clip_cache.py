"""Values computed once from the clips of a run and kept on disk, so that no epoch computes them again.

    <key>/values.f32     float32 [sum of T, C], flat, clip after clip, read through a memory map
    <key>/lengths.i64    int64 [N]: T of each clip
    <key>/contents.json  ids of the clips in order, channels, what the key was made of, and SHA-256 of the files

Changed values would train other weights, so a file that was modified since the folder was finished is compared with its
hash. The folder is filled as `<key>.partial` and renamed when complete; a killed fill resumes after its last complete
clip.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ser_probe.errors import CacheError
from ser_probe.files import file_sha256, fingerprint, fsync_path, read_json, write_json
from ser_probe.runtime import SILENT, Progress
from ser_probe.training.locks import exclusive

_VALUES, _LENGTHS, _FILES = "values.f32", "lengths.i64", "files"
_COMMIT_CLIPS = 32  # lost at most, and computed again, when a fill is killed
_LARGE_GIB = 4.0  # from this size on the user is told
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Content:
    """What a cache holds.

    Args:
        what: Its name for the user, such as "front end".
        option: The setting that turns the cache off.
        channels: C.
        ingredients: Everything that the values depend on besides the clips, JSON-like.
        expected_bytes: Its approximate size.
    """

    what: str
    option: str
    channels: int
    ingredients: Mapping[str, Any]
    expected_bytes: float


class ClipCache:
    """Values of some clips, read through a memory map.

    Args:
        folder: A finished cache folder.

    Raises:
        CacheError: If the folder is not whole.
    """

    def __init__(self, folder: Path) -> None:
        try:
            contents = read_json(folder / "contents.json")
            _refuse_changed(folder, contents.get(_FILES, {}))  # folders of earlier versions have no hashes
            self._rows = {clip_id: row for row, clip_id in enumerate(contents["clips"])}
            offsets = np.concatenate([[0], np.cumsum(_read_lengths(folder))])
            shape = (int(offsets[-1]), int(contents["channels"]))
            values = np.memmap(folder / _VALUES, np.float32, mode="r")
            if values.size != shape[0] * shape[1] or len(offsets) != len(self._rows) + 1:
                raise ValueError(f"{values.size} values of {len(offsets) - 1} clips, not those of the contents")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CacheError(
                "What was kept of the clips is damaged", where=folder, found=error,
                fix="delete this folder; it is made anew",
            ) from error  # fmt: skip
        self._offsets, self._values = offsets, values.reshape(shape)

    def read(self, clip_id: str) -> np.ndarray:
        """Return a clip's values, float32 of shape [T, C], as a copy of its own."""
        row = self._rows[clip_id]
        return np.array(self._values[self._offsets[row] : self._offsets[row + 1]])


def open_clip_cache(
    sources: Mapping[str, Callable[[], np.ndarray]], content: Content, folder: Path, *, progress: Progress = SILENT
) -> ClipCache:
    """Return the values of all clips, from disk where they are there, computed and kept where not.

    Args:
        sources: Of each clip, by id, what computes its values, float32 [T, C].
        content: What the values are.
        folder: Folder of all such caches; studies share it.
        progress: Told of the work.

    Raises:
        CacheError: If the disk is full, or a finished cache is damaged.
    """
    ids = sorted(sources)
    final = folder / fingerprint([content.ingredients, ids])[:32]
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(final.with_suffix(".lock"), f"makes the same {content.what}", progress):
        if not final.is_dir():
            _announce_size(content, folder, progress)
            unfinished = final.with_suffix(".partial")
            try:
                _fill(unfinished, content, [sources[clip_id] for clip_id in ids], progress)
                about = {
                    "clips": ids,
                    "channels": content.channels,
                    **content.ingredients,
                    _FILES: _describe(unfinished),
                }
                write_json(unfinished / "contents.json", about)
                fsync_path(unfinished)
                os.replace(unfinished, final)
                fsync_path(folder)
            except OSError as error:
                raise _write_error(error, unfinished, content) from error
    return ClipCache(final)


def _describe(folder: Path) -> dict[str, dict[str, Any]]:
    files = ((name, folder / name) for name in (_VALUES, _LENGTHS))
    return {name: {"sha256": file_sha256(path), "mtime_ns": path.stat().st_mtime_ns} for name, path in files}


def _refuse_changed(folder: Path, files: Mapping[str, Any]) -> None:
    """Raise ValueError if a file was modified since it was described, and its content differs."""
    for name in {_VALUES, _LENGTHS} & files.keys():
        path, described = folder / name, files[name]
        if path.stat().st_mtime_ns != described["mtime_ns"] and file_sha256(path) != described["sha256"]:
            raise ValueError(f"{name} was changed since it was made")


def _n_done(folder: Path, frame_bytes: int) -> int:
    """Return how many complete clips an interrupted fill has on disk."""
    if not (folder / _LENGTHS).is_file():
        return 0
    ends = np.cumsum(_read_lengths(folder)) * frame_bytes
    return int(np.sum(ends <= (folder / _VALUES).stat().st_size))


def _fill(folder: Path, content: Content, loaders: Sequence[Callable[[], np.ndarray]], progress: Progress) -> None:
    """Append the missing clips, a few at a time: first the values, then the lengths, which mark them as complete."""
    folder.mkdir(exist_ok=True)
    frame_bytes = 4 * content.channels
    n_done = _n_done(folder, frame_bytes)
    progress.start(content.what, len(loaders), "clips")
    progress.advance(n_done)
    try:
        with open(folder / _VALUES, "ab") as values, open(folder / _LENGTHS, "ab") as lengths:
            lengths.truncate(8 * n_done)
            values.truncate(int(_read_lengths(folder).sum()) * frame_bytes)
            for start in range(n_done, len(loaders), _COMMIT_CLIPS):
                loaded = [load() for load in loaders[start : start + _COMMIT_CLIPS]]
                _append(values, loaded)
                _append(lengths, [np.array([len(clip) for clip in loaded], np.int64)])
                progress.advance(len(loaded))
    finally:
        progress.finish()


def _append(stream: BinaryIO, arrays: Iterable[np.ndarray]) -> None:
    for array in arrays:
        stream.write(array.tobytes())
    stream.flush()
    os.fsync(stream.fileno())


def _read_lengths(folder: Path) -> np.ndarray:
    return np.fromfile(folder / _LENGTHS, np.int64)


def _announce_size(content: Content, folder: Path, progress: Progress) -> None:
    """Report the size of a large cache, and refuse one that the disk cannot hold.

    Raises:
        CacheError: If there is not enough room.
    """
    needed, free = content.expected_bytes, shutil.disk_usage(folder).free
    if needed > free:
        raise CacheError(
            f"The disk has no room for the {content.what}",
            where=folder,
            expected=f"{needed / 2**30:.2f} GiB",
            found=f"{free / 2**30:.2f} GiB free",
            fix=f"make room, or set {content.option} to false",
        )
    if needed > _LARGE_GIB * 2**30:
        progress.say(f"the {content.what} takes {needed / 2**30:.1f} GiB ({content.option}: false does without)")


def _write_error(error: OSError, unfinished: Path, content: Content) -> Exception:
    """Return the error for a failed write; on a full disk the unfinished folder is deleted first."""
    if error.errno not in _FULL:
        return error
    shutil.rmtree(unfinished, ignore_errors=True)
    return CacheError(
        f"The disk is full: the {content.what} could not be kept", where=unfinished.parent, found=error,
        fix=f"make room, or set {content.option} to false",
    )  # fmt: skip
