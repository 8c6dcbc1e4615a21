"""Stores results while the computation goes on: a thread moves them from the device to the shards, in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

_WAITING_TASKS = 8


class BackgroundWriter:
    """Runs tasks in a separate thread, one after another.

    `close` waits for submitted tasks, and must also be called after an error or Ctrl-C, so that computed results are
    stored. The first error of a task ends the writing; it is raised at the next `submit` or by `close`.
    """

    def __init__(self) -> None:
        self._tasks: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=_WAITING_TASKS)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, task: Callable[[], None]) -> None:
        """Let the thread run a task; wait while too many are in line, so that memory stays bounded."""
        self._raise()
        if self._thread is None:
            # Not earlier: worker processes must be forked before, because a fork does not copy threads.
            thread = threading.Thread(target=self._work, name="ser-probe-writer", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no memory for a thread's stack: store in this thread
                task()
                return
            self._thread = thread
        self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._error is None:
                try:
                    task()
                except BaseException as error:
                    self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            # Cleared only after the thread has ended, so that no later task is run.
            self._stop()
            error, self._error = self._error, None
            raise error

    def _stop(self) -> None:
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()
            self._thread = None

    def close(self, *, raise_errors: bool = True) -> None:
        """Wait for all tasks; raise the first error of one, unless another error is already on its way."""
        self._stop()
        if raise_errors:
            self._raise()


def fetch(tensor: Tensor) -> Callable[[], np.ndarray]:
    """Begin to copy a tensor to the host, and return a function that waits for it and returns the array.

    From a GPU the copy runs while the device goes on computing.
    """
    if tensor.device.type != "cuda":
        return tensor.numpy
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def wait() -> np.ndarray:
        copied.synchronize()
        return host.numpy()

    return wait
