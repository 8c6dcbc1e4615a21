"""Files that are whole or not there: atomic writes, checked JSON, content hashes, Git LFS pointers. Layer 0."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_probe.errors import ConfigError, DamagedFileError
from ser_probe.runtime import logger

Kinds = Mapping[str, type | tuple[type, ...]]
"""Entries of a JSON object by name, and of what type each is; `float` takes whole numbers too."""

MAX_JSON_BYTES = 1 << 26
MAX_JSON_DEPTH = 64
"""Nothing that is written here, or by transformers, is near either; deeper values end in a RecursionError."""

# Of transformers' files the largest is 1e30, which stands for "no limit"; far above, a number is infinite as a float.
_MAX_JSON_BITS = 128
_KIND_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
}

LFS_FIX = "run `git lfs install` and `git lfs pull` in the corpus's clone"
_LFS_HEADER = b"version https://git-lfs.github.com/spec/"
_HASH_BLOCK_BYTES = 1 << 20
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed, on error removed.

    A reader never sees a half-written file under the final name, whatever kills the writer.

    Raises:
        ConfigError: If what stands there is no regular file; see `check_output_file`.
    """
    check_output_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept, because some writers choose their format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        fsync_path(temporary)
        os.replace(temporary, path)
        fsync_path(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def check_output_file(path: Path) -> None:
    """Refuse to write a file where something else stands: renaming would replace a device, a pipe or a socket.

    Raises:
        ConfigError: If there is something that is no regular file, or a folder of the path is none.
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
    """Refuse a folder for several files where something else stands.

    Raises:
        ConfigError: If there is something that is no folder, or a folder of the path is none.
    """
    kind = _kind_of(path)
    if kind not in (None, "a folder"):
        raise ConfigError(
            f"Several files are written, and the output is {kind}", where=path, fix="name a folder: -o DIR"
        )
    _check_parents(path)


def _check_parents(path: Path) -> None:
    above = next((folder for folder in path.parents if _kind_of(folder) is not None), None)
    if above is not None and (kind := _kind_of(above)) != "a folder":
        raise ConfigError(
            "The output lies in what is no folder", where=path, expected=f"a folder {above}", found=kind,
            fix="name another place",
        )  # fmt: skip
    place = path if _kind_of(path) == "a folder" else above
    if place is not None and not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(
            "The output cannot be written: there is no write access", where=path, found=f"no write access to {place}",
            fix="name another place, or change its permissions",
        )  # fmt: skip


def _kind_of(path: Path) -> str | None:
    """Return what stands at a path, links followed; None for nothing, also for a link to nothing."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    kinds = {stat.S_ISREG: "a file", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe (FIFO)",
             stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}  # fmt: skip
    return next((name for is_kind, name in kinds.items() if is_kind(mode)), "something else")


def fsync_path(path: Path) -> None:
    """Flush a file's or a folder's content to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(descriptor: int, path: Path, *, wait: bool) -> bool:
    """Lock an open file for this process alone; the operating system releases the lock whatever ends the process.

    Args:
        descriptor: The open file.
        path: Its path, for the message.
        wait: Whether to wait for another holder.

    Returns:
        Whether it is locked: some file systems have no locks (Lustre by default, some network disks), which is said.

    Raises:
        BlockingIOError: If another process holds the lock and `wait` is false.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        logger.warning(
            "this file system has no file locks (%s), so that nothing keeps two commands apart: let one "
            "command at a time write to %s",
            os.strerror(error.errno),
            path.parent,
        )
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, indented and in UTF-8."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path, *, entries: Kinds | None = None) -> Any:
    """Read a JSON file of bounded size and depth.

    Args:
        path: The file.
        entries: What the file must hold, which then is an object; it may hold more.

    Raises:
        DamagedFileError: If it is no such JSON; the message names the file and the place in it.
        OSError: If it cannot be read at all.
    """
    n_bytes = path.stat().st_size
    if n_bytes > MAX_JSON_BYTES:  # before it is in memory
        raise DamagedFileError(
            f"{path.name} is too large to be what it should", where=path,
            expected=f"JSON of at most {MAX_JSON_BYTES:,} bytes", found=f"{n_bytes:,} bytes",
        )  # fmt: skip
    if path.is_file() and n_bytes and is_lfs_pointer(path):
        raise DamagedFileError(
            f"{path.name} is a Git LFS pointer, not the file", where=path, fix="run `git lfs pull` in its repository"
        )
    value = _parse_json(path)
    if entries is not None:
        check_entries(value, entries, where=path)
    return value


def parse_json(text: str) -> Any:
    """Return the value of a JSON text, within the bounds of `read_json`.

    Raises:
        ValueError: If it is no such JSON; the message says why.
    """
    try:
        value = json.loads(text)
        # Half a surrogate pair is JSON, and no text that can be printed or written.
        fault = _find_unusable(value)
    except RecursionError:
        fault = _too_deep()
    if fault:
        raise ValueError(fault)
    return value


