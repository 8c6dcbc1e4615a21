"""Notes beside the shards: any worker can tell what is missing, and finish the cache without the manifest."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.embeddings import notes
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.notes import note_clips, note_unread, read_noted_clips, read_unread
from ser_probe.embeddings.partials import name_node, shards_folder
from ser_probe.embeddings.seal import missing_clips, seal
from ser_probe.embeddings.shards import Rows, ShardWriter, committed
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import CacheError
from tests.embeddings.conftest import N_CLIPS, Run
from tests.embeddings.contents import datasets
from tests.forked import Forked


def unread_clips(run: Run, *places: int) -> pd.DataFrame:
    return run.clips.iloc[list(places)][["clip_id", "path"]].assign(reason="the disk was away")


def test_one_table_is_one_note_and_reads_back(run: Run) -> None:
    odd = run.clips.assign(**{"": "x", "a/b": pd.array([1, None] * 6, "Int64")})
    first = note_clips(run.path, odd, {"model": "tiny", "step": 50})
    assert note_clips(run.path, pd.concat([odd, odd.head(2)])) == first, "a clip named twice is one clip"
    other = note_clips(run.path, run.clips.head(3))
    assert other != first
    assert sorted(file.name for file in shards_folder(run.path).iterdir()) == sorted([first.name, other.name])
    by_name = {note.file: note for note in read_noted_clips(run.path)}
    assert by_name[other].table["clip_id"].tolist() == run.ids[:3]
    note_clips(run.path, odd, {"model": "tiny", "step": 50})
    (note,) = [note for note in read_noted_clips(run.path) if note.file == first]
    assert note.attributes == {"model": "tiny", "step": 50}
    assert note.table[["clip_id", "path", "label"]].equals(run.clips[["clip_id", "path", "label"]])
    np.testing.assert_array_equal(note.table["arousal"], run.clips["arousal"])


def test_sealing_from_a_note_equals_sealing_from_the_manifest(run: Run) -> None:
    direct = run.at(run.path.with_name("direct.h5"))
    for each in (run, direct):
        each.commit(range(6), range(6, 12))
    note_clips(run.path, run.clips)
    (note,) = read_noted_clips(run.path)
    seal(run.path, run.key, note.table)
    seal(direct.path, direct.key, direct.clips)
    assert datasets(run.path) == datasets(direct.path)
    assert sorted(file.name for file in run.path.parent.iterdir()) == ["direct.h5", "x.h5"]


def test_missing_clips_are_those_nobody_accounts_for(run: Run) -> None:
    assert missing_clips(run.path, run.key, run.clips) == run.ids
    run.commit([0, 1])
    seal(run.path, run.key, run.clips.iloc[:2])
    with run.writer() as writer:
        writer.add(run.rows([2]))
        writer.reject(run.ids[3], "3.wav", "only zeros")
    note_unread(run.path, "1-of-2", unread_clips(run, 4))
    note_unread(run.path, "2-of-2", unread_clips(run, 5, 4))
    twice = pd.concat([run.clips, run.clips.tail(1)])
    assert missing_clips(run.path, run.key, twice) == run.ids[6:]
    note_unread(run.path, "2-of-2", None)
    assert missing_clips(run.path, run.key, run.clips) == run.ids[5:]
    note_unread(run.path, "1-of-2", unread_clips(run))
    assert missing_clips(run.path, run.key, run.clips) == run.ids[4:]


def test_forgetting_what_was_never_noted_makes_no_folder(run: Run) -> None:
    note_unread(run.path, "1-of-1", None)
    assert not shards_folder(run.path).exists()
    assert read_unread(run.path).empty


def test_unread_clips_are_no_part_of_the_file_and_are_recorded(run: Run) -> None:
    note_clips(run.path, run.clips)
    run.commit(range(10))
    note_unread(run.path, "1-of-1", unread_clips(run, 10, 11, 0))
    outcome = seal(run.path, run.key, run.clips)
    assert (outcome.n_clips, outcome.n_unread, outcome.n_rejects) == (10, 2, 0)
    assert [file.name for file in run.path.parent.iterdir()] == ["x.h5"], "notes vanish with the shards"
    with EmbeddingCache.open(run.path) as cache:
        assert {each["clip_id"] for each in cache.attributes["unread"]} == set(run.ids[10:])
        assert len(cache) == 10
    assert set(committed(run.path, run.key).clips) == set(run.ids[:10]), "the next run tries them again"
    run.commit([10, 11])
    assert seal(run.path, run.key, run.clips).n_unread == 0
    with EmbeddingCache.open(run.path) as cache:
        assert "unread" not in cache.attributes
        assert len(cache) == N_CLIPS


def test_a_worker_that_comes_second_finds_the_work_done_although_the_notes_are_gone(run: Run) -> None:
    run.commit(range(11))
    note_unread(run.path, "1-of-2", unread_clips(run, 11))
    assert missing_clips(run.path, run.key, run.clips) == []
    assert seal(run.path, run.key, run.clips, {"device": "cpu"}).written
    before = run.path.read_bytes()
    assert missing_clips(run.path, run.key, run.clips) == []
    assert not seal(run.path, run.key, run.clips, {"device": "cuda"}).written
    assert run.path.read_bytes() == before


def work(path: Path, key: CacheKey, worker: int, n_workers: int, n_clips: int) -> None:
    """Commit every third clip but the first, which cannot be read, and finish the file if none is missing."""
    ids = [f"{clip:032x}" for clip in range(n_clips)]
    clips = pd.DataFrame({"clip_id": ids, "path": ids})
    note_clips(path, clips)
    note_unread(path, str(worker), None)
    mine = range(worker, n_clips, n_workers)
    with ShardWriter(path, key, Layout(("0",), 2), seconds_per_shard=0) as writer:
        for clip in mine[1:]:
            writer.add(Rows([ids[clip]], np.full((1, 1, 2), clip, np.float32), [1], [1.0]))
    note_unread(path, str(worker), clips.iloc[[mine[0]]].assign(reason="away"))
    complete = not missing_clips(path, key, clips)
    print(complete)
    if complete:
        seal(path, key, clips)


def test_workers_that_finish_at_the_same_moment_leave_one_whole_file(run: Run, tmp_path: Path) -> None:
    n_workers, n_clips = 3, 24
    for trial in range(3):
        path = run.path.with_name(f"{trial}.h5")
        workers = [
            Forked(partial(work, path, run.key, worker, n_workers, n_clips), tmp_path) for worker in range(n_workers)
        ]
        assert [worker.wait() for worker in workers] == [0] * n_workers
        said = [worker.out.strip() for worker in workers]
        assert "True" in said
        with EmbeddingCache.open(path) as cache:
            assert cache.clip_ids == [f"{clip:032x}" for clip in range(n_workers, n_clips)]
            assert cache.layer("0")[:, 0].tolist() == list(range(n_workers, n_clips))
            assert len(cache.attributes["unread"]) == n_workers
            assert cache.verify() == []
        assert not shards_folder(path).exists()


def test_the_note_of_a_larger_manifest_outlives_the_sealing_of_a_smaller_one(run: Run) -> None:
    larger, smaller = note_clips(run.path, run.clips), note_clips(run.path, run.clips.head(4))
    run.commit(range(4))
    note_unread(run.path, "1-of-2", unread_clips(run, 5))
    seal(run.path, run.key, run.clips.head(4))
    assert larger.exists()
    assert not smaller.exists()
    assert set(read_unread(run.path)["clip_id"]) == {run.ids[5]}
    run.commit([4, *range(6, 12)])
    seal(run.path, run.key, run.clips)
    assert not shards_folder(run.path).exists()


def test_missing_clips_may_be_allowed(run: Run) -> None:
    note_clips(run.path, run.clips)
    run.commit(range(4))
    with pytest.raises(CacheError, match="8 of 12 clips are not computed yet"):
        seal(run.path, run.key, run.clips)
    assert seal(run.path, run.key, run.clips, allow_missing=True).n_clips == 4
    assert len(read_noted_clips(run.path)) == 1, "the note stays until its clips are all there"


def test_a_note_that_was_changed_does_not_count(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    note = note_clips(run.path, run.clips)
    table = pd.read_parquet(note)
    table.assign(label="joy").to_parquet(note, index=False)
    note_unread(run.path, "one", unread_clips(run, 1))
    unread = note.with_name("unread-one.json")
    for content in ('{"clip_id": 1}', '[{"clip_id": "a", "path": 3, "reason": "r"}]', "[" * 100_000):
        unread.write_text(content)
        assert read_unread(run.path).empty
    assert read_noted_clips(run.path) == []
    for message in ("The note is not what was written", "lists no clips", "entry 0.path is 3", "nested more than"):
        assert message in caplog.text


def test_a_note_that_cannot_be_read_does_not_count(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    note_clips(run.path, run.clips)
    note_unread(run.path, "a b/c", unread_clips(run, 1))
    for file in shards_folder(run.path).iterdir():
        file.write_bytes(b"torn")
    assert read_noted_clips(run.path) == []
    assert read_unread(run.path).empty
    assert caplog.text.count("A note is damaged and does not count") == 2
    run.commit(range(N_CLIPS))
    seal(run.path, run.key, run.clips)


def test_notes_left_by_dead_writers_go(run: Run) -> None:
    note_clips(run.path, run.clips)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [
        f".{stem}-{name_node()}-{pid}-0123456789ab.{pid}.partial.{suffix}"
        for pid in (dead.pid, os.getpid())
        for stem, suffix in (("clips-0123456789abcdef", "parquet"), ("unread-1-of-2", "json"))
    ]
    for name in names:
        (shards_folder(run.path) / name).write_bytes(b"half")
    committed(run.path, run.key)
    assert [(shards_folder(run.path) / name).exists() for name in names] == [False, False, True, True]


def test_note_is_written_although_a_sealer_removes_the_empty_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, calls = notes.fsync_path, []

    def removed_once(path: Path) -> None:
        calls.append(path)
        if len(calls) == 1:
            path.unlink()
            path.parent.rmdir()
        fsync(path)

    monkeypatch.setattr(notes, "fsync_path", removed_once)
    assert note_clips(run.path, run.clips).is_file()
    monkeypatch.setattr(notes, "fsync_path", lambda path: fsync(path.with_name("gone")))
    with pytest.raises(FileNotFoundError, match="No such file"):
        note_clips(run.path, run.clips)


def test_a_full_disk_is_said_and_leaves_no_note(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(notes, "fsync_path", fail)
    with pytest.raises(CacheError, match=r"(?s)The disk is full.*free some space and run the same command again"):
        note_clips(run.path, run.clips)
    assert list(shards_folder(run.path).iterdir()) == []
