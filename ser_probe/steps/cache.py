"""The verb `cache`: what embedding files hold, and whether they are still what was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import CacheError
from ser_probe.runtime import SILENT, Progress

_MB = 1e6


def find_caches(paths: Sequence[Path]) -> list[Path]:
    """Return embedding files, those of a folder sorted by name.

    Raises:
        CacheError: If a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.h5")) if path.is_dir() else [path]
        if not inside:
            raise CacheError("The folder holds no embedding files", where=path, expected="files named *.h5")
        found += inside
    return found


def describe_caches(paths: Sequence[Path]) -> list[dict[str, object]]:
    """Return what each file holds and what it was made from, as flat facts.

    Raises:
        CacheError: If a file is missing or is not a finished embedding file.
    """
    return [_describe(path) for path in find_caches(paths)]


def verify_caches(paths: Sequence[Path], *, progress: Progress = SILENT) -> list[dict[str, object]]:
    """Re-read each file against its checksums.

    Returns:
        Per file `file`, `state` (`ok`, `damaged`, or `unreadable`) and `detail`; a bad file does not stop the others.
    """
    files = find_caches(paths)
    checks: list[dict[str, object]] = []
    progress.start("verifying", len(files), "files")
    for path in files:
        checks.append(_verify(path))
        progress.advance()
    progress.finish()
    return checks


def _describe(path: Path) -> dict[str, object]:
    with EmbeddingCache.open(path) as cache:
        aliases = [f"{alias} (= {name})" for alias, name in cache.aliases.items()]
        made_from = {name: value for name, value in cache.key.ingredients.items() if name != "architecture"}
        return {
            "file": str(path),
            "clips": len(cache),
            "rejected clips": len(cache.rejects),
            "layers": ", ".join([*cache.layer_names, *aliases]),
            "width": cache.width,
            "size_mb": round(path.stat().st_size / _MB, 1),
            "key": cache.key.digest,
            **made_from,
            **cache.attributes,
        }


def _verify(path: Path) -> dict[str, object]:
    try:
        with EmbeddingCache.open(path) as cache:
            faults = cache.verify()
            whole = f"{len(cache)} clips, {len(cache.layer_names)} layers"
    except CacheError as error:
        return {"file": str(path), "state": "unreadable", "detail": " ".join(str(error).split())}
    return {"file": str(path), "state": "damaged" if faults else "ok", "detail": "; ".join(faults) or whole}
