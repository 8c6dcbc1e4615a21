"""Merging shards into the finished file without the manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.notes import note_clips, note_unread
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import CacheError
from ser_probe.steps.caches.merge import merge_caches

KEY = CacheKey("embeddings", "0" * 64, {}, {}, {}, "mean", "fp32", 1)
LAYOUT = Layout(("0", "1"), 4)
Commit = Callable[[Path, int, int], None]


@pytest.fixture
def commit(clips: pd.DataFrame) -> Commit:
    """Commit clips `low` to `high`, as one worker would; a clip's values are its number."""

    def write(path: Path, low: int, high: int) -> None:
        values = np.broadcast_to(np.arange(low, high, dtype=np.float32)[None, :, None], (2, high - low, 4))
        with ShardWriter(path, KEY, LAYOUT) as writer:
            n = high - low
            writer.add(Rows(clips["clip_id"].tolist()[low:high], values, [50] * n, [1.0] * n))

    return write


def test_shards_of_several_workers_become_the_file(tmp_path: Path, clips: pd.DataFrame, commit: Commit) -> None:
    paths = [tmp_path / name for name in ("a.h5", "b.h5", "c.h5")]
    for path, how in zip(paths[:2], (((0, 40), (40, 71)), ((20, 72), (0, 20))), strict=True):
        note_clips(path, clips, {"model": "tiny", "step": 2})
        for low, high in how:
            commit(path, low, high)
    note_unread(paths[0], "2-of-2", clips.iloc[[71]][["clip_id", "path"]].assign(reason="away"))
    commit(paths[2], 0, 5)
    seal(paths[2], KEY, clips.head(5))
    rows = {Path(row["file"]).name: row for row in merge_caches([*paths])}
    assert {name: row["state"] for name, row in rows.items()} == {
        "a.h5": "merged", "b.h5": "merged", "c.h5": "finished already",
    }  # fmt: skip
    assert [(row["clips"], row.get("unread", 0)) for row in rows.values()] == [(5, 0), (71, 1), (72, 0)]
    for path, n in zip(paths[:2], (71, 72), strict=True):
        assert not shards_folder(path).exists()
        with EmbeddingCache.open(path, KEY) as cache:
            assert cache.clips["label"].tolist() == clips["label"].tolist()[:n]
            assert cache.layer("1")[:, 0].tolist() == list(range(n))
            assert (cache.attributes["model"], cache.attributes["step"]) == ("tiny", 2)


def test_an_incomplete_extraction_is_refused_with_number_and_clips(
    tmp_path: Path, clips: pd.DataFrame, commit: Commit
) -> None:
    path = tmp_path / "a.h5"
    note_clips(path, clips)
    commit(path, 0, 70)
    (row,) = merge_caches([tmp_path])
    assert row["state"] == "incomplete"
    missing = ", ".join(clips["clip_id"][70:])
    assert row["detail"] == f"2 of 72 clips are not computed yet, so the cache cannot be finished: missing {missing}"
    assert not path.exists()
    (row,) = merge_caches([shards_folder(path)], allow_missing=True)
    assert (row["state"], row["clips"], row["detail"]) == ("merged", 70, "2 clips are still missing")
    commit(path, 70, 72)
    (row,) = merge_caches([path])
    assert (row["state"], row["clips"], row["new"], row["detail"]) == ("merged", 72, 2, "")
    assert not shards_folder(path).exists()


def test_shards_without_a_clip_table_are_merged_only_on_request(tmp_path: Path, commit: Commit) -> None:
    path = tmp_path / "a.h5"
    commit(path, 0, 7)
    (row,) = merge_caches([path])
    assert (row["state"], "--allow-missing" in row["detail"]) == ("incomplete", True)
    (row,) = merge_caches([path], allow_missing=True)
    assert (row["state"], row["clips"]) == ("merged", 7)


def test_notes_left_beside_a_finished_file_are_cleared(tmp_path: Path, clips: pd.DataFrame, commit: Commit) -> None:
    path = tmp_path / "a.h5"
    commit(path, 0, 72)
    seal(path, KEY, clips)
    note_clips(path, clips)
    (row,) = merge_caches([path])
    assert (row["state"], row["new"]) == ("merged", 0)
    assert not shards_folder(path).exists()


def test_nothing_to_merge(tmp_path: Path, clips: pd.DataFrame) -> None:
    with pytest.raises(CacheError, match="There are no shards to merge"):
        merge_caches([tmp_path / "none.h5"])
    note_clips(tmp_path / "a.h5", clips)
    (shards_folder(tmp_path / "a.h5") / "shard-torn.h5").write_bytes(b"torn")
    with pytest.raises(CacheError, match=r"(?s)There is no shard to merge.*1 damaged shards"):
        merge_caches([tmp_path / "a.h5"])
