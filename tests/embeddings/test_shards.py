from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ser_probe.embeddings import store_file
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.partials import name_node, shards_folder
from ser_probe.embeddings.shards import Committed, Rows, ShardWriter, committed, read_shards
from ser_probe.embeddings.store_header import Layout
from ser_probe.embeddings.store_vectors import read_vectors
from ser_probe.errors import CacheError
from tests.embeddings.conftest import N_LAYERS, WIDTH, Run
from tests.forked import Forked


def stored(run: Run) -> dict[str, np.ndarray]:
    """Read every committed clip's values back, by the file that is said to hold it."""
    values = {}
    for shard, header in read_shards(run.path, run.key):
        with shard.open("rb") as stream:
            layers = np.stack([read_vectors(stream, header, index) for index in range(N_LAYERS)])
        for row, clip_id in enumerate(header.rows["clip_id"]):
            values[clip_id] = layers[:, row]
    return values


def test_nothing_is_committed_before_the_first_shard(run: Run) -> None:
    assert committed(run.path, run.key) == Committed({}, {})
    with run.writer():
        pass
    assert not shards_folder(run.path).exists()


def test_committed_clips_and_values_are_those_added(run: Run) -> None:
    run.commit([3, 1], [0, 5, 2])
    done = committed(run.path, run.key)
    assert set(done.clips) == {run.ids[place] for place in (3, 1, 0, 5, 2)}
    assert run.ids[3] in done
    assert run.ids[4] not in done
    assert len(done) == 5
    assert len(set(done.clips.values())) == 2
    for clip_id, values in stored(run).items():
        np.testing.assert_array_equal(values, run.values[:, run.ids.index(clip_id)])


def test_batches_share_a_shard_until_it_is_old_or_large(run: Run) -> None:
    batch_bytes = N_LAYERS * 2 * WIDTH * 4
    with run.writer(bytes_per_shard=2 * batch_bytes) as writer:
        for start in range(0, 10, 2):
            writer.add(run.rows([start, start + 1]))
        assert len(read_shards(run.path, run.key)) == 2
    assert [len(header.rows) for _, header in read_shards(run.path, run.key)].count(4) == 2
    assert len(committed(run.path, run.key)) == 10


def test_the_callers_array_may_be_used_again(run: Run) -> None:
    rows = run.rows([0, 1])
    with run.writer() as writer:
        writer.add(rows)
        rows.embeddings[:] = 0
    np.testing.assert_array_equal(stored(run)[run.ids[1]], run.values[:, 1])


