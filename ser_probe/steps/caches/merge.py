"""The verb `cache merge`: shards that are all there become the finished file, without the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.notes import read_noted_clips
from ser_probe.embeddings.seal import IncompleteCacheError, missing_clips, seal
from ser_probe.embeddings.shards import survey_shards
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import CacheError
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.caches.files import find_unfinished


def merge_caches(
    paths: Sequence[Path], *, allow_missing: bool = False, progress: Progress = SILENT
) -> list[dict[str, Any]]:
    """Finish extractions whose clips are all computed.

    Args:
        paths: Finished files to be (`x.h5`), their shards' folders, or folders of them.
        allow_missing: Whether to finish with what there is.
        progress: Told of files.

    Returns:
        A row a file: `file`, `state` (merged, finished already, or incomplete), `clips`, `new`, `rejected`,
        `unread`, `detail`.

    Raises:
        CacheError: If there is nothing of that name, or files are damaged or of several keys, or the disk is full.
    """
    rows = []
    unfinished = find_unfinished(paths)
    finished = [path for path in paths if path.is_file() and path not in unfinished]
    for path in paths:
        if not path.exists() and path not in unfinished:
            raise CacheError("There are no shards to merge", where=path, fix="name the file that the run was to write")
    progress.start("merge", len(finished) + len(unfinished), "files")
    for path in finished:
        with EmbeddingCache.open(path) as cache:
            rows.append({"file": str(path), "state": "finished already", "clips": len(cache), "new": 0})
        progress.advance()
    for path in unfinished:
        rows.append(_merge(path, allow_missing))
        progress.advance()
    progress.finish()
    return rows


def _merge(path: Path, allow_missing: bool) -> dict[str, Any]:
    noted = read_noted_clips(path)
    key = _find_key(path)
    tables = [note.table for note in noted]
    if not tables and not allow_missing:
        return {
            "file": str(path),
            "state": "incomplete",
            "detail": "the shards do not say which clips the cache is to hold; run the extraction again to finish it, "
            "or take what there is with --allow-missing",
        }
    clips = pd.concat([pd.DataFrame(columns=["clip_id", "path"]), *tables], ignore_index=True)
    clips = clips.drop_duplicates("clip_id")
    record = {name: value for note in noted for name, value in note.attributes.items()}
    try:
        sealed = seal(path, key, clips, record, allow_missing=allow_missing)
    except IncompleteCacheError as error:
        return {"file": str(path), "state": "incomplete", "detail": f"{error.what}: {error.found}"}
    n_missing = len(missing_clips(path, key, clips))
    return {
        "file": str(path),
        "state": "merged",
        "clips": sealed.n_clips,
        "new": sealed.n_new,
        "rejected": sealed.n_rejects,
        "unread": sealed.n_unread,
        "detail": f"{n_missing} clips are still missing" if n_missing else "",
    }


def _find_key(path: Path) -> CacheKey:
    """Return the key of the shards, or of the file that they would complete."""
    headers, n_damaged = survey_shards(path)
    if headers:
        return headers[0].key
    if not path.is_file():
        raise CacheError(
            "There is no shard to merge",
            where=path,
            found=f"{n_damaged} damaged shards" if n_damaged else None,
            fix="run the extraction again",
        )
    with EmbeddingCache.open(path) as cache:
        return cache.key
