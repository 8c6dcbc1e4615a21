"""The output of a frozen convolutional front end, computed once per clip and kept on disk.

While the front end is frozen and the waveforms are not augmented, its output is the same in every epoch, for
every head, seed and encoder above it. On small models computing it is most of the time of a training step.

    <key>/features.f32   float32 [sum of T, C], flat, clip after clip, read through a memory map
    <key>/lengths.i64    int64 [N]: frames of each clip
    <key>/contents.json  ids of the clips in order, channels, and what the key was made of

The folder is filled as `<key>.partial` and renamed when whole; a killed fill goes on after its last whole clip.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from ser_probe.errors import CacheError
from ser_probe.files import fingerprint, fsync_path, read_json, write_json
from ser_probe.models.backbone import Backbone
from ser_probe.models.forward import run_front_end
from ser_probe.runtime import SILENT, Progress
from ser_probe.training.locks import exclusive
from ser_probe.training.settings import Clips

_FORMAT = 1
_VALUES, _LENGTHS = "features.f32", "lengths.i64"
_COMMIT_CLIPS = 32  # lost at most, and computed again, when a fill is killed
_LARGE_GIB = 4.0  # from here on the user is told of the size
_FULL = (errno.ENOSPC, errno.EDQUOT)


class FrontEndCache:
    """The front end's output of some clips, read through a memory map.

    Args:
        folder: A finished cache folder.

    Raises:
        CacheError: If the folder is not whole.
    """

    def __init__(self, folder: Path) -> None:
        try:
            contents = read_json(folder / "contents.json")
            self._rows = {clip_id: row for row, clip_id in enumerate(contents["clips"])}
            offsets = np.concatenate([[0], np.cumsum(_read_lengths(folder))])
            shape = (int(offsets[-1]), int(contents["channels"]))
            features = np.memmap(folder / _VALUES, np.float32, mode="r")
            if features.size != shape[0] * shape[1] or len(offsets) != len(self._rows) + 1:
                raise ValueError(f"{features.size} values of {len(offsets) - 1} clips, not those of the contents")
        except (OSError, ValueError, KeyError) as error:
            raise CacheError(
                "The cached front end is damaged", where=folder, found=error,
                fix="delete this folder; it is computed anew",
            ) from error  # fmt: skip
        self._offsets, self._features = offsets, features.reshape(shape)

    def read(self, clip_id: str) -> np.ndarray:
        """Return a clip's frames, float32 of shape [T, C], as a copy of its own."""
        row = self._rows[clip_id]
        return np.array(self._features[self._offsets[row] : self._offsets[row + 1]])


def open_front_end(
    backbone: Backbone,
    splits: Sequence[Clips],
    folder: Path,
    *,
    recipe: Mapping[str, Any],
    progress: Progress = SILENT,
) -> FrontEndCache:
    """Return the front end's output of all clips, from disk where it is there, computed and kept where not.

    Args:
        backbone: The backbone; where its weights are, there the front end runs.
        splits: The clips.
        folder: Folder of all such caches; studies share it.
        recipe: How files became samples (rate, loudness, ...); part of the key.
        progress: Told of the work.

    Raises:
        CacheError: If the disk is full, or a finished cache is damaged.
    """
    sources = {clip_id: partial(clips.load, row) for clips in splits for row, clip_id in enumerate(clips.ids)}
    ids = sorted(sources)
    ingredients = _ingredients(backbone, recipe)
    final = folder / fingerprint([ingredients, ids])[:32]
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(final.with_suffix(".lock"), "computes the same front end", progress):
        if not final.is_dir():
            _announce_size(backbone, splits, folder, progress)
            unfinished = final.with_suffix(".partial")
            try:
                _fill(unfinished, backbone, [sources[clip_id] for clip_id in ids], progress)
                write_json(unfinished / "contents.json", {"clips": ids, "channels": _channels(backbone), **ingredients})
                fsync_path(unfinished)
                os.replace(unfinished, final)
                fsync_path(folder)
            except OSError as error:
                raise _write_error(error, unfinished) from error
    return FrontEndCache(final)