def _parse_json(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        fault = f"{error}" if path.stat().st_size else "an empty file"
    raise DamagedFileError(f"{path.name} is not JSON that can be used", where=path, found=fault)


def _too_deep() -> str:
    return f"values nested more than {MAX_JSON_DEPTH} deep"


def _find_unusable(value: Any) -> str | None:
    """Return what of a JSON value would stop those who use it. Without recursion, since depth is one such thing."""
    level, depth = [value], 0
    while level:
        if depth > MAX_JSON_DEPTH:
            return _too_deep()
        texts = (text for each in level for text in (each if isinstance(each, dict) else [each]))
        if any(isinstance(text, str) and not text.isascii() and _is_half(text) for text in texts):
            return "a text with half a surrogate pair, which is no character"
        if any(type(each) is int and each.bit_length() > _MAX_JSON_BITS for each in level):
            return f"a whole number of more than {_MAX_JSON_BITS} bits"
        containers = [each for each in level if isinstance(each, dict | list)]
        level = [item for each in containers for item in (each.values() if isinstance(each, dict) else each)]
        depth += 1
    return None


def _is_half(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def check_entries(value: Any, entries: Kinds, *, where: Path, inside: str = "") -> None:
    """Refuse a value read from a JSON file that is no object with the entries that are expected; it may hold more.

    Args:
        value: The value.
        entries: Name and type of each entry.
        where: The file.
        inside: Where in the file the value lies, as `ingredients`; empty for the whole of it.

    Raises:
        DamagedFileError: All faults at once.
    """
    place = f"{inside}." if inside else ""
    expected = ", ".join(f"{place}{name} ({_kind_name(kind)})" for name, kind in entries.items())
    if not isinstance(value, dict):
        faults = [f"{_named_value(value)} in place of {inside or 'an object'}"]
    else:
        faults = [f"{place}{name} is missing" for name in entries if name not in value]
        faults += [
            f"{place}{name} is {_named_value(value[name])}"
            for name, kind in entries.items()
            if name in value and not _is_kind(value[name], kind)
        ]
    if faults:
        raise DamagedFileError(
            f"{where.name} does not hold what it should", where=where, expected=expected, found="; ".join(faults)
        )


def _is_kind(value: Any, kinds: type | tuple[type, ...]) -> bool:
    """Tell whether a value is of a kind: true is no number, and a whole number is a number."""
    allowed = kinds if isinstance(kinds, tuple) else (kinds,)
    return type(value) in allowed or (type(value) is int and float in allowed)


def _kind_name(kinds: type | tuple[type, ...]) -> str:
    return " or ".join(_KIND_NAMES[kind] for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))


def _named_value(value: Any) -> str:
    """Return a value for a message: short ones as they stand in the file, others by their kind."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{_KIND_NAMES[type(value)]} {text[:30]}..."


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits; it lets other threads run meanwhile."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_id(path: Path) -> str:
    """Return the id of a file's bytes: 32 hex digits of BLAKE2b. Equal content has an equal id under any name."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """Return 64 hex digits that identify a JSON-like value, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def is_lfs_pointer(path: Path) -> bool:
    """Tell whether a file is a Git LFS pointer: the few lines of text that stand in for a file not fetched."""
    with path.open("rb") as stream:
        return stream.read(len(_LFS_HEADER)) == _LFS_HEADER


def slug(text: str) -> str:
    """Return a text as a safe file name: letters, digits, dot, dash, underscore; never a path."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"


def distinct_slugs(texts: Sequence[str]) -> list[str]:
    """Return a safe file name for each text: equal ones for equal texts, and for no others.

    Texts that differ in letters which a file name has not are told apart by a number behind.
    """
    named: dict[str, str] = {}
    for text in texts:
        if text not in named:
            name, number = slug(text), 2
            while name.casefold() in {taken.casefold() for taken in named.values()}:
                name, number = f"{slug(text)}-{number}", number + 1
            named[text] = name
    return [named[text] for text in texts]


def distinct_names(places: Sequence[Sequence[str]], others: Sequence[str] = ()) -> list[str]:
    """Return what to call places side by side: each by its last part, with as much before as tells it from the rest.

    Args:
        places: The parts of each place's path; equal places are called alike.
        others: Names that are taken.
    """
    known = list(dict.fromkeys(map(tuple, places)))
    named = {parts: _last(parts, 1) for parts in known}
    for depth in range(2, max(map(len, known), default=0) + 1):
        taken = [*named.values(), *others]
        for parts in known:
            if taken.count(named[parts]) > 1:
                named[parts] = _last(parts, depth)
    return [named[tuple(parts)] for parts in places]


def _last(parts: Sequence[str], depth: int) -> str:
    return "/".join(part.strip("/") for part in parts[-depth:])
