"""Work on many clips side by side, a process a processor.

Processes, not threads: a clip takes some hundred short numpy calls, between which threads wait for each other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from ser_probe.errors import SerProbeError
from ser_probe.runtime import end_with_parent, usable_cpus

# Starting processes takes as long as some hundred clips.
_FEW_CLIPS = 150
_CHUNK = 8

Task = TypeVar("Task")
Result = TypeVar("Result")


def work_on_clips(
    work: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int | None = None
) -> Iterator[Result]:
    """Yield the result of each task, in order.

    Args:
        work: A picklable function; what it raises ends the work.
        tasks: What it is called with.
        workers: Processes; 0 works here; None: one a processor, and none for few tasks.

    Raises:
        SerProbeError: If a process ends, as for want of memory.
    """
    if workers is None:
        workers = usable_cpus() if len(tasks) > _FEW_CLIPS else 0
    if workers < 1:
        yield from map(work, tasks)
        return
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(),)
    )
    try:
        yield from pool.map(work, tasks, chunksize=_CHUNK)
    except BrokenProcessPool as error:
        raise SerProbeError(
            "A process that works on clips has ended", found="most often, memory has run out", fix="use --workers 0"
        ) from error
    finally:
        # After Ctrl-C the clips not yet begun are not waited for.
        pool.shutdown(cancel_futures=True)


def _start_worker(parent: int) -> None:
    # Ctrl-C ends the main process, which ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
