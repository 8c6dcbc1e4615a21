"""The verbs `cache info` and `cache verify`: what embedding files hold, and whether they are what was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import CacheError
from ser_probe.runtime import SILENT, Progress


def describe_caches(files: Sequence[Path]) -> list[dict[str, object]]:
    """Return what each file holds, a value by name; folders stand for the files in them.

    Raises:
        CacheError: If a file cannot be read, or a folder holds none.
    """
    return [_describe(path) for path in _list_files(files)]


def _describe(path: Path) -> dict[str, object]:
    with EmbeddingCache.open(path) as cache:
        made = {name: value for name, value in cache.attributes.items() if name != "feature_names"}
        return {
            "file": str(path),
            "size": f"{path.stat().st_size / 2**20:.1f} MiB",
            "kind": cache.key.kind,
            "layers": " ".join(cache.layer_names),
            "aliases": " ".join(f"{name}={layer}" for name, layer in cache.aliases.items()),
            "clips": len(cache),
            "rejected clips": len(cache.rejects),
            "width": cache.width,
            "columns": " ".join(map(str, cache.clips.columns)),
            **made,
            "key": cache.key.digest,
            "key ingredients": cache.key.ingredients,
        }


def verify_caches(files: Sequence[Path], *, progress: Progress = SILENT) -> list[dict[str, object]]:
    """Read each file again against its checksums; a row a file with `state` ok or damaged, and what is wrong."""
    rows: list[dict[str, object]] = []
    paths = _list_files(files)
    progress.start("verify", len(paths), "files")
    for path in paths:
        try:
            with EmbeddingCache.open(path) as cache:
                faults = cache.verify()
                if not all(np.isfinite(cache.layer(name)).all() for name in cache.layer_names):
                    faults.append("some values are not finite")
                detail = "; ".join(faults) or f"{len(cache)} clips, {len(cache.layer_names)} layers"
        except CacheError as error:
            faults, detail = [error.what], str(error).replace("\n", ";")
        rows.append({"file": str(path), "state": "damaged" if faults else "ok", "detail": detail})
        progress.advance()
    progress.finish()
    return rows


def _list_files(files: Sequence[Path]) -> list[Path]:
    listed = []
    for path in files:
        found = sorted(path.glob("*.h5")) if path.is_dir() else [path]
        if not found:
            raise CacheError("The folder holds no embedding file", where=path, expected="*.h5")
        listed += found
    return listed
