"""The machine a study runs on: seeds, device, precision, logging, progress, and the run record. Layer 0.

torch is imported inside functions only, so that the command line answers at once.
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
"""Numbers to learn, predict or test must lie below: beyond, their squares and sums leave what float32 and float64
hold, and every score of them is no number."""

_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


_CONTAINER_USE = (
    (_CONTAINER_LIMITS[0], Path("/sys/fs/cgroup/memory.current"), "inactive_file"),
    (_CONTAINER_LIMITS[1], Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"), "total_inactive_file"),
)
_MEMORY_FACTS = Path("/proc/meminfo")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Progress(Protocol):
    """How long work tells what it has done. The command line draws it; `SILENT` does not."""

    def start(self, what: str, total: float, unit: str) -> None:
        """Begin a stretch of work of `total` units."""

    def advance(self, amount: float = 1, **fields: object) -> None:
        """Say that some units are done; `fields` are shown beside the bar (`loss=0.31`)."""

    def finish(self) -> None:
        """End the stretch of work."""

    def say(self, message: str) -> None:
        """Print a line that stays, above the bar."""


class Silent:
    """A progress that shows nothing."""

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
    """Begin a stretch of work, and end it in any case; yield what is called with the units done."""
    progress.start(what, total, unit)
    try:
        yield progress.advance
    finally:
        progress.finish()


def derive_seed(*parts: object) -> int:
    """Return a seed in [0, 2**31) that depends on all parts and on nothing else.

    Seeds of different uses (a split, a probe, a layer) stay independent of each other and stable across
    processes, which `hash` is not.
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

    By default glibc gives arrays of a few MB back to the system at once; each new one then costs a page fault every
    4 KiB, which made large batches on a CPU slower than single clips. Does nothing where there is no glibc, and where
    the process's memory is limited: oneDNN asks the system, not the allocator, for memory of its kernels, and once it
    was refused (with hundreds of MB free in the allocator) it makes no kernel in that thread any more.
    """
    if _memory_is_limited():
        return
    if mallopt := _allocator("mallopt"):
        trim_threshold, mmap_threshold = -1, -3  # names of malloc.h
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, 2**31 - 1)


def return_freed_memory() -> None:
    """Give what the C allocator kept back to the system, whatever `keep_freed_memory` said.

    For when memory has run out. Does nothing where there is no glibc.
    """
    if malloc_trim := _allocator("malloc_trim"):
        malloc_trim(0)


def usable_cpus() -> int:
    """Return how many processors this process may use: fewer than the machine has where a batch system, `taskset` or a
    container says so."""
    found = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    try:
        quota_us, period_us = _CPU_QUOTA.read_text().split()
        found.append(math.ceil(int(quota_us) / int(period_us)))
    except (OSError, ValueError, ZeroDivisionError):  # no such file; "max" for no limit
        pass
    return max(1, min(found))


def memory_bytes() -> int | None:
    """Return the memory that this machine, or the container it looks like, has in bytes; None where nobody tells."""
    try:
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (ValueError, OSError, AttributeError):  # Windows
        found = []
    for file in _CONTAINER_LIMITS:
        try:
            found.append(int(file.read_text()))
        except (OSError, ValueError):  # no such file; "max" for no limit
            continue
    return min(found, default=None)


def available_memory_bytes() -> int | None:
    """Return the memory that this process can still take, in bytes; None where nobody tells.

    What the system holds of files in its cache counts as free, because it gives it up. Where only a total is known it
    is the total.
    """
    total, found = memory_bytes(), []
    try:
        facts = dict(line.split(":", 1) for line in _MEMORY_FACTS.read_text().splitlines())
        found.append(1024 * int(facts["MemAvailable"].split()[0]))
    except (OSError, ValueError, KeyError):  # no Linux
        found += [] if total is None else [total]
    for limit_file, used_file, cache_name in _CONTAINER_USE:
        try:
            used = int(used_file.read_text())
            statistics = dict(line.split() for line in (used_file.parent / "memory.stat").read_text().splitlines())
            found.append(int(limit_file.read_text()) - used + int(statistics[cache_name]))
        except (OSError, ValueError, KeyError):  # no such file; "max" for no limit
            continue
    return max(0, min(found)) if found else None


def _memory_is_limited() -> bool:
    try:
        import resource
    except ImportError:  # Windows
        return False
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return any(limit != resource.RLIM_INFINITY for limit in limits)


def _allocator(function: str) -> Any:
    """Return a function of glibc's allocator, None where there is no glibc."""
    import ctypes

    try:
        return getattr(ctypes.CDLL(None), function)
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return None


def package_versions() -> dict[str, str | None]:
    """Return the installed versions of the packages that can change a result; None where one is absent."""
    versions: dict[str, str | None] = {}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def run_record(device: str | None = None) -> dict[str, Any]:
    """Return what must be known to repeat a run: versions, git commit, command, machine kind, time in UTC."""
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
