"""Refuses outputs that cannot be written, before hours of work for them. Layer 0."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ser_probe.errors import ConfigError


def check_output_file(path: Path) -> None:
    """Refuse to write a file where something else is: renaming would replace a device, a pipe or a socket.

    Raises:
        ConfigError: If something else than a regular file is there, or a parent is no folder or cannot be written to.
    """
    kind = _kind_of(path)
    if kind not in (None, "a file"):
        raise ConfigError(
            "The output cannot be written: there is something that is no file",
            where=path, expected="a regular file to replace, or nothing", found=kind,
            fix="name a file in that folder" if kind == "a folder" else "name another file",
        )  # fmt: skip
    _check_parents(path)


def check_output_folder(path: Path) -> None:
    """Refuse a folder for several files where something else is.

    Raises:
        ConfigError: If something else than a folder is there, or a parent is no folder or cannot be written to.
    """
    kind = _kind_of(path)
    if kind not in (None, "a folder"):
        raise ConfigError(
            f"Several files are written, and the output is {kind}", where=path, fix="name a folder: -o DIR"
        )
    _check_parents(path)


def _check_parents(path: Path) -> None:
    nearest = next((folder for folder in path.parents if _kind_of(folder) is not None), None)
    if nearest is not None and (kind := _kind_of(nearest)) != "a folder":
        raise ConfigError(
            "The output lies in what is no folder", where=path, expected=f"a folder {nearest}", found=kind,
            fix="name another place",
        )  # fmt: skip
    place = path if _kind_of(path) == "a folder" else nearest
    if place is not None and not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(
            "The output cannot be written: there is no write access", where=path, found=f"no write access to {place}",
            fix="name another place, or change its permissions",
        )  # fmt: skip


def _kind_of(path: Path) -> str | None:
    """Return what is at a path, following links; None for nothing, or for a broken link."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    kinds = {stat.S_ISREG: "a file", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe (FIFO)",
             stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}  # fmt: skip
    return next((name for is_kind, name in kinds.items() if is_kind(mode)), "something else")
