"""Runs work that may not fit a device's memory in parts, smaller ones after each failure."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from ser_probe.embeddings.feed import NoRoomError
from ser_probe.errors import BackboneError
from ser_probe.models.backbone import Backbone
from ser_probe.models.clip_memory import ClipMemory, clip_memory
from ser_probe.runtime import available_memory_bytes, logger, return_freed_memory

Item = TypeVar("Item")
Result = TypeVar("Result")

# Messages of errors that have no class of their own: torch's allocator for a CPU, CUDA's libraries, oneDNN.
_OOM_MESSAGES = (
    "can't allocate memory", "not enough memory", "out of memory", "alloc_failed", "bad_alloc",
    "could not create a primitive", "could not execute a primitive",
)  # fmt: skip


# A batch on a CPU: long enough for large products, short enough for the processor's caches.
_CPU_BUDGET_S = 30.0
# Memory of a padded second on a GPU: several copies of the first convolutions' output in float32.
_GPU_BYTES_PER_S = 60 << 20
_GPU_BUDGET_S = (30.0, 600.0)
_SHARE_OF_FREE = 0.9
"""Part of the free memory that one clip may take: the estimate leaves out the allocator's own needs."""


def choose_budget(device: torch.device) -> float:
    """Return how many padded seconds a batch should hold on a device.

    It depends on the device's memory and not on what is free of it now, so that a resumed run plans the same batches.
    """
    if device.type != "cuda":
        return _CPU_BUDGET_S
    low, high = _GPU_BUDGET_S
    return float(min(max(torch.cuda.get_device_properties(device).total_memory // _GPU_BYTES_PER_S, low), high))


def free_bytes(device: torch.device) -> float | None:
    """Return how much memory of a device is free for a clip; None if unknown."""
    if device.type != "cuda":
        return available_memory_bytes()
    free, _total = torch.cuda.mem_get_info(device)
    # Memory that torch's allocator has reserved and not in use is free for the next clip too.
    return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


@dataclass(frozen=True)
class ClipRoom:
    """Refuses clips for which there is too little memory, before they take it. Picklable, for the workers.

    Args:
        memory: The memory that a clip needs.
        available_bytes: The memory that is free; None if unknown, and nothing is refused.
        sample_rate_hz: Sampling rate in Hz.
        device: The device's name, for messages.
    """

    memory: ClipMemory
    available_bytes: float | None
    sample_rate_hz: int
    device: str

    def check(self, where: object, n_samples: int) -> None:
        """Refuse a clip that does not fit.

        Raises:
            NoRoomError: If it does not; the figures are in it.
        """
        if self.available_bytes is None:
            return
        needed, allowed = self.memory.needed_bytes(n_samples), _SHARE_OF_FREE * self.available_bytes
        if needed <= allowed:
            return
        longest_s = self.memory.most_samples(allowed) / self.sample_rate_hz
        raise NoRoomError(
            f"The clip of {n_samples / self.sample_rate_hz:.0f} s takes about {needed / 2**30:.1f} GiB of memory if it "
            f"goes through the model whole, and {self.available_bytes / 2**30:.1f} GiB are free on {self.device}",
            where=where,
            expected=f"at most {longest_s:.0f} s, as {_SHARE_OF_FREE:.0%} of what is free may be taken",
            fix="cut it: `extract --long-clips chunk --max-duration-s 30` makes overlapping chunks and pools all their "
            "frames together; or use a machine with more memory",
        )


def clip_room(backbones: Sequence[Backbone], *, keeps_frames: bool = False) -> ClipRoom:
    """Return the room for a clip that goes through these models, one after another."""
    device, memory = backbones[0].device, clip_memory(backbones, keeps_frames=keeps_frames)
    name = "this machine" if device.type == "cpu" else str(device)
    return ClipRoom(memory, free_bytes(device), backbones[0].input.sample_rate_hz, name)


@dataclass
class MemoryGuard:
    """Runs work over items in parts, and remembers which size was too much.

    Args:
        padded_s: Largest size to try, in padded seconds (longest item x number of items); halved by a failure, for
            the rest of the pass.
        n_failures: How often the device ran out of memory.
    """

    padded_s: float = float("inf")
    n_failures: int = 0

    def run(
        self, items: Sequence[Item], seconds_of: Callable[[Item], float], work: Callable[[Sequence[Item]], Result]
    ) -> Iterator[tuple[Sequence[Item], Result]]:
        """Yield parts of the items with what the work made of them, in order.

        Args:
            items: What to work on.
            seconds_of: How long an item is, in s.
            work: Made of items that go together; it is repeated with fewer where memory runs out.

        Raises:
            BackboneError: If one item alone does not fit.
        """
        left = [items] if len(items) else []
        while left:
            part = left.pop(0)
            size_s = len(part) * max(map(seconds_of, part))
            if size_s > self.padded_s and len(part) > 1:
                middle = (len(part) + 1) // 2
                left[:0] = [part[:middle], part[middle:]]
                continue
            result, failure = _try(work, part)
            if failure is None:
                yield part, result  # type: ignore[misc]
            else:
                self._note(part, size_s, failure)
                left.insert(0, part)

    def _note(self, part: Sequence[object], size_s: float, failure: str) -> None:
        if len(part) == 1:
            raise BackboneError(
                f"The device has too little memory for one stretch of {size_s:.1f} s",
                found=failure,
                # After a failure a process may stay limited: oneDNN makes no more kernels.
                fix=("run the same command again with a smaller --batch-seconds, " if self.n_failures else "")
                + "cut long clips (--long-clips chunk with a smaller --max-duration-s), use precision bf16, or a "
                "device with more memory; what was computed so far is kept",
            )
        self.n_failures += 1
        self.padded_s = size_s / 2
        # Memory of the failed attempt is free only when its objects are gone.
        gc.collect()
        return_freed_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        logger.warning(
            "Out of memory with %d clips of %.0f padded s together: going on with at most %.0f s. "
            "A smaller --batch-seconds avoids the failed attempts",
            len(part), size_s, self.padded_s,
        )  # fmt: skip


def _try(work: Callable[[Sequence[Item]], Result], part: Sequence[Item]) -> tuple[Result | None, str | None]:
    """Return the result, or the message of an out-of-memory error: the error itself would keep the memory in use."""
    try:
        return work(part), None
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None, next(iter(str(error).splitlines()), type(error).__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a device or the machine has no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error).lower() for message in _OOM_MESSAGES)
