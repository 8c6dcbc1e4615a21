from __future__ import annotations

import errno
import fcntl
import itertools
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ser_probe.embeddings import seal as seal_module
from ser_probe.embeddings import store_file
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.seal import keep_clips, missing_clips, seal, update_attributes
from ser_probe.embeddings.shards import Rows, ShardWriter, committed
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Layout
from ser_probe.embeddings.store_stamp import DamagedCacheError
from ser_probe.errors import CacheError
from tests.embeddings.conftest import N_CLIPS, Run
from tests.embeddings.contents import datasets
from tests.forked import Forked

EVERYTHING = range(N_CLIPS)


def left_beside(run: Run) -> list[str]:
    return sorted(file.name for file in run.path.parent.iterdir())


def test_sealed_file_holds_the_values_in_the_manifests_order(run: Run) -> None:
    run.commit([5, 7, 6], [11, 0, 1, 2, 3, 4], [8, 10, 9])
    names = [f"feature {place}" for place in range(run.layout.width)]
    outcome = seal(run.path, run.key, run.clips, {"device": "cpu", "feature_names": names})
    assert (outcome.n_clips, outcome.n_new, outcome.n_rejects, outcome.written) == (N_CLIPS, N_CLIPS, 0, True)
    assert left_beside(run) == ["x.h5"]
    with EmbeddingCache.open(run.path, run.key) as cache:
        np.testing.assert_array_equal(cache.array, run.values)
        assert cache.clip_ids == run.ids
        assert cache.clips["n_frames"].tolist() == [10 * place for place in EVERYTHING]
        pd.testing.assert_frame_equal(
            cache.clips[list(run.clips)].astype(object), run.clips.astype(object), check_dtype=False
        )
        assert cache.attributes["device"] == "cpu"
        assert cache.attributes["feature_names"] == names
        assert "h5py" in cache.attributes["packages"]
        assert cache.verify() == []


# Few: test_ragged tries the same with other blocks and reads.
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations(EVERYTHING),
    st.lists(st.integers(1, N_CLIPS - 1), max_size=4),
    st.sets(st.integers(0, N_CLIPS - 1), max_size=3),
)
def test_datasets_depend_on_the_content_alone(run: Run, order: list[int], cuts: list[int], repeated: set[int]) -> None:
    """However the clips came to disk, in how many runs, and some of them twice: the file is the same."""
    borders = [0, *sorted(set(cuts)), N_CLIPS]
    batches = [order[low:high] for low, high in itertools.pairwise(borders)]
    with tempfile.TemporaryDirectory() as folder:
        whole, pieces = run.at(Path(folder) / "whole.h5"), run.at(Path(folder) / "pieces.h5")
        whole.commit(EVERYTHING)
        for batch in batches:
            pieces.commit(batch)
        pieces.commit(sorted(repeated)) if repeated else None
        for each in (whole, pieces):
            seal(each.path, each.key, run.clips)
        assert datasets(whole.path) == datasets(pieces.path)


