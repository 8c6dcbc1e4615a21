"""The verb `cache prune`: what may go from a folder of caches, shown before it goes.

Only what ser-probe itself wrote is ever removed, by name and content; links are left alone.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from ser_probe.embeddings.partials import is_alive, name_node
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_file import SchemaVersionError
from ser_probe.errors import CacheError
from ser_probe.steps.caches.export import MARKER
from ser_probe.steps.caches.files import SHARDS_SUFFIX, size_of

_DAY_S = 24 * 3600.0
_QUIET_S = 3600.0
"""What another machine's run has not touched for so long is not being written."""

_SHARD = re.compile(r"shard-(?P<node>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{12}\.h5(\.damaged)?")
_PARTIAL_PART = re.compile(
    r"\.(shard|clips|unread)-.*?(?P<node>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{12}\.\d+\.partial\.\w+"
)
_NOTE = re.compile(r"clips-[0-9a-f]{16}\.parquet|unread-[A-Za-z0-9._-]+\.json|seal\.lock")
_PARTIAL_FILE = re.compile(r"\..+\.(?P<pid>\d+)\.partial\.h5")
_PARTIAL_EXPORT = re.compile(r"\..+\.(?P<pid>\d+)(\.old)?\.partial")
_PARTIAL_TENSORS = re.compile(r"\..+\.safetensors\.(?P<pid>\d+)\.partial")
_EXPORTED = re.compile(r"export\.json|\.?clips\.csv|layer-[A-Za-z0-9._-]+\.(npy|parquet|csv)")


@dataclass(frozen=True)
class Removable:
    """Something that would go.

    Args:
        path: A file or a folder.
        what: What it is.
        size_bytes: Its size.
        age_days: Days since it was last written.
    """

    path: Path
    what: str
    size_bytes: int
    age_days: float


def plan_prune(
    folder: Path,
    *,
    older_than_days: float | None = None,
    model: str | None = None,
    checkpoint: str | None = None,
) -> list[Removable]:
    """Return what may go: leftovers, and the finished caches that a filter selects.

    Leftovers are shards of unfinished extractions, partial files of runs that are gone, and files of a schema version
    that is not read. What a living process may still be writing is none. With a model or a checkpoint only finished
    caches of it are selected, with an age only what is older.

    Args:
        folder: Folder of caches; what is in folders within it is left alone.
        older_than_days: Least age.
        model: Model that a finished cache must name.
        checkpoint: Checkpoint that it must name.

    Raises:
        CacheError: If there is no such folder.
    """
    if not folder.is_dir():
        raise CacheError("There is no such folder", where=folder, fix="name the folder of the embedding files")
    of_model = model is not None or checkpoint is not None
    selected = []
    for path in sorted(folder.iterdir()):
        what = None if path.is_symlink() else _find_what(path)
        if what == "finished cache":
            if not of_model and older_than_days is None:
                continue
            if not _is_of(path, model, checkpoint):
                continue
        elif what is None or of_model:
            continue
        age_s = time.time() - _last_written(path)
        if older_than_days is None or age_s >= older_than_days * _DAY_S:
            selected.append(Removable(path, what, size_of(path), age_s / _DAY_S))
    return selected


def remove(planned: list[Removable]) -> tuple[int, list[Path]]:
    """Remove what was planned, and return the bytes freed and what was left because it changed meanwhile."""
    freed, left = 0, []
    for entry in planned:
        if entry.path.is_symlink() or _find_what(entry.path) != entry.what:
            left.append(entry.path)
            continue
        if entry.path.is_dir():
            for inside in entry.path.iterdir():
                if _is_ours(inside, entry.what):
                    inside.unlink()
            if any(entry.path.iterdir()):
                left.append(entry.path)
            else:
                entry.path.rmdir()
        else:
            entry.path.unlink()
        freed += entry.size_bytes
    return freed, left


def _find_what(path: Path) -> str | None:
    """Return what a file or folder is, None where it is none of ser-probe's or in use."""
    if path.is_dir():
        if path.name.endswith(SHARDS_SUFFIX):
            return "unfinished extraction" if _is_shards_folder(path) and not _is_written(path) else None
        match = _PARTIAL_EXPORT.fullmatch(path.name)
        exported = match and (path / MARKER).is_file() and not is_alive(int(match["pid"]))
        return "unfinished export" if exported else None
    if match := _PARTIAL_FILE.fullmatch(path.name) or _PARTIAL_TENSORS.fullmatch(path.name):
        quiet = time.time() - _last_written(path) > _QUIET_S
        return "partial file" if not is_alive(int(match["pid"])) or quiet else None
    if path.suffix != ".h5" or not path.is_file():
        return None
    try:
        with EmbeddingCache.open(path):
            return "finished cache"
    except SchemaVersionError:
        return "cache of another schema version"
    except CacheError:
        return None  # damaged, or another program's: not ours to judge


def _is_shards_folder(folder: Path) -> bool:
    """Tell whether all that is in a folder is ser-probe's; one with anything else in it is somebody's."""
    return all(_is_ours(path, "unfinished extraction") for path in folder.iterdir())


def _is_ours(path: Path, what: str) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    patterns = (_SHARD, _PARTIAL_PART, _NOTE) if what == "unfinished extraction" else (_EXPORTED,)
    return any(pattern.fullmatch(path.name) for pattern in patterns)


def _is_written(folder: Path) -> bool:
    """Tell whether a process of this machine lives that wrote here, or a run that left no shard yet may be at work."""
    newest_note_s = newest_shard_s = 0.0
    for path in folder.iterdir():
        changed_s = path.stat().st_mtime
        match = _SHARD.fullmatch(path.name) or _PARTIAL_PART.fullmatch(path.name)
        if match is None:
            newest_note_s = max(newest_note_s, changed_s)
        elif match["node"] == name_node():
            newest_shard_s = max(newest_shard_s, changed_s)
            if is_alive(int(match["pid"])):
                return True
        elif time.time() - changed_s < _QUIET_S:
            return True
    # A run notes its clips when it starts, and commits its first shard some time later.
    return newest_note_s > newest_shard_s and time.time() - newest_note_s < _QUIET_S


def _last_written(path: Path) -> float:
    inside = path.iterdir() if path.is_dir() else ()
    return max(entry.stat().st_mtime for entry in (path, *inside))


def _is_of(path: Path, model: str | None, checkpoint: str | None) -> bool:
    with EmbeddingCache.open(path) as cache:
        record = cache.attributes
    models = {str(record.get(name, "")) for name in ("model", "model_path")}
    return (model is None or model in models) and (
        checkpoint is None or str(record.get("checkpoint", "")) == checkpoint
    )