def _ingredients(backbone: Backbone, recipe: Mapping[str, Any]) -> dict[str, Any]:
    config = backbone.architecture()
    return {
        "format": _FORMAT,
        "front_end": backbone.front_end_hash(),
        "architecture": {name: config[name] for name in config if name.startswith(("conv_", "feat_extract_"))},
        "normalise": backbone.input.normalise,
        "sample_rate_hz": backbone.input.sample_rate_hz,
        "audio": dict(recipe),
        # A GPU's convolutions differ from a CPU's in the last bits.
        "device": backbone.device.type,
    }


def _channels(backbone: Backbone) -> int:
    return int(backbone.config.conv_dim[-1])


def _n_done(folder: Path, frame_bytes: int) -> int:
    """Return how many clips an interrupted fill has on disk for good."""
    if not (folder / _LENGTHS).is_file():
        return 0
    ends = np.cumsum(_read_lengths(folder)) * frame_bytes
    return int(np.sum(ends <= (folder / _VALUES).stat().st_size))


def _fill(folder: Path, backbone: Backbone, loaders: Sequence[Callable[[], np.ndarray]], progress: Progress) -> None:
    """Append the clips that are missing, a few at a time: first their values, then the lengths that vouch for them."""
    folder.mkdir(exist_ok=True)
    frame_bytes = 4 * _channels(backbone)
    n_done = _n_done(folder, frame_bytes)
    progress.start("front end", len(loaders), "clips")
    progress.advance(n_done)
    try:
        with open(folder / _VALUES, "ab") as values, open(folder / _LENGTHS, "ab") as lengths:
            lengths.truncate(8 * n_done)
            values.truncate(int(_read_lengths(folder).sum()) * frame_bytes)
            for start in range(n_done, len(loaders), _COMMIT_CLIPS):
                frames = [_run(backbone, load()) for load in loaders[start : start + _COMMIT_CLIPS]]
                _append(values, frames)
                _append(lengths, [np.array([len(frame) for frame in frames], np.int64)])
                progress.advance(len(frames))
    finally:
        progress.finish()


def _append(stream: BinaryIO, arrays: Iterable[np.ndarray]) -> None:
    for array in arrays:
        stream.write(array.tobytes())
    stream.flush()
    os.fsync(stream.fileno())


def _read_lengths(folder: Path) -> np.ndarray:
    return np.fromfile(folder / _LENGTHS, np.int64)


def _run(backbone: Backbone, samples: np.ndarray) -> np.ndarray:
    """Return one clip's frames [T, C]; alone, so that its values depend on nothing else."""
    with torch.no_grad():
        return run_front_end(backbone, [samples]).features[0].float().cpu().numpy()


def _announce_size(backbone: Backbone, splits: Sequence[Clips], folder: Path, progress: Progress) -> None:
    """Say how large the cache gets where that is much, and refuse where the disk cannot hold it.

    Raises:
        CacheError: If there is not enough room.
    """
    stride = int(np.prod(backbone.config.conv_stride))
    seconds = float(sum(np.sum(clips.durations_s) for clips in splits))
    needed = seconds * backbone.input.sample_rate_hz / stride * _channels(backbone) * 4
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CacheError(
            "The disk has no room for the cached front end",
            where=folder,
            expected=f"{needed / 2**30:.2f} GiB",
            found=f"{free / 2**30:.2f} GiB free",
            fix="make room, or set cache_front_end to false",
        )
    if needed > _LARGE_GIB * 2**30:
        progress.say(f"the cached front end takes {needed / 2**30:.1f} GiB (cache_front_end: false does without)")


def _write_error(error: OSError, unfinished: Path) -> Exception:
    """Return what to raise after a failed write; on a full disk the unfinished folder gives its room back."""
    if error.errno not in _FULL:
        return error
    shutil.rmtree(unfinished, ignore_errors=True)
    return CacheError(
        "The disk is full: the front end's output could not be kept", where=unfinished.parent, found=error,
        fix="make room, or set cache_front_end to false",
    )  # fmt: skip
