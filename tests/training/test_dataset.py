from __future__ import annotations

import dataclasses
from itertools import chain

import numpy as np
import pytest
import torch

from ser_probe.training.dataset import ClipDataset, EpochBatches, EpochLoader, length_sorted_batches
from tests.training.conftest import TARGETS, make_clips

DURATIONS_S = np.random.default_rng(0).uniform(1, 9, 13)


def test_every_epoch_holds_every_clip_once_in_an_order_of_its_own() -> None:
    batches = EpochBatches(DURATIONS_S, 4, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        batches.epoch = epoch
        orders.append(list(batches))
    assert [len(batch) for batch in orders[0]] == [4, 4, 4, 1]
    assert len(batches) == 4
    assert sorted(chain.from_iterable(orders[0])) == list(range(13))
    assert orders[0] == orders[2] != orders[1]


def test_the_next_seed_does_not_repeat_this_seeds_next_epoch() -> None:
    ours, next_seed = EpochBatches(DURATIONS_S, 4, seed=3), EpochBatches(DURATIONS_S, 4, seed=4)
    ours.epoch = 1
    assert list(ours) != list(next_seed)


def test_the_order_ignores_the_global_generator() -> None:
    torch.manual_seed(0)
    first = list(EpochBatches(DURATIONS_S, 4, seed=3))
    torch.manual_seed(1)
    assert list(EpochBatches(DURATIONS_S, 4, seed=3)) == first


def test_length_sorted_batches_hold_every_clip_once() -> None:
    clips = make_clips(7, seed=1)
    rows = list(chain.from_iterable(length_sorted_batches(clips, 3)))
    assert sorted(rows) == list(range(7))
    assert (clips.durations_s[rows[:-1]] <= clips.durations_s[rows[1:]]).all()


def test_without_a_cache_a_batch_holds_the_samples() -> None:
    clips = make_clips(3, seed=1)
    dataset = ClipDataset(clips, TARGETS)
    batch = dataset.collate([dataset[row] for row in range(3)])
    assert batch["targets"].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert batch["n_counted"] == 3
    assert [len(clip) for clip in batch["clips"]] == [len(clips.load(row)) for row in range(3)]


def test_batches_by_length_hold_every_clip_once_pad_little_and_come_in_any_order() -> None:
    durations_s = np.random.default_rng(1).uniform(1, 9, 203)
    by_length, mixed = (EpochBatches(durations_s, 8, seed=3, by_length=by_length) for by_length in (True, False))
    orders = []
    for epoch in (0, 1, 0):
        by_length.epoch = epoch
        orders.append(list(by_length))
    assert orders[0] == orders[2] != orders[1]
    assert sorted(chain.from_iterable(orders[0])) == list(range(203))
    assert len(orders[0]) == len(by_length) == 26

    def padded(batches: list[list[int]]) -> float:
        return sum(durations_s[rows].max() * len(rows) for rows in batches) / durations_s.sum()

    assert padded(orders[0]) < 1.1 < 1.4 < padded(list(mixed))
    lengths = [durations_s[rows].mean() for rows in orders[0]]
    assert abs(np.corrcoef(lengths, range(len(lengths)))[0, 1]) < 0.5, "short and long batches take turns"


@pytest.mark.parametrize("n_processes", [1, 2, 3])
def test_processes_share_each_batch(n_processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(n_processes))
    dataset = ClipDataset(make_clips(13, seed=1), TARGETS)
    batches = EpochBatches(dataset.clips.durations_s, 6, seed=3)
    shares = []
    for rank in range(n_processes):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(list(EpochLoader(dataset, batches)))
    for number, rows in enumerate(batches):
        parts = [share[number] for share in shares]
        assert sum(part["n_counted"] for part in parts) == len(rows)
        for rank, part in enumerate(parts):
            own = rows[rank::n_processes]
            assert part["n_counted"] == len(own)
            # A process without a clip of the last batch, which has one, computes that one for nothing.
            expected = own or rows[:1]
            assert [len(clip) for clip in part["clips"]] == [len(dataset.clips.load(row)) for row in expected]


def test_augmentation_is_a_function_of_seed_epoch_and_clip() -> None:
    clips = dataclasses.replace(make_clips(3, seed=1), augment=lambda samples, seed: samples + np.float32(seed % 997))
    dataset = ClipDataset(clips, TARGETS, seed=4)
    loader = EpochLoader(dataset, EpochBatches(clips.durations_s, 3, seed=4))

    def heard(epoch: int) -> dict[int, float]:
        loader.set_epoch(epoch)
        return {row: float(dataset[row][0][0] - clips.load(row)[0]) for row in range(3)}

    first = heard(0)
    assert len(set(first.values())) == 3
    assert heard(1) != first == heard(0)
    assert ClipDataset(clips, TARGETS, seed=5)[0][0][0] != dataset[0][0][0]
