"""Storing in the background: in order, bounded, and with the first error not lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from ser_probe.embeddings.writing import _WAITING_TASKS, BackgroundWriter, fetch

DEADLINE_S = 10.0


def wait_for(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.001)


def fail(what: str) -> Callable[[], None]:
    def task() -> None:
        raise OSError(what)

    return task


@pytest.fixture
def writer() -> Iterator[BackgroundWriter]:
    writer = BackgroundWriter()
    yield writer
    writer.close(raise_errors=False)
    assert not [thread for thread in threading.enumerate() if thread.name == "ser-probe-writer"]


def test_tasks_are_done_in_order_in_one_other_thread(writer: BackgroundWriter) -> None:
    done: list[tuple[int, int]] = []
    for number in range(50):
        writer.submit(lambda number=number: done.append((number, threading.get_ident())))
    writer.close()
    assert [number for number, _ in done] == list(range(50))
    assert len({thread for _, thread in done}) == 1
    assert done[0][1] != threading.get_ident()


def test_closing_waits_and_may_be_done_twice_or_without_work(writer: BackgroundWriter) -> None:
    writer.close()
    done: list[int] = []
    writer.submit(lambda: (time.sleep(0.05), done.append(1)))
    writer.close()
    assert done == [1]
    writer.close()
    writer.submit(lambda: done.append(2))
    writer.close()
    assert done == [1, 2]


def test_no_thread_before_there_is_work(writer: BackgroundWriter) -> None:
    """Worker processes may be forked until then."""
    assert writer._thread is None


def test_the_error_of_a_task_is_raised_by_close(writer: BackgroundWriter) -> None:
    writer.submit(fail("the disk is gone"))
    with pytest.raises(OSError, match="the disk is gone"):
        writer.close()
    writer.close()


def test_the_error_of_a_task_is_raised_by_the_next_submit(writer: BackgroundWriter) -> None:
    writer.submit(fail("the disk is gone"))
    wait_for(lambda: writer._error is not None)
    done: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):
        writer.submit(lambda: done.append(1))
    writer.close()
    assert not done


@pytest.mark.parametrize("ends_by", ["submit", "close"])
def test_tasks_after_an_error_are_dropped(writer: BackgroundWriter, ends_by: str) -> None:
    """What comes after a hole must not be stored, and only the first of several errors is told."""
    for _ in range(20):
        done: list[int] = []
        go = threading.Event()
        writer.submit(lambda go=go: (go.wait(DEADLINE_S), fail("the first")())[0])
        writer.submit(fail("the second"))
        for number in range(4):
            writer.submit(lambda number=number, done=done: done.append(number))
        go.set()
        if ends_by == "submit":
            wait_for(lambda: writer._error is not None)
            with pytest.raises(OSError, match="the first"):
                writer.submit(lambda done=done: done.append(99))
        else:
            with pytest.raises(OSError, match="the first"):
                writer.close()
        assert not done


def test_closing_beside_another_error_says_nothing(writer: BackgroundWriter) -> None:
    writer.submit(fail("the disk is gone"))
    writer.close(raise_errors=False)
    with pytest.raises(OSError, match="the disk is gone"):  # there was something to say
        writer.close()


def test_the_line_of_tasks_is_bounded(writer: BackgroundWriter) -> None:
    go, submitted = threading.Event(), []

    def submit_many() -> None:
        for number in range(_WAITING_TASKS + 5):
            writer.submit(lambda: go.wait(DEADLINE_S))
            submitted.append(number)

    busy = threading.Thread(target=submit_many)
    busy.start()
    wait_for(lambda: len(submitted) == _WAITING_TASKS + 1)  # one is under way
    time.sleep(0.05)
    assert len(submitted) == _WAITING_TASKS + 1
    go.set()
    busy.join(DEADLINE_S)
    assert len(submitted) == _WAITING_TASKS + 5


def test_fetching_from_a_cpu_is_the_array_itself() -> None:
    values = torch.arange(6.0).view(2, 3)
    wait = fetch(values)
    np.testing.assert_array_equal(wait(), values.numpy())


@pytest.mark.gpu
def test_fetching_from_a_gpu_waits_for_the_copy() -> None:
    values = torch.randn(4096, 4096, device="cuda")
    product = values @ values
    np.testing.assert_array_equal(fetch(product)(), product.cpu().numpy())


def test_without_memory_for_a_thread_it_is_stored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    writer, done = BackgroundWriter(), []
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        writer.submit(lambda: done.append(1))
        assert done == [1]
        with pytest.raises(OSError, match="full"):
            writer.submit(fail("full"))
    writer.submit(lambda: done.append(2))
    writer.close()
    assert done == [1, 2]
