"""The duration of a pass, and how long the device was idle."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class PassClock:
    """The time of a pass.

    Args:
        waited_s: Seconds that the main process waited for decoded clips.
        device: The clock of a GPU, which computes meanwhile; None if the main process computes.
    """

    waited_s: float = 0.0
    device: DeviceClock | None = None
    started_s: float = field(default_factory=time.perf_counter)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started_s

    @property
    def wait_share(self) -> float:
        """Share of the time since the start in which the device waited for clips, in [0, 1]."""
        idle_s = self.waited_s if self.device is None else self.device.idle_s()
        return idle_s / max(self.elapsed_s, 1e-9)


class DeviceClock:
    """Measures on a GPU's timeline how long it was idle between batches."""

    def __init__(self) -> None:
        self._borders: deque[tuple[Any, Any]] = deque()
        self._idle_ms = 0.0

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Mark the work of a batch."""
        import torch

        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        yield
        end.record()
        self._borders.append((begin, end))

    def idle_s(self) -> float:
        """Return the seconds that the device was idle between the finished batches."""
        while len(self._borders) > 1 and self._borders[1][1].query():
            _, end = self._borders.popleft()
            self._idle_ms += end.elapsed_time(self._borders[0][0])
        return self._idle_ms / 1000
