"""Many small problems in parallel, one processor core each.

A decomposition of a few hundred rows gains little from more cores and is slow where these are busy; running several at
once uses all cores. With one core per problem its sums are also added in one order, so that results do not depend on
the number of cores. Only for work that spends its time in numpy, which releases the GIL; most of scipy.linalg does not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from threadpoolctl import threadpool_limits

from ser_probe.runtime import usable_cpus

Task = TypeVar("Task")
Answer = TypeVar("Answer")


def run_side_by_side(work: Callable[[Task], Answer], tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
    """Yield each task with its answer, in the order in which they end; the first error stops all.

    Args:
        work: What to do with a task.
        tasks: What to do it with; taken as threads become free, so that no more answers wait than threads run.
    """
    n_threads = _n_cores()
    remaining = iter(tasks)
    with threadpool_limits(limits=1), ThreadPoolExecutor(n_threads) as pool:
        running: dict[Future[Answer], Task] = {}
        try:
            while True:
                for task in remaining:
                    running[pool.submit(work, task)] = task
                    if len(running) >= n_threads:
                        break
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), done.result()
        finally:
            for future in running:
                future.cancel()


def _n_cores() -> int:
    """Return how many cores this process may use; OMP_NUM_THREADS bounds them, as it does for numpy."""
    allowed = usable_cpus()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(allowed, int(asked))) if asked.isdigit() else allowed
