"""Which embedding files there are: those named, those in a folder, and what unfinished extractions left beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser_probe.embeddings.partials import shards_folder
from ser_probe.errors import CacheError

SHARDS_SUFFIX = ".h5.shards"


def find_caches(paths: Sequence[Path]) -> list[Path]:
    """Return the files named; a folder stands for the embedding files in it.

    Raises:
        CacheError: If a folder holds none.
    """
    listed = []
    for path in paths:
        files = files_in(path) if path.is_dir() else [path]
        if not files:
            raise CacheError("The folder holds no embedding file", where=path, expected="*.h5")
        listed += files
    return listed


def files_in(folder: Path) -> list[Path]:
    """Return the embedding files of a folder, without the hidden ones, which a killed process was writing."""
    return sorted(path for path in folder.glob("*.h5") if not path.name.startswith("."))


def find_unfinished(paths: Sequence[Path]) -> list[Path]:
    """Return the finished files to be of unfinished extractions: those named, and those in the folders named."""
    finished = []
    for path in paths:
        if path.name.endswith(SHARDS_SUFFIX):
            finished.append(path.with_name(path.name.removesuffix(".shards")))
        elif path.is_dir():
            folders = sorted(folder for folder in path.glob(f"*{SHARDS_SUFFIX}") if folder.is_dir())
            finished += [folder.with_name(folder.name.removesuffix(".shards")) for folder in folders]
        elif shards_folder(path).is_dir():
            finished.append(path)
    return list(dict.fromkeys(finished))


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of what a folder holds; links count as nothing."""
    if path.is_symlink():
        return 0
    if not path.is_dir():
        return path.stat().st_size
    return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file() and not inner.is_symlink())


def format_size(n_bytes: float) -> str:
    """Return a size as people read it: `812 B`, `3.4 MiB`, `12.0 GiB`."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    for unit in units:
        if n_bytes < 1024 or unit == units[-1]:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    raise AssertionError("a size has a unit")
