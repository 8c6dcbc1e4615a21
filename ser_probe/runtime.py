"""Seeds, device, memory, logging, progress, and the run record. Layer 0.

torch is imported inside functions only, so that the command line starts quickly.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.metadata
import logging
import math
import os
import platform
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ser_probe.errors import SerProbeError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("ser_probe")

_RECORDED_PACKAGES = (
    "ser-probe", "torch", "torchaudio", "transformers", "accelerate", "h5py", "numpy", "scipy",
    "scikit-learn", "pandas", "umap-learn", "opensmile", "soundfile", "soxr", "pyloudnorm",
)  # fmt: skip

LARGEST_NUMBER = 1e30
"""Numbers to learn, predict or test must be smaller: otherwise their squares and sums overflow, and every score of them
is NaN."""

_SECONDS_BETWEEN_LOOKS = 1.0
_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_CONTAINER_USE = (
    (_CONTAINER_LIMITS[0], Path("/sys/fs/cgroup/memory.current"), "inactive_file"),
    (_CONTAINER_LIMITS[1], Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"), "total_inactive_file"),
)
_MEMORY_FACTS = Path("/proc/meminfo")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Progress(Protocol):
    """Reports the progress of long work. The command line draws it; `SILENT` does not."""

    def start(self, what: str, total: float, unit: str) -> None:
        """Begin work of `total` units."""

    def advance(self, amount: float = 1, **fields: object) -> None:
        """Count some units as done; `fields` are shown beside the bar (`loss=0.31`)."""

    def finish(self) -> None:
        """End the work."""

    def say(self, message: str) -> None:
        """Print a line that stays, above the bar."""


class Silent:
    """A progress that shows nothing."""

    def __repr__(self) -> str:
        return "SILENT"  # as the default of arguments it stands in signatures

    def start(self, what: str, total: float, unit: str) -> None:
        """Show nothing."""

    def advance(self, amount: float = 1, **fields: object) -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Show nothing."""

    def say(self, message: str) -> None:
        """Show nothing."""


SILENT = Silent()


@contextlib.contextmanager
def counting(progress: Progress, what: str, total: float, unit: str) -> Iterator[Callable[..., None]]:
    """Begin work, and end it in any case; yield the function to call with the units done."""
    progress.start(what, total, unit)
    try:
        yield progress.advance
    finally:
        progress.finish()


def derive_seed(*parts: object) -> int:
    """Return a seed in [0, 2**31) that depends on all parts and on nothing else.

    Seeds of different uses (a split, a probe, a layer) are independent of each other, and stable across processes,
    unlike `hash`.
    """
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") % 2**31


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - transformers draws its SpecAugment masks from this generator
    torch.manual_seed(seed)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device by name; `auto` takes CUDA where there is one.

    Raises:
        SerProbeError: If the device does not exist on this machine.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SerProbeError(
            "The device name is not known to torch", expected="auto, cpu, cuda, cuda:N", found=name
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SerProbeError("CUDA was asked for, but torch sees no CUDA device", found=name, fix="use --device cpu")
    return device


def keep_freed_memory() -> None:
    """Let the C allocator keep what is freed, for the process's next large array.

    By default glibc returns arrays of a few MB to the system at once; each new array then costs a page fault every 4
    KiB, which made large batches on a CPU slower than single clips. Does nothing without glibc, or if the process's
    memory is
    limited: oneDNN takes memory for its kernels from the system, not from the allocator, and after one failure (with
    hundreds of MB free in the allocator) it makes no more kernels in that thread.
    """
    if _memory_is_limited():
        return
    if mallopt := _allocator("mallopt"):
        trim_threshold, mmap_threshold = -1, -3  # names of malloc.h
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, 2**31 - 1)


def return_freed_memory() -> None:
    """Return the C allocator's freed memory to the system, also after `keep_freed_memory`.

    For when memory has run out. Does nothing without glibc.
    """
    if malloc_trim := _allocator("malloc_trim"):
        malloc_trim(0)


def usable_cpus() -> int:
    """Return how many processors this process may use; a batch system, `taskset` or a container may restrict them."""
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    try:
        quota_us, period_us = _CPU_QUOTA.read_text().split()
        counts.append(math.ceil(int(quota_us) / int(period_us)))
    except (OSError, ValueError, ZeroDivisionError):  # no such file; "max" for no limit
        pass
    return max(1, min(counts))


def end_with_parent(parent: int) -> None:
    """Let this process end when the one that started it is gone, so that a killed run leaves no workers behind.

    Args:
        parent: Process id of the one that started it.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, name="ser-probe-parent-watch", daemon=True).start()


def memory_bytes() -> int | None:
    """Return the memory of this machine, or of the container, in bytes; None if unknown."""
    try:
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (ValueError, OSError, AttributeError):  # Windows
        limits = []
    for file in _CONTAINER_LIMITS:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # no such file; "max" for no limit
            continue
    return min(limits, default=None)


def available_memory_bytes() -> int | None:
    """Return the memory that this process can still take, in bytes; None if unknown.

    The system's file cache counts as free, because it is released on demand. If only the total is known, it is
    returned.
    """
    total, amounts = memory_bytes(), []
    try:
        facts = dict(line.split(":", 1) for line in _MEMORY_FACTS.read_text().splitlines())
        amounts.append(1024 * int(facts["MemAvailable"].split()[0]))
    except (OSError, ValueError, KeyError):  # no Linux
        amounts += [] if total is None else [total]
    for limit_file, used_file, cache_name in _CONTAINER_USE:
        try:
            used = int(used_file.read_text())
            statistics = dict(line.split() for line in (used_file.parent / "memory.stat").read_text().splitlines())
            amounts.append(int(limit_file.read_text()) - used + int(statistics[cache_name]))
        except (OSError, ValueError, KeyError):  # no such file; "max" for no limit
            continue
    return max(0, min(amounts)) if amounts else None


def _memory_is_limited() -> bool:
    try:
        import resource
    except ImportError:  # Windows
        return False
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return any(limit != resource.RLIM_INFINITY for limit in limits)


def _allocator(function: str) -> Any:
    """Return a function of glibc's allocator; None without glibc."""
    import ctypes

    try:
        return getattr(ctypes.CDLL(None), function)
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return None


def package_versions() -> dict[str, str | None]:
    """Return the installed versions of the packages that can change a result; None for absent packages."""
    versions: dict[str, str | None] = {}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def run_record(device: str | None = None) -> dict[str, Any]:
    """Return the facts needed to repeat a run: versions, git commit, command, kind of machine, time in UTC."""
    return {
        "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "device": device,
        "packages": package_versions(),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Return the commit of the working folder, with `+changes` where files differ from it; None outside git."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5)
        status = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+changes" if status.stdout.strip() else "")