def test_sealing_again_changes_nothing(run: Run) -> None:
    run.commit(EVERYTHING)
    seal(run.path, run.key, run.clips)
    before = run.path.stat()
    outcome = seal(run.path, run.key, run.clips)
    assert not outcome.written
    assert outcome.n_new == 0
    assert (run.path.stat().st_ino, run.path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_larger_manifest_keeps_the_places_of_clips_already_there(run: Run) -> None:
    run.commit([4, 2, 6])
    seal(run.path, run.key, run.clips.iloc[[4, 2, 6]], {"device": "cuda", "note": "first"})
    run.commit([n for n in EVERYTHING if n not in (4, 2, 6)])
    outcome = seal(run.path, run.key, run.clips, {"device": "cpu"})
    assert (outcome.n_clips, outcome.n_new) == (N_CLIPS, N_CLIPS - 3)
    order = [4, 2, 6, *(n for n in EVERYTHING if n not in (4, 2, 6))]
    with EmbeddingCache.open(run.path) as cache:
        assert cache.clip_ids == [run.ids[n] for n in order]
        np.testing.assert_array_equal(cache.array, run.values[:, order])
        np.testing.assert_array_equal(cache.layer("1", run.ids), run.values[1])
        assert (cache.attributes["device"], cache.attributes["note"]) == ("cpu", "first")


def test_changed_manifest_columns_are_rewritten_and_those_of_other_manifests_stay(run: Run) -> None:
    run.commit(EVERYTHING)
    seal(run.path, run.key, run.clips)
    later = run.clips.iloc[:3].drop(columns="arousal").assign(label="calm", age=[31, 32, 33])
    outcome = seal(run.path, run.key, later)
    assert outcome.written
    assert outcome.n_new == 0
    with EmbeddingCache.open(run.path) as cache:
        np.testing.assert_array_equal(cache.array, run.values)
        assert cache.clips["label"].tolist() == ["calm"] * 3 + run.clips["label"].tolist()[3:]
        np.testing.assert_array_equal(cache.clips["arousal"], run.clips["arousal"])
        np.testing.assert_array_equal(cache.clips["age"], [31, 32, 33] + [np.nan] * (N_CLIPS - 3))
    assert not seal(run.path, run.key, later).written


def test_columns_of_any_kind_and_name_are_kept(run: Run) -> None:
    run.commit(EVERYTHING)
    odd = {
        "a/b": 1,
        "a%2Fb": "ü",
        ".": True,
        "": "x",
        "nul": "a\0b",
        "none": None,
        "n": pd.array([1, None] * 6, "Int64"),
    }
    clips = run.clips.assign(**odd, kind=pd.Categorical(["one", "two"] * 6))
    assert seal(run.path, run.key, clips).written
    assert not seal(run.path, run.key, clips).written
    with EmbeddingCache.open(run.path) as cache:
        last = cache.clips.iloc[-1]
    assert [last[name] for name in odd if name != "n"] == [1.0, "ü", 1.0, "x", "a\ufffdb", ""]
    assert np.isnan(last["n"])
    assert last["kind"] == "two"


def test_identical_audio_under_two_names_is_one_row(run: Run) -> None:
    run.commit(EVERYTHING)
    twice = pd.concat([run.clips, run.clips.iloc[[0]].assign(path="copy.wav")], ignore_index=True)
    assert seal(run.path, run.key, twice).n_clips == N_CLIPS
    with EmbeddingCache.open(run.path) as cache:
        assert cache.clips["path"][0] == run.clips["path"][0]
        assert cache.positions(run.ids).tolist() == list(EVERYTHING)


def test_clips_of_another_manifest_come_last(run: Run) -> None:
    run.commit([9, 8, 3], [1])
    seal(run.path, run.key, run.clips.iloc[[8, 1]])
    with EmbeddingCache.open(run.path) as cache:
        assert cache.clip_ids == [run.ids[8], run.ids[1], *sorted([run.ids[9], run.ids[3]])]
        assert cache.clips["path"].tolist()[2:] == ["", ""]


def test_rejects_are_kept_in_the_manifests_order(run: Run) -> None:
    with run.writer() as writer:
        writer.add(run.rows(range(8)))
        for place in (11, 9, 10, 8):
            writer.reject(run.ids[place], f"{place}.wav", "only zeros")
    assert seal(run.path, run.key, run.clips).n_rejects == 4
    assert not seal(run.path, run.key, run.clips).written
    with EmbeddingCache.open(run.path) as cache:
        assert cache.rejects["path"].tolist() == ["8.wav", "9.wav", "10.wav", "11.wav"]
        assert len(cache) == 8
    done = committed(run.path, run.key)
    assert done.rejects[run.ids[9]] == "only zeros"
    assert len(done) == N_CLIPS


def test_an_incomplete_extraction_is_not_sealed(run: Run) -> None:
    run.commit(range(10))
    with pytest.raises(CacheError, match=rf"(?s)2 of 12 clips are not computed yet.*{run.ids[10]}, {run.ids[11]}"):
        seal(run.path, run.key, run.clips)
    assert not run.path.exists()
    assert len(committed(run.path, run.key)) == 10


def test_nothing_but_rejects_is_not_sealed(run: Run) -> None:
    with run.writer() as writer:
        writer.reject(run.ids[0], "0.wav", "only zeros")
    with pytest.raises(CacheError, match=r"(?s)No clip could be embedded.*1 rejected clips: only zeros, such as 0.wav"):
        seal(run.path, run.key, run.clips.iloc[:1])
    with pytest.raises(CacheError, match=r"(?s)No clip could be embedded.*0 rejected"):
        seal(run.path.with_name("none.h5"), run.key, run.clips.iloc[:0])


def test_the_most_common_reason_is_told(run: Run) -> None:
    reasons = ["too short", "only zeros", "too short", "only zeros", "only zeros"]
    with run.writer() as writer:
        for row, reason in enumerate(reasons):
            writer.reject(run.ids[row], f"{row}.wav", reason)
    expected = r"(?s)5 rejected clips, 3 of them: only zeros, such as 1\.wav"
    with pytest.raises(CacheError, match=expected):
        seal(run.path, run.key, run.clips.iloc[:5])


def test_clips_can_be_removed_from_a_finished_file(run: Run) -> None:
    run.commit([row for row in EVERYTHING if row != 4])
    with run.writer() as writer:
        writer.reject(run.ids[4], "4.wav", "only zeros")
    seal(run.path, run.key, run.clips)
    with EmbeddingCache.open(run.path) as cache:
        expected = {name: cache.layer(name, [run.ids[7], run.ids[2]]) for name in cache.layer_names}
        order = [clip_id for clip_id in cache.clip_ids if clip_id in (run.ids[2], run.ids[7])]
    assert keep_clips(run.path, set(run.ids)) == 0
    assert keep_clips(run.path, {run.ids[2], run.ids[7], "of no clip"}) == len(EVERYTHING) - 3
    with EmbeddingCache.open(run.path, run.key) as cache:
        assert cache.clip_ids == order
        assert cache.rejects.empty
        for name, values in expected.items():
            np.testing.assert_array_equal(cache.layer(name, [run.ids[7], run.ids[2]]), values)
    # What was removed is no part of it any more, and can come back.
    assert len(missing_clips(run.path, run.key, run.clips)) == len(EVERYTHING) - 2
    before = run.path.read_bytes()
    with pytest.raises(CacheError, match="None of the clips to keep is in the file"):
        keep_clips(run.path, {"of no clip"})
    assert run.path.read_bytes() == before


def test_another_key_is_refused_and_the_file_stays(run: Run) -> None:
    run.commit(EVERYTHING)
    seal(run.path, run.key, run.clips)
    before = run.path.read_bytes()
    other = CacheKey(**{**run.key.ingredients, "weights": "00"})
    with pytest.raises(CacheError, match="the model's weights: 5e"):
        seal(run.path, other, run.clips)
    assert run.path.read_bytes() == before


def test_files_of_one_key_with_other_layers_are_refused(run: Run) -> None:
    run.commit([0])
    with ShardWriter(run.path, run.key, Layout(("a", "b", "c"), run.layout.width)) as writer:
        writer.add(run.rows([1]))
    with pytest.raises(CacheError, match="one key have different layers"):
        seal(run.path, run.key, run.clips.iloc[:2])


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("after_s", [0, 3600])
def test_a_finished_file_that_was_altered_since_is_not_taken_for_complete(run: Run, after_s: int) -> None:
    """Its time of modification says when to look; readers look in any case."""
    run.commit(EVERYTHING)
    seal(run.path, run.key, run.clips)
    with h5py.File(run.path, "r") as file:
        place = file["embeddings"].id.get_offset()
    with run.path.open("r+b") as stream:
        stream.seek(place)
        first = stream.read(4)
        stream.seek(place)
        stream.write(bytes(byte ^ 1 for byte in first))
    made_s = run.path.stat().st_mtime
    os.utime(run.path, (made_s + after_s, made_s + after_s))
    if not after_s:
        assert not seal(run.path, run.key, run.clips).written
        return
    with pytest.raises(DamagedCacheError, match=r"not what was written[\s\S]*layer \S+ is not[\s\S]*cache verify"):
        seal(run.path, run.key, run.clips)


def test_a_copied_file_is_complete(run: Run) -> None:
    run.commit(EVERYTHING)
    seal(run.path, run.key, run.clips)
    later_s = run.path.stat().st_mtime + 3600
    os.utime(run.path, (later_s, later_s))
    assert not seal(run.path, run.key, run.clips).written
    assert run.path.stat().st_mtime == later_s


def test_shard_that_changed_on_disk_is_not_merged_but_computed_again(run: Run) -> None:
    run.commit(range(6), range(6, 12))
    shard = committed(run.path, run.key).clips[run.ids[0]]
    flip(shard, shard.read_bytes().index(run.values[1, 3].tobytes()))
    with pytest.raises(DamagedCacheError, match=r"(?s)not what was written.*run the extraction again"):
        seal(run.path, run.key, run.clips)
    assert left_beside(run) == ["x.h5.shards"]
    assert set(committed(run.path, run.key).clips) == set(run.ids[6:])
    run.commit(range(6))
    assert seal(run.path, run.key, run.clips).written
    assert list(shards_folder(run.path).glob("*.damaged"))


def test_finished_file_that_changed_on_disk_is_not_passed_on(run: Run) -> None:
    run.commit(range(6))
    seal(run.path, run.key, run.clips.iloc[:6])
    flip(run.path, run.path.read_bytes().index(run.values[1, 3].tobytes()))
    run.commit(range(6, 12))
    with pytest.raises(DamagedCacheError, match=r"(?s)not what was written.*delete the file and extract again"):
        seal(run.path, run.key, run.clips)
    assert len(committed(run.path, run.key)) == N_CLIPS


def sealing(run: Run, before: Callable[[], object] = list) -> Forked:
    """Seal in a process of its own, after something else."""

    def work() -> None:
        before()
        try:
            seal(run.path, run.key, run.clips)
        except CacheError as error:
            limit_files(resource.RLIM_INFINITY)  # what it prints has a length too
            print(error)
            sys.exit(1)

    return Forked(work, run.path.parents[1])


def limit_files(n_bytes: int) -> None:
    """Let writing fail where a file becomes larger, as it does on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))


def kill_before() -> None:
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)


def kill_after() -> None:
    replace = os.replace
    os.replace = lambda *names: (replace(*names), os.kill(os.getpid(), signal.SIGKILL))


@pytest.mark.parametrize(("kill", "sealed"), [(kill_before, range(6)), (kill_after, EVERYTHING)])
def test_killed_sealing_leaves_one_whole_file_and_is_completed_later(
    run: Run, kill: Callable[[], None], sealed: range
) -> None:
    run.commit(range(6))
    seal(run.path, run.key, run.clips.iloc[:6])
    run.commit(range(6, 12))
    assert sealing(run, kill).wait() == -signal.SIGKILL
    with EmbeddingCache.open(run.path) as cache:
        assert cache.clip_ids == [run.ids[place] for place in sealed]
        assert cache.verify() == []
    assert len(committed(run.path, run.key)) == N_CLIPS
    seal(run.path, run.key, run.clips)
    assert left_beside(run) == ["x.h5"]
    with EmbeddingCache.open(run.path) as cache:
        np.testing.assert_array_equal(cache.array, run.values)


@pytest.mark.parametrize("limit_bytes", [1, 3000])
def test_full_disk_while_sealing_leaves_the_shards_and_no_partial_file(run: Run, limit_bytes: int) -> None:
    run.commit(EVERYTHING)
    done = sealing(run, lambda: limit_files(limit_bytes))
    assert done.wait() == 1, done.errors
    assert "The disk is full" in done.out
    assert "the shards are complete and nothing is computed again" in done.out
    assert left_beside(run) == ["x.h5.shards"]
    seal(run.path, run.key, run.clips)
    with EmbeddingCache.open(run.path) as cache:
        np.testing.assert_array_equal(cache.array, run.values)


def test_full_disk_while_adding_attributes_leaves_the_finished_file_as_it_was(run: Run) -> None:
    run.commit(EVERYTHING)
    seal(run.path, run.key, run.clips)
    before = run.path.read_bytes()

    def update() -> None:
        limit_files(3000)
        try:
            update_attributes(run.path, {"verify_error": 0.0})
        except CacheError as error:
            limit_files(resource.RLIM_INFINITY)
            raise SystemExit(str(error)) from None

    done = Forked(update, run.path.parents[1])
    assert done.wait() == 1
    assert done.errors.startswith("The disk is full")
    assert f"{run.values.nbytes / 1e6:.1f} MB for the new file" in done.errors
    assert "run the same command again: the finished file is as it was" in done.errors
    assert left_beside(run) == ["x.h5"]
    assert run.path.read_bytes() == before


def test_a_file_too_large_for_the_disk_is_not_even_begun(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.commit(EVERYTHING)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    monkeypatch.setattr(store_file, "write_file", lambda *_: pytest.fail("it was begun"))
    with pytest.raises(CacheError, match=r"(?s)The disk is full.*0\.0 MB for the new file.*0\.0 MB free"):
        seal(run.path, run.key, run.clips)


def test_a_fault_of_hdf5_is_not_called_a_fault_of_the_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no conversion path")

    run.commit(EVERYTHING)
    monkeypatch.setattr(store_file, "write_file", fail)
    with pytest.raises(OSError, match="no conversion path"):
        seal(run.path, run.key, run.clips)


def test_a_folder_that_cannot_be_written_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(seal_module, "_lock", fail)
    with pytest.raises(CacheError, match=r"(?s)cannot be written.*Read-only file system"):
        seal(run.path, run.key, run.clips)


def test_several_processes_seal_side_by_side_and_lose_nothing(run: Run) -> None:
    """Each writes its own part and seals at once; the lock keeps one from undoing what another has merged."""

    def part(first: int) -> None:
        for clip in range(first, first + 8):
            with ShardWriter(run.path, run.key, Layout(("0",), 2)) as writer:
                writer.add(Rows([f"{clip:032x}"], np.full((1, 1, 2), clip, np.float32), [1], [1.0]))
            seal(run.path, run.key, pd.DataFrame({"clip_id": [f"{clip:032x}"], "path": ["x"]}))

    processes = [Forked(partial(part, 8 * n), run.path.parents[1]) for n in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert left_beside(run) == ["x.h5"]
    with EmbeddingCache.open(run.path) as cache:
        assert sorted(cache.clip_ids) == [f"{clip:032x}" for clip in range(24)]
        assert cache.layer("0")[:, 0].tolist() == [int(clip_id, 16) for clip_id in cache.clip_ids]
        assert cache.verify() == []


def test_sealer_waits_for_the_one_at_work(run: Run) -> None:
    run.commit(EVERYTHING)
    holder = os.open(shards_folder(run.path) / "seal.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    # The child closes its copy of the holder, which would keep the lock after this one is closed.
    process = sealing(run, lambda: os.close(holder))
    try:
        with pytest.raises(TimeoutError):
            process.wait(timeout_s=1)
        assert not run.path.exists()
    finally:
        os.close(holder)
    assert process.wait() == 0
    assert len(EmbeddingCache.open(run.path)) == N_CLIPS


def test_a_disk_without_locks_is_warned_about(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    run.commit(EVERYTHING)
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert seal(run.path, run.key, run.clips).written
    assert "has no file locks" in caplog.text


def test_leftovers_of_killed_sealers_go_and_other_files_stay(run: Run) -> None:
    run.commit(EVERYTHING)
    names = [".x.123.partial.h5", ".x.y.123.partial.h5", ".xx.123.partial.h5"]
    for name in names:
        (run.path.parent / name).write_bytes(b"half")
    seal(run.path, run.key, run.clips)
    assert left_beside(run) == [".x.y.123.partial.h5", ".xx.123.partial.h5", "x.h5"]


def test_attributes_are_added_in_one_step_and_the_rest_stays(run: Run) -> None:
    run.commit(EVERYTHING)
    seal(run.path, run.key, run.clips, {"device": "cpu"})
    before = datasets(run.path)
    update_attributes(run.path, {"verify_error": 3e-7})
    assert datasets(run.path) == before
    with EmbeddingCache.open(run.path) as cache:
        assert (cache.attributes["device"], cache.attributes["verify_error"]) == ("cpu", 3e-7)


def test_attributes_of_a_missing_file_cannot_be_added(run: Run) -> None:
    with pytest.raises(CacheError, match="no embedding cache here"):
        update_attributes(run.path, {"verify_error": 0.0})
    assert not shards_folder(run.path).exists()
