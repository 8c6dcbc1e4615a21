from __future__ import annotations

from itertools import chain

import torch

from ser_probe.training.dataset import ClipDataset, EpochBatches, length_sorted_batches
from tests.training.conftest import make_clips


def test_every_epoch_holds_every_clip_once_in_an_order_of_its_own() -> None:
    batches = EpochBatches(13, 4, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        orders.append(list(batches))
    assert [len(batch) for batch in orders[0]] == [4, 4, 4, 1]
    assert len(batches) == 4
    assert sorted(chain.from_iterable(orders[0])) == list(range(13))
    assert orders[0] == orders[2] != orders[1]


def test_the_next_seed_does_not_repeat_this_seeds_next_epoch() -> None:
    ours, next_seed = EpochBatches(13, 4, seed=3), EpochBatches(13, 4, seed=4)
    ours.set_epoch(1)
    assert list(ours) != list(next_seed)


def test_the_order_ignores_the_global_generator() -> None:
    torch.manual_seed(0)
    first = list(EpochBatches(13, 4, seed=3))
    torch.manual_seed(1)
    assert list(EpochBatches(13, 4, seed=3)) == first


def test_length_sorted_batches_hold_every_clip_once() -> None:
    clips = make_clips(7, seed=1)
    rows = list(chain.from_iterable(length_sorted_batches(clips, 3)))
    assert sorted(rows) == list(range(7))
    assert (clips.durations_s[rows[:-1]] <= clips.durations_s[rows[1:]]).all()


def test_without_a_cache_a_batch_holds_the_samples() -> None:
    clips = make_clips(3, seed=1)
    dataset = ClipDataset(clips)
    batch = dataset.collate([dataset[row] for row in range(3)])
    assert batch["labels"].tolist() == [0, 1, 2]
    assert [len(clip) for clip in batch["clips"]] == [len(clips.load(row)) for row in range(3)]
