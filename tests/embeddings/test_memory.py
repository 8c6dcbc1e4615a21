"""Out of memory: smaller parts, each item once and in order, and an end where one item alone is too much."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_probe.embeddings import memory
from ser_probe.embeddings.feed import NoRoomError
from ser_probe.embeddings.memory import ClipRoom, MemoryGuard, choose_budget, clip_room, is_out_of_memory
from ser_probe.errors import BackboneError
from ser_probe.models.clip_memory import ClipMemory
from ser_probe.models.loading import load_backbone

FAILURES: dict[str, Callable[[], BaseException]] = {
    "torch": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 99 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "onednn": lambda: RuntimeError("could not create a primitive"),
    "numpy": lambda: MemoryError("Unable to allocate 3.00 GiB for an array"),
    "cublas": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
}


@dataclass
class Device:
    """A device with room for some padded seconds."""

    room_s: float
    failure: Callable[[], BaseException] = FAILURES["torch"]
    tried_s: list[float] = field(default_factory=list)

    def work(self, part: Sequence[float]) -> list[float]:
        """Return each item's double."""
        self.tried_s.append(len(part) * max(part))
        if self.tried_s[-1] > self.room_s:
            raise self.failure()
        return [2 * item for item in part]


def run(guard: MemoryGuard, items: Sequence[float], device: Device) -> list[float]:
    """Return what was made of each item, checked to be of the items in their order."""
    parts = list(guard.run(items, lambda item: item, device.work))
    assert [item for part, _ in parts for item in part] == list(items)
    assert all(len(part) == len(result) for part, result in parts)
    return [value for _, result in parts for value in result]


@pytest.mark.parametrize("kind", FAILURES)
def test_a_batch_that_does_not_fit_is_halved(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    guard, device, items = MemoryGuard(), Device(11.0, FAILURES[kind]), [4.0, 3.0, 3.0, 2.0, 2.0, 1.0]
    assert run(guard, items, device) == [2 * item for item in items]
    assert device.tried_s == [24.0, 12.0, 4.0, 3.0, 3.0, 6.0]
    assert (guard.n_failures, guard.padded_s) == (2, 6.0)
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(logged) == guard.n_failures
    assert "6 clips of 24 padded s together: going on with at most 12 s" in logged[0]
    assert "--batch-seconds" in logged[0]


def test_what_was_too_much_is_remembered() -> None:
    guard, device = MemoryGuard(), Device(10.0)
    run(guard, [2.0] * 8, device)
    assert (guard.n_failures, guard.padded_s) == (1, 8.0)
    device.tried_s.clear()
    run(guard, [2.0] * 8, device)
    run(guard, [1.0] * 16, device)
    assert device.tried_s == [8.0] * 4
    assert guard.n_failures == 1
    # One item over the ceiling is tried all the same: there is nothing smaller.
    assert run(guard, [9.5], device) == [19.0]


def test_what_fits_goes_through_whole() -> None:
    guard, device = MemoryGuard(), Device(10.0)
    assert run(guard, [3.0, 2.0, 1.0], device) == [6.0, 4.0, 2.0]
    assert run(guard, [], device) == []
    assert (device.tried_s, guard.n_failures) == ([9.0], 0)


@settings(max_examples=25)  # each failure collects garbage
@given(st.lists(st.floats(0.1, 9.0), max_size=40), st.floats(9.0, 60.0))
def test_each_item_once_and_in_order(items: list[float], room_s: float) -> None:
    items, device = sorted(items, reverse=True), Device(room_s)
    assert run(MemoryGuard(), items, device) == [2 * item for item in items]
    # As many failures as halvings from the first size to the room, no more.
    n_failures = sum(tried_s > room_s for tried_s in device.tried_s)
    assert n_failures == 0 or len(items) * items[0] / 2 ** (n_failures - 1) > room_s


def test_one_item_that_does_not_fit() -> None:
    guard, device = MemoryGuard(), Device(4.0)
    expected = r"too little memory for one stretch of 5\.0 s(.|\n)*Tried to allocate 2.00 GiB(.|\n)*--long-clips chunk"
    parts = guard.run([3.0, 5.0, 1.0], lambda item: item, device.work)
    assert next(parts) == ([3.0], [6.0])
    with pytest.raises(BackboneError, match=expected):
        next(parts)


def test_where_memory_became_scarce_on_the_way_a_smaller_batch_is_the_first_thing_to_try() -> None:
    guard, device = MemoryGuard(), Device(1.0)
    with pytest.raises(BackboneError, match=r"stretch of 4\.0 s(.|\n)*smaller --batch-seconds, cut long clips"):
        run(guard, [4.0, 4.0], device)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes cannot be multiplied"), ValueError("out of memory"), KeyError()]
)
def test_other_errors_pass(error: Exception) -> None:
    guard, device = MemoryGuard(), Device(0.0, lambda: error)
    with pytest.raises(type(error)) as raised:
        run(guard, [1.0, 1.0], device)
    assert raised.value is error
    assert len(device.tried_s) == 1
    assert not is_out_of_memory(error)


