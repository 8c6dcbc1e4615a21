"""Atomic writes, locks, checked JSON, content hashes, Git LFS pointers and file names. Layer 0."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_probe.errors import DamagedFileError
from ser_probe.output_paths import check_output_file
from ser_probe.runtime import logger

Kinds = Mapping[str, type | tuple[type, ...]]
"""Entries of a JSON object by name, and their types; `float` accepts whole numbers too."""

MAX_JSON_BYTES = 1 << 26
MAX_JSON_DEPTH = 64
"""No file of ours or of transformers comes near these limits; deeper values would raise a RecursionError."""

# The largest number in transformers' files is 1e30, for "no limit"; far larger numbers are infinite as floats.
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
        ConfigError: If something else than a regular file is there; see `check_output_file`.
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
        Whether it is locked: some file systems have no locks (Lustre by default, some network disks); a warning says
        so.

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
        # Half a surrogate pair is valid JSON, but cannot be printed or written.
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
    """Return what makes a JSON value unusable, None if nothing does. Not recursive, because depth may be the fault."""
    level, depth = [value], 0
    while level:
        if depth > MAX_JSON_DEPTH:
            return _too_deep()
        texts = (text for item in level for text in (item if isinstance(item, dict) else [item]))
        if any(isinstance(text, str) and not text.isascii() and _is_half(text) for text in texts):
            return "a text with half a surrogate pair, which is no character"
        if any(type(item) is int and item.bit_length() > _MAX_JSON_BITS for item in level):
            return f"a whole number of more than {_MAX_JSON_BITS} bits"
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [inner for item in containers for inner in (item.values() if isinstance(item, dict) else item)]
        depth += 1
    return None


def _is_half(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def check_entries(value: Any, entries: Kinds, *, where: Path, inside: str = "") -> None:
    """Refuse a value from a JSON file that is not an object with the expected entries; it may have more.

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
    """Tell whether a value is of a type: true is no number, and a whole number is a `float` too."""
    allowed = kinds if isinstance(kinds, tuple) else (kinds,)
    return type(value) in allowed or (type(value) is int and float in allowed)


def _kind_name(kinds: type | tuple[type, ...]) -> str:
    return " or ".join(_KIND_NAMES[kind] for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))


def _named_value(value: Any) -> str:
    """Return a value for a message: short values as in the file, longer ones by their type and beginning."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{_KIND_NAMES[type(value)]} {text[:30]}..."


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits; it releases the GIL."""
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


def flatten(record: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values of nested mappings, each with the names that lead to it; an empty mapping is a value."""
    for name, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, (*above, name))
        else:
            yield (*above, name), value


def is_lfs_pointer(path: Path) -> bool:
    """Tell whether a file is a Git LFS pointer: a few lines of text in place of a file that was not fetched."""
    with path.open("rb") as stream:
        return stream.read(len(_LFS_HEADER)) == _LFS_HEADER


def slug(text: str) -> str:
    """Return a text as a safe file name: letters, digits, dot, dash, underscore; never a path."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"


def distinct_slugs(texts: Sequence[str]) -> list[str]:
    """Return a safe file name for each text: equal names for equal texts only.

    Texts that give the same file name are told apart by a number at its end.
    """
    named: dict[str, str] = {}
    for text in texts:
        if text not in named:
            name, number = slug(text), 2
            while name.casefold() in {used.casefold() for used in named.values()}:
                name, number = f"{slug(text)}-{number}", number + 1
            named[text] = name
    return [named[text] for text in texts]


def distinct_names(places: Sequence[Sequence[str]], others: Sequence[str] = ()) -> list[str]:
    """Return distinct names for paths: the last part of each, with as many parts before as tell it from the others.

    Args:
        places: The parts of each path; equal paths get equal names.
        others: Names that are already used.
    """
    distinct = list(dict.fromkeys(map(tuple, places)))
    named = {parts: _last(parts, 1) for parts in distinct}
    for depth in range(2, max(map(len, distinct), default=0) + 1):
        used = [*named.values(), *others]
        for parts in distinct:
            if used.count(named[parts]) > 1:
                named[parts] = _last(parts, depth)
    return [named[tuple(parts)] for parts in places]


def _last(parts: Sequence[str], depth: int) -> str:
    return "/".join(part.strip("/") for part in parts[-depth:])
