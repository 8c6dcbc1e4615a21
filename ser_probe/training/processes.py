"""The processes of one training run: several if `torchrun` or `accelerate launch` started them, else only this one.

Only the first of them writes; all see the same data, and each computes its part of every batch.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch

_LONGEST_WAIT = timedelta(hours=12)
"""The first process prepares caches while the others wait at a barrier; torch's own limit is 10 to 30 minutes."""


def n_processes() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Return whether this process is the one that writes."""
    return rank() == 0


def join_processes(device: torch.device) -> None:
    """Connect with the other processes, once, before anything is exchanged; alone, do nothing."""
    if n_processes() > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_LONGEST_WAIT)


def wait_for_all() -> None:
    """Go on when every process has come this far."""
    if n_processes() > 1:
        torch.distributed.barrier()


def gather(part: Any) -> list[Any]:
    """Return what each process passes, in order of their numbers; alone, a list of one."""
    if n_processes() == 1:
        return [part]
    parts: list[Any] = [None] * n_processes()
    torch.distributed.all_gather_object(parts, part)
    return parts