def test_the_failed_attempts_memory_is_free_before_the_next() -> None:
    """The error's traceback would hold it."""
    alive: list[object] = []

    class Large:
        def __init__(self) -> None:
            alive.append(id(self))

        def __del__(self) -> None:
            alive.remove(id(self))

    def work(part: Sequence[float]) -> int:
        assert not alive
        large = Large()
        if len(part) > 1:
            raise torch.OutOfMemoryError(f"no room for {large}")
        return 0

    assert len(list(MemoryGuard().run([1.0] * 4, lambda item: item, work))) == 4


@pytest.mark.parametrize(("gib", "budget_s"), [(1, 30.0), (8, 136.0), (80, 600.0)])
def test_budget_of_a_gpu_follows_its_memory(gib: int, budget_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(total_memory=gib << 30), raising=True
    )
    assert choose_budget(torch.device("cuda")) == budget_s


def test_budget_of_a_cpu() -> None:
    assert choose_budget(torch.device("cpu")) == 30.0


def test_a_clip_that_does_not_fit_is_refused_with_the_figures() -> None:
    """Ten minutes through a small WavLM: 30,000 frames, of which attention holds 53 bytes a pair."""
    room = ClipRoom(ClipMemory(154.0, 5000.0, 53.0, 320), 12 << 30, 16_000, "this machine")
    room.check("short.wav", 60 * 16_000)
    with pytest.raises(NoRoomError) as caught:
        room.check("long.wav", 600 * 16_000)
    said = str(caught.value)
    assert "The clip of 600 s takes about 45.9 GiB of memory if it goes through the model whole" in said
    assert "12.0 GiB are free on this machine" in said
    longest = re.search(r"at most (\d+) s, as 90% of what is free may be taken", said)
    assert longest is not None
    assert "--long-clips chunk" in said
    room.check("long.wav", (int(longest[1]) - 1) * 16_000)
    with pytest.raises(NoRoomError, match=rf"The clip of {int(longest[1]) + 1} s"):
        room.check("long.wav", (int(longest[1]) + 1) * 16_000)
    ClipRoom(room.memory, None, 16_000, "this machine").check("long.wav", 600 * 16_000)  # nobody tells what is free


def test_room_for_a_clip_is_what_the_device_has_free(monkeypatch: pytest.MonkeyPatch) -> None:
    wavlm, hubert = load_backbone("tiny-wavlm-base"), load_backbone("tiny-hubert-base")
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 1 << 30)
    with pytest.raises(NoRoomError, match=r"and 1\.0 GiB are free on this machine"):
        clip_room([hubert, wavlm]).check("x.wav", 200 * 16_000)
    clip_room([hubert]).check("x.wav", 200 * 16_000)  # whose attention holds no pairs
    gpu = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5 << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 3 << 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 1 << 30)
    assert memory.free_bytes(gpu) == 7 << 30
