"""Clips as batches: what one holds, which clips it holds, and in what order.

The order of an epoch is a function of the seed and the epoch alone, so that a resumed run needs no saved state
to go on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ser_probe.models.frames import pad_frames
from ser_probe.runtime import derive_seed
from ser_probe.training.front_end_cache import FrontEndCache
from ser_probe.training.settings import Clips


class ClipDataset(Dataset[tuple[np.ndarray, int]]):
    """Clips by row: samples [n], or the front end's output [T, C] where it is cached, and the label."""

    def __init__(self, clips: Clips, cache: FrontEndCache | None = None) -> None:
        self.clips, self.cache = clips, cache

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        found = self.clips.load(row) if self.cache is None else self.cache.read(self.clips.ids[row])
        return found, int(self.clips.labels[row])

    def collate(self, rows: Sequence[tuple[np.ndarray, int]]) -> dict[str, Any]:
        """Return a batch: `labels` [B], and `features` [B, T, C] with `n_frames` [B], or `clips`."""
        arrays, labels = zip(*rows, strict=True)
        batch: dict[str, Any] = {"labels": torch.tensor(labels)}
        if self.cache is None:
            return batch | {"clips": list(arrays)}
        frames = pad_frames(arrays)
        return batch | {"features": frames.features, "n_frames": frames.n_frames}


class EpochBatches(Sampler[list[int]]):
    """Rows of each batch of an epoch: shuffled, by seed and epoch alone; the last batch may be smaller."""

    def __init__(self, n_clips: int, batch_size: int, seed: int) -> None:
        self.n_clips, self.batch_size, self.seed, self.epoch = n_clips, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; the Trainer calls it, on resume too."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.n_clips // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng(derive_seed(self.seed, "order", self.epoch)).permutation(self.n_clips)
        for start in range(0, self.n_clips, self.batch_size):
            yield order[start : start + self.batch_size].tolist()


class EpochLoader(DataLoader[tuple[np.ndarray, int]]):
    """The training batches; passes the epoch on to `EpochBatches`, which a plain loader would not."""

    def __init__(self, dataset: ClipDataset, batches: EpochBatches) -> None:
        super().__init__(dataset, batch_sampler=batches, collate_fn=dataset.collate)
        self.batches = batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self.batches.set_epoch(epoch)


def length_sorted_batches(clips: Clips, batch_size: int) -> list[list[int]]:
    """Return rows in batches of clips of about the same duration: little padding, the same result."""
    order = np.argsort(clips.durations_s, kind="stable")
    return [order[start : start + batch_size].tolist() for start in range(0, len(order), batch_size)]
