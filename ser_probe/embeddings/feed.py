"""Decoding ahead of the device: clips are read, resampled and levelled in worker processes, batch by batch.

A clip that cannot be decoded is returned as its error; the caller decides what to do about it.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_probe.embeddings.clock import PassClock
from ser_probe.errors import AudioError, PackageError
from ser_probe.files import content_id
from ser_probe.packages import import_fault
from ser_probe.runtime import end_with_parent, usable_cpus

if TYPE_CHECKING:
    import torch

ClipWork = Callable[[Path], tuple[Any, tuple[str, ...]]]
"""Computes a picklable result from a file, and notes on its preparation for the user."""


_MOST_WORKERS = 8
# With fewer processors a model on the CPU keeps all of them busy, and a worker would only compete with it.
_CPUS_TO_SPARE = 5


def choose_workers(device: torch.device | None) -> int:
    """Return how many processes should decode ahead of a model on a device; 0 to decode in the same process.

    Args:
        device: Where the model runs; None if there is no model and the workers do all of the work, one a processor.
    """
    n_cpus = usable_cpus()
    if device is None:
        return n_cpus
    if device.type == "cpu":
        return int(n_cpus >= _CPUS_TO_SPARE)
    return min(_MOST_WORKERS, n_cpus)


class NoRoomError(AudioError):
    """A clip for which this machine has too little memory now; the clip itself is fine."""


@dataclass(frozen=True)
class Reject:
    """A clip that cannot be used.

    Args:
        row: Its row in the clip list.
        error: Why.
        lasting: Whether the clip's content is the reason, which will not change; False if the file is missing,
            unreadable or was changed, which may be repaired under the same clip id.
    """

    row: int
    error: AudioError
    lasting: bool


@dataclass(frozen=True)
class DecodedBatch:
    """One batch of the plan, decoded.

    Args:
        number: Its place in the plan.
        rows: Rows of the clip list that were decoded, in the plan's order.
        results: The results for these rows, in the same order.
        rejects: Clips that failed.
        notes: Pairs of a row and a note on the preparation of its clip.
    """

    number: int
    rows: list[int]
    results: list[Any]
    rejects: list[Reject]
    notes: list[tuple[int, str]]


class _ClipDataset:
    """Map-style data set: row -> (row, result and notes), or the error."""

    def __init__(self, paths: Sequence[Path], clip_ids: Sequence[str], work: ClipWork) -> None:
        self.paths, self.clip_ids, self.work = paths, clip_ids, work

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[int, tuple[Any, tuple[str, ...]]] | Reject | PackageError:
        path, is_the_clip = self.paths[row], False
        try:
            is_the_clip = path.is_file() and content_id(path) == self.clip_ids[row]
            if path.is_file() and not is_the_clip:
                raise AudioError(
                    "The clip is not the one that the manifest was made from: its file was changed since",
                    where=path,
                    fix="prepare the manifest again",
                )
            return row, self.work(path)
        except AudioError as error:
            return Reject(row, _portable(error), lasting=is_the_clip and not isinstance(error, NoRoomError))
        except Exception as error:
            if fault := import_fault(error):
                return fault
            if not isinstance(error, OSError) or error.errno is None:
                raise  # not about the file
            reason = AudioError("The clip cannot be read", where=path, found=error.strerror or str(error))
            return Reject(row, reason, lasting=False)


def _portable(error: AudioError) -> AudioError:
    """Return an error whose `found` is text: a library's exception may not be picklable."""
    text = None if error.found is None else str(error.found)
    return AudioError(error.what, where=error.where, expected=error.expected, found=text, fix=error.fix)


def _start_worker(_worker: int, *, parent: int) -> None:
    # torch's workers notice that the parent is gone, but then wait forever for their results to be read.
    end_with_parent(parent)


def feed_batches(
    paths: Sequence[Path],
    clip_ids: Sequence[str],
    plan: Sequence[tuple[int, Sequence[int]]],
    work: ClipWork,
    *,
    workers: int,
    clock: PassClock,
) -> Iterator[DecodedBatch]:
    """Yield the batches of a plan in order, decoded `workers` processes ahead.

    Args:
        paths: Audio file of each row.
        clip_ids: Hash of each file's bytes; a file with another hash is rejected, so that no id is wrong.
        plan: Pairs of batch number and its rows.
        work: Computes the result of a file; it runs in a worker process and must be picklable. An `AudioError` it
            raises rejects the clip. A package that cannot be loaded is no fault of the clip, and ends the pass.
        workers: Number of processes; 0 decodes in this one.
        clock: Counts the time spent waiting.

    Raises:
        PackageError: If a package that the work needs cannot be loaded.
    """
    from torch.utils.data import DataLoader

    loader: DataLoader[Any] = DataLoader(
        _ClipDataset(paths, clip_ids, work),  # type: ignore[arg-type]
        batch_sampler=[[int(row) for row in rows] for _, rows in plan],
        num_workers=workers,
        collate_fn=list,
        prefetch_factor=4 if workers else None,
        worker_init_fn=functools.partial(_start_worker, parent=os.getpid()),
    )
    items = iter(loader)
    for number, _ in plan:
        asked = time.perf_counter()
        batch = next(items)
        clock.waited_s += time.perf_counter() - asked
        # Not raised in the worker: torch hands back the text of its traceback.
        for fault in [item for item in batch if isinstance(item, PackageError)]:
            raise fault
        good = [item for item in batch if not isinstance(item, Reject)]
        yield DecodedBatch(
            number,
            [row for row, _ in good],
            [result for _, (result, _) in good],
            [item for item in batch if isinstance(item, Reject)],
            [(row, note) for row, (_, notes) in good for note in notes],
        )
