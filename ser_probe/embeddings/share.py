"""One worker's share of an extraction by several processes or hosts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ser_probe.errors import ConfigError

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Share:
    """This process's part of the batch plan.

    Args:
        index: The worker's number, from 1.
        count: Number of workers.

    Raises:
        ConfigError: If there is no such worker.
    """

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ConfigError(
                "The share of a worker must be I/N with I from 1 to N", found=str(self), fix="count workers from 1"
            )

    def of(self, plan: Sequence[Batch]) -> list[Batch]:
        """Return this worker's batches: every Nth, so that long and short clips are spread evenly."""
        return list(plan[self.index - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_share(text: str) -> Share:
    """Return the share of a text `I/N`.

    Raises:
        ConfigError: If the text is none.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None:
        raise ConfigError("The share of a worker is not understood", expected="I/N, such as 2/8", found=text)
    return Share(int(match[1]), int(match[2]))


def detect_share(text: str | None, environment: Mapping[str, str] = os.environ) -> Share:
    """Return this process's share: as stated, or as torchrun or a SLURM array counts its processes.

    torchrun (RANK, WORLD_SIZE) starts processes that share one job, so it is always followed. The tasks of a SLURM
    array (their place among MIN, STEP and COUNT) may be separate jobs, so it is followed for `auto` only.

    Args:
        text: `I/N`, `auto`, or None for what torchrun says, if anything.
        environment: The process's environment.

    Raises:
        ConfigError: If the text is none of these, or the variables are missing or contradict each other.
    """
    if text not in (None, "auto"):
        return parse_share(text)
    if {"RANK", "WORLD_SIZE"} <= environment.keys():
        return Share(_whole(environment, "RANK") + 1, _whole(environment, "WORLD_SIZE"))
    if text is None:
        return Share()
    names = [f"SLURM_ARRAY_TASK_{part}" for part in ("ID", "MIN", "STEP", "COUNT")]
    if not set(names) <= environment.keys():
        raise ConfigError(
            "No launcher tells this process its share",
            expected="the variables of torchrun (RANK, WORLD_SIZE) or of a SLURM array (SLURM_ARRAY_TASK_ID, ...)",
            fix="state it: --shard I/N",
        )
    place, first, step, count = (_whole(environment, name) for name in names)
    return Share((place - first) // max(step, 1) + 1, count)


def local_rank(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return which of its machine's devices torchrun means this process to use; None without torchrun."""
    return _whole(environment, "LOCAL_RANK") if "LOCAL_RANK" in environment else None


def _whole(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    if not text.isdecimal():
        raise ConfigError("An environment variable of the launcher is no number", where=name, found=text)
    return int(text)