def test_rejects_are_committed_too_unless_the_clip_is_stored(run: Run) -> None:
    with run.writer() as writer:
        writer.add(run.rows([0]))
        writer.reject(run.ids[1], "f1/1.wav", "only zeros")
        writer.reject(run.ids[0], "f1/0.wav", "once unreadable")
    assert committed(run.path, run.key).rejects == {run.ids[1]: "only zeros"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_complete_batches_survive_an_interruption(run: Run, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with run.writer() as writer:
            writer.add(run.rows([0, 1]))
            raise error

    with pytest.raises(error):
        interrupted()
    assert set(committed(run.path, run.key).clips) == {run.ids[0], run.ids[1]}


def test_float16_storage_casts_the_values(run: Run) -> None:
    half = Run(run.path, CacheKey(**{**run.key.ingredients, "storage": "float16"}), run.layout, run.clips, run.values)
    half.commit([0, 1])
    for clip_id, values in stored(half).items():
        assert values.dtype == np.float16
        np.testing.assert_array_equal(values, run.values[:, run.ids.index(clip_id)].astype(np.float16))


def test_overflow_of_float16_names_clip_and_layer(run: Run) -> None:
    key = CacheKey(**{**run.key.ingredients, "storage": "float16"})
    rows = run.rows([4, 7])
    rows.embeddings[1, 1, 2] = -70000.0
    message = rf"(?s)too large for float16.*clip {run.ids[7]}, layer 1.*70000.*as float32"
    with ShardWriter(run.path, key, run.layout) as writer, pytest.raises(CacheError, match=message):
        writer.add(rows)
    with run.writer() as writer:  # the same value is no fault in float32
        writer.add(rows)


def test_model_output_that_is_not_finite_is_refused_and_not_stored(run: Run) -> None:
    rows = run.rows([4, 7])
    rows.embeddings[2, 0, 0] = np.nan
    with run.writer() as writer:
        with pytest.raises(CacheError, match=rf"(?s)output is not finite.*clip {run.ids[4]}, layer 2"):
            writer.add(rows)
        writer.add(run.rows([1]))
    assert set(committed(run.path, run.key).clips) == {run.ids[1]}


def test_a_batch_that_does_not_fit_is_refused(run: Run) -> None:
    rows = run.rows([0, 1])
    with run.writer() as writer, pytest.raises(ValueError, match="does not fit the layout"):
        writer.add(Rows(rows.clip_ids, rows.embeddings[:2], rows.n_frames, rows.duration_s))


def test_shard_of_another_key_is_refused_with_both_keys(run: Run) -> None:
    run.commit([0])
    other = CacheKey(**{**run.key.ingredients, "pooling": "max"})
    with pytest.raises(CacheError, match=r"(?s)pooling: mean against max") as caught:
        committed(run.path, other)
    assert run.key.digest in str(caught.value)
    assert other.digest in str(caught.value)


def test_damaged_shard_is_set_aside_and_its_clips_are_computed_again(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run.commit([0], [1])
    shard = committed(run.path, run.key).clips[run.ids[0]]
    shard.write_bytes(shard.read_bytes()[:-200])
    assert set(committed(run.path, run.key).clips) == {run.ids[1]}
    assert "damaged shard is set aside" in caplog.text
    assert shard.with_name(shard.name + ".damaged").is_file()


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(run: Run) -> None:
    run.commit([0])
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder, node = shards_folder(run.path), name_node()

    def partial(node: str, pid: int) -> Path:
        file = folder / f".shard-{node}-{pid}-0123456789ab.{pid}.partial.h5"
        file.write_bytes(b"half")
        return file

    gone, alive, elsewhere, old = (
        partial(node, dead.pid), partial(node, os.getpid()), partial("00000000", dead.pid), partial("00000000", 1)
    )  # fmt: skip
    os.utime(old, (0, 0))
    committed(run.path, run.key)
    assert [file.exists() for file in (gone, alive, elsewhere, old)] == [False, True, True, False]


def test_shard_is_written_although_a_sealer_removes_the_empty_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file, calls = store_file.write_file, []

    def removed_once(path: Path, *arguments: object) -> None:
        calls.append(path)
        if len(calls) == 1:
            path.parent.rmdir()
        write_file(path, *arguments)

    monkeypatch.setattr(store_file, "write_file", removed_once)
    run.commit([0])
    assert len(calls) == 2
    assert set(committed(run.path, run.key).clips) == {run.ids[0]}


def test_a_disk_that_cannot_be_written_is_told_from_a_full_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(store_file, "write_file", fail)
    with pytest.raises(CacheError, match=r"(?s)cannot be written.*Read-only file system"):
        run.commit([0])


def test_a_fault_of_hdf5_is_not_called_a_fault_of_the_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no conversion path")

    monkeypatch.setattr(store_file, "write_file", fail)
    with pytest.raises(OSError, match="no conversion path"):
        run.commit([0])


def test_error_that_ended_the_run_is_not_hidden_by_a_full_disk(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def interrupted() -> None:
        with run.writer() as writer:
            writer.add(run.rows([0]))
            raise RuntimeError("the model")

    monkeypatch.setattr(store_file, "write_file", fail)
    with pytest.raises(RuntimeError, match="the model"):
        interrupted()
    assert "The disk is full" in caplog.text


def fill_the_disk(run: Run, *, limit_bytes: int | None = None) -> Forked:
    """Write shards of 40 clips until there is no room: on a small disk, or with a limit from the fourth on."""
    layout = Layout(run.layout.layer_names, 4 * WIDTH)
    values = np.ones((N_LAYERS, 40, layout.width), dtype=np.float32)

    def work() -> None:
        try:
            with ShardWriter(run.path, run.key, layout, seconds_per_shard=0) as writer:
                for batch in range(1000):
                    if batch == 3 and limit_bytes is not None:
                        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
                    ids = [f"f{batch:015x}{clip:016x}" for clip in range(40)]
                    writer.add(Rows(ids, values, [1] * 40, [1.0] * 40))
        except CacheError as error:
            # What it prints has a length too.
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            print(error)
            sys.exit(1)

    process = Forked(work, run.path.parents[1])
    process.wait()
    return process


def check_after_full_disk(run: Run, done: Forked, n_batches: int | None = None) -> None:
    safe = len(committed(run.path, run.key))
    assert done.returncode == 1, done.errors
    assert done.errors == ""
    assert "The disk is full" in done.out
    assert f"free some space and run the same command again: {safe} clips are safe" in done.out
    assert safe % 40 == 0
    if n_batches is not None:
        assert safe == 40 * n_batches
    assert not list(shards_folder(run.path).glob(".*partial*"))
    assert all(np.all(values == 1) for values in stored(run).values())


# A shard of these tests has some 40 kB: the limits hit it before, in and after HDF5's part of it.
@pytest.mark.parametrize("limit_bytes", [0, 9000, 30000])
def test_file_that_outgrows_its_limit_leaves_nothing_partial(run: Run, limit_bytes: int) -> None:
    check_after_full_disk(run, fill_the_disk(run, limit_bytes=limit_bytes), n_batches=3)


def test_disk_that_fills_up_keeps_what_is_committed_and_the_run_resumes(run: Run, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        small = run.at(disk / "x.h5")
        check_after_full_disk(small, fill_the_disk(small))
        before = committed(small.path, small.key)
        assert len(before) > 0
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        small.commit([0, 1])
        assert len(committed(small.path, small.key)) == len(before) + 2
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def write_for_ever(run: Run) -> None:
    """Commit clip after clip that is not committed yet, and print the number of each."""
    done = committed(run.path, run.key)
    with ShardWriter(run.path, run.key, run.layout, seconds_per_shard=0) as writer:
        for clip in range(100_000):
            if f"{clip:032x}" not in done:
                values = np.full((N_LAYERS, 1, WIDTH), clip, np.float32)
                writer.add(Rows([f"{clip:032x}"], values, [clip], [1.0]))
                print(clip, flush=True)


def test_kill_at_random_moments_loses_and_tears_nothing(run: Run, rng: np.random.Generator, tmp_path: Path) -> None:
    reported: list[int] = []
    for _ in range(5):
        process = Forked(lambda: write_for_ever(run), tmp_path)
        while "\n" not in process.out:  # it has not begun to write
            assert process.poll() is None, process.errors
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        # The last line may be cut by the kill as well.
        reported += [int(line) for line in process.out.splitlines(keepends=True) if line.endswith("\n")]
    assert len(set(reported)) == len(reported), "a clip was computed twice"
    done = committed(run.path, run.key)
    assert {f"{clip:032x}" for clip in reported} <= set(done.clips)
    assert not list(shards_folder(run.path).glob("*partial*"))
    assert not list(shards_folder(run.path).glob("*.damaged"))
    values = stored(run)
    assert set(values) == set(done.clips)
    assert all(np.all(layers == int(clip_id, 16)) for clip_id, layers in values.items())


def test_layout_reads_aliases_and_refuses_unknown_names() -> None:
    layout = Layout(("0", "1"), WIDTH, {"final": "1"})
    assert [layout.index(name) for name in ("0", "1", "final")] == [0, 1, 1]
    with pytest.raises(CacheError, match=r"(?s)no such layer.*0, 1, final.*finale.*did you mean 'final'"):
        layout.index("finale")
