from __future__ import annotations

import threading

import pytest
from threadpoolctl import threadpool_info

from ser_probe.analysis.threads import run_side_by_side


def test_every_task_is_answered_once() -> None:
    assert sorted(run_side_by_side(lambda n: n * n, range(7))) == [(n, n * n) for n in range(7)]
    assert list(run_side_by_side(lambda n: n, [])) == []


def test_a_fault_ends_it_and_reaches_the_caller() -> None:
    done = []

    def work(n: int) -> int:
        if n == 1:
            raise ValueError("task 1")
        done.append(n)
        return n

    with pytest.raises(ValueError, match="task 1"):
        list(run_side_by_side(work, range(100)))
    assert len(done) < 100


def test_as_many_threads_as_asked_for_and_one_core_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    for asked, expected in (("2", 2), ("8", 3), ("", 3), ("nonsense", 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        together = threading.Barrier(expected, timeout=10)

        def work(_: int, together: threading.Barrier = together) -> set[int]:
            together.wait()  # passes only if that many run at the same time
            return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

        assert all(threads == {1} for _, threads in run_side_by_side(work, range(expected)))
