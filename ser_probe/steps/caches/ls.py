"""The verb `cache ls`: a line for every embedding file and every unfinished extraction."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.notes import read_noted_clips
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.shards import survey_shards
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_file import SchemaVersionError
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import CacheError
from ser_probe.steps.caches.files import SHARDS_SUFFIX, files_in, find_unfinished, size_of

COLUMNS = (
    "file", "state", "model", "checkpoint", "pooling", "layers", "clips", "width", "storage", "precision",
    "size", "created", "key",
)  # fmt: skip


def list_caches(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return a row for every file and every unfinished extraction; folders stand for what is in them.

    The `state` is `finished`, `unfinished`, `damaged` or `refused` (of a schema version that is not read); `error`
    says why of the last two. Nothing is changed on disk.

    Raises:
        CacheError: If a path does not exist.
    """
    named = [path for path in paths if not path.name.endswith(SHARDS_SUFFIX)]
    files = [file for path in named for file in (files_in(path) if path.is_dir() else [path])]
    unfinished = find_unfinished(paths)
    rows = []
    for path in sorted({*files, *unfinished}):
        if path.is_file():
            rows.append(_list_finished(path))
        elif path not in unfinished:
            raise CacheError("There is no embedding cache here", where=path, fix="name an existing file or folder")
        if path in unfinished:
            rows.append(_list_unfinished(path))
    return rows


def _list_finished(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"file": str(path), "size_bytes": path.stat().st_size}
    try:
        with EmbeddingCache.open(path) as cache:
            layout = Layout(cache.layer_names, cache.width, cache.aliases, cache.ragged)
            row |= {"state": "finished", **_describe(cache.key, layout, cache.attributes), "clips": len(cache)}
            row |= {"rejected": len(cache.rejects), "created_utc": cache.attributes.get("created_utc")}
    except CacheError as error:
        state = "refused" if isinstance(error, SchemaVersionError) else "damaged"
        row |= {"state": state, "error": error.what}
    return row


def _list_unfinished(path: Path) -> dict[str, Any]:
    folder = shards_folder(path)
    headers, n_damaged = survey_shards(path)
    wanted = {clip_id for note in read_noted_clips(path) for clip_id in note.table["clip_id"]}
    noted = next((note.attributes for note in read_noted_clips(path) if note.attributes), {})
    row: dict[str, Any] = {"file": str(path), "state": "unfinished", "size_bytes": size_of(folder)}
    if headers:
        row |= _describe(headers[0].key, headers[0].layout, noted)
    changed = datetime.datetime.fromtimestamp(folder.stat().st_mtime, datetime.UTC)
    return row | {
        "clips": len({clip_id for header in headers for clip_id in header.rows["clip_id"]}),
        "rejected": len({clip_id for header in headers for clip_id in header.rejects["clip_id"]}),
        "wanted": len(wanted) or None,
        "damaged_shards": n_damaged,
        "created_utc": changed.isoformat(timespec="seconds"),
    }


def _describe(key: CacheKey, layout: Layout, record: Any) -> dict[str, Any]:
    return {
        "kind": key.kind,
        "model": record.get("model"),
        "checkpoint": record.get("checkpoint"),
        "pooling": key.pooling,
        "ragged": layout.ragged,
        "layers": len(layout.layer_names),
        "width": layout.width,
        "storage": key.storage,
        "precision": key.precision,
        "key": key.digest,
    }
