"""Clips as batches: their content, which clips each holds, and in what order.

The order of an epoch and the augmentation of its clips are functions of the seed and the epoch alone, so that a run can
be resumed without saved random states.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ser_probe.errors import AudioError
from ser_probe.models.frames import pad_frames
from ser_probe.models.targets import Targets
from ser_probe.runtime import derive_seed
from ser_probe.training.losses import prepare_targets
from ser_probe.training.processes import n_processes, rank
from ser_probe.training.settings import SplitClips

_BATCHES_SORTED_TOGETHER = 32
"""Number of shuffled batches whose clips are sorted by length: enough for little padding, few enough to stay mixed."""


class ClipReader(Protocol):
    """Reads cached values of clips from disk: `training.clip_cache.ClipCache`."""

    def read(self, clip_id: str) -> np.ndarray:
        """Return a clip's values, [T, C]."""
        ...


class ClipDataset(Dataset[tuple[np.ndarray, int]]):
    """Clips by row: samples [n], or the front end's output [T, C] where it is cached, and the row.

    Args:
        clips: The clips.
        targets: What is predicted of them.
        frames: The front end's output of each, where it is cached.
        audio: The samples of each, where they are cached: decoded once.
        seed: Seed of the augmentation, where the clips have one.
    """

    def __init__(
        self,
        clips: SplitClips,
        targets: Targets,
        frames: ClipReader | None = None,
        audio: ClipReader | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.clips, self.frames, self.audio, self.seed = clips, frames, audio, seed
        self.targets = prepare_targets(targets, clips.targets)
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        """Return a clip and its number; a negative number, counted from -1, is a clip with weight 0."""
        clip_row = row if row >= 0 else -1 - row
        clip_id = self.clips.ids[clip_row]
        if self.frames is not None:
            return _finite(self.frames.read(clip_id), clip_id, "its cached values"), row
        samples = self.clips.load(clip_row) if self.audio is None else self.audio.read(clip_id)[:, 0]
        if self.clips.augment is not None:
            samples = self.clips.augment(samples, derive_seed(self.seed, "augment", self.epoch, clip_id))
        return _finite(samples, clip_id, "its samples" if self.clips.augment is None else "its augmented samples"), row

    def collate(self, rows: Sequence[tuple[np.ndarray, int]]) -> dict[str, Any]:
        """Return a batch: `targets` [B, K], `n_counted`, and `features` [B, T, C] with `n_frames` [B], or `clips`."""
        arrays, numbers = zip(*rows, strict=True)
        chosen = torch.tensor([row if row >= 0 else -1 - row for row in numbers])
        batch: dict[str, Any] = {"targets": self.targets[chosen], "n_counted": sum(row >= 0 for row in numbers)}
        if self.frames is None:
            return batch | {"clips": list(arrays)}
        frames = pad_frames(arrays)
        return batch | {"features": frames.features, "n_frames": frames.n_frames}


def _finite(values: np.ndarray, clip_id: str, part: str) -> np.ndarray:
    """Return what goes into the model, if it is all finite.

    Raises:
        AudioError: If it is not: a single NaN would make the loss, and then every weight, NaN.
    """
    if not np.isfinite(values).all():
        raise AudioError(
            "A clip to train on holds what is no finite number",
            where=f"clip {clip_id}, {part}",
            found=f"{int((~np.isfinite(values)).sum())} of {values.size} numbers",
            fix="mend or leave out the clip or its augmentation; delete the folder of front ends if it was damaged",
        )
    return values


class EpochBatches(Sampler[list[int]]):
    """Rows of each batch of an epoch, by seed and epoch alone; the last batch may be smaller.

    Args:
        durations_s: Durations of the clips in s, [N].
        batch_size: Clips in a batch.
        seed: Seed of the order.
        by_length: Whether a batch holds clips of about the same length, so that little is padded; which lengths follow
            which is still chance.
    """

    def __init__(self, durations_s: np.ndarray, batch_size: int, seed: int, *, by_length: bool = False) -> None:
        self.durations_s, self.batch_size, self.seed, self.by_length = durations_s, batch_size, seed, by_length
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.durations_s) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng(derive_seed(self.seed, "order", self.epoch))
        order = rng.permutation(len(self.durations_s))
        if not self.by_length:
            yield from _cut(order, self.batch_size)
            return
        batches: list[list[int]] = []
        for part in _cut(order, self.batch_size * _BATCHES_SORTED_TOGETHER):
            batches += _cut(np.array(part)[np.argsort(self.durations_s[part], kind="stable")], self.batch_size)
        yield from (batches[number] for number in rng.permutation(len(batches)))


def _cut(rows: np.ndarray, size: int) -> list[list[int]]:
    return [rows[start : start + size].tolist() for start in range(0, len(rows), size)]


class SharedBatches(Sampler[list[int]]):
    """This process's part of each batch: every Nth clip of it.

    Args:
        batches: The whole batches, the same in every process.
        dataset: Told of the epoch too.
    """

    def __init__(self, batches: EpochBatches, dataset: ClipDataset) -> None:
        self.batches, self.dataset = batches, dataset

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, of the order and of the augmentation; the Trainer calls it, on resume too."""
        self.batches.epoch = self.dataset.epoch = epoch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.batches:
            # The other processes would wait for the gradient of a process without a clip: it computes one of weight 0.
            yield rows[rank() :: n_processes()] or [-1 - rows[0]]


class EpochLoader(DataLoader[tuple[np.ndarray, int]]):
    """This process's training batches; passes the epoch on to its sampler, which a plain loader would not."""

    def __init__(self, dataset: ClipDataset, batches: EpochBatches) -> None:
        self.shared = SharedBatches(batches, dataset)
        super().__init__(dataset, batch_sampler=self.shared, collate_fn=dataset.collate)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self.shared.set_epoch(epoch)


def length_sorted_batches(clips: SplitClips, batch_size: int) -> list[list[int]]:
    """Return rows in batches of clips of about the same duration: little padding, the same result."""
    return _cut(np.argsort(clips.durations_s, kind="stable"), batch_size)
