from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.embeddings.clock import PassClock
from ser_probe.embeddings.feed import DecodedBatch, choose_workers, feed_batches
from ser_probe.errors import AudioError, PackageError
from ser_probe.files import content_id
from tests.forked import Forked


def decode(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The work of the tests, at module level so that a worker process can be given it."""
    return load_clip(path, AudioSpec()).samples, (f"seen {path.stem}",)


def feed(paths: list[Path], plan: list[list[int]], work: Callable = decode, workers: int = 0) -> list[DecodedBatch]:
    ids = [content_id(path) for path in paths]
    return list(feed_batches(paths, ids, list(enumerate(plan)), work, workers=workers, clock=PassClock()))


def load_brush(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    import brush  # noqa: F401

    return decode(path)


@pytest.fixture
def paths(write_clip: Callable[..., Path]) -> list[Path]:
    return [write_clip(f"{row}.wav", 0.2 + 0.05 * row, 120 + 10 * row) for row in range(5)]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_come_in_the_plans_order(paths: list[Path], workers: int) -> None:
    plan = [[4, 0], [2], [1, 3]]
    batches = feed(paths, plan, workers=workers)
    assert [batch.number for batch in batches] == [0, 1, 2]
    assert [batch.rows for batch in batches] == plan
    for batch in batches:
        for row, samples in zip(batch.rows, batch.results, strict=True):
            np.testing.assert_array_equal(samples, soundfile.read(paths[row], dtype="float32")[0])
        assert batch.notes == [(row, f"seen {row}") for row in batch.rows]


@pytest.mark.parametrize("workers", [0, 1])
def test_unusable_clip_comes_back_in_its_place(paths: list[Path], workers: int) -> None:
    paths[2].write_bytes(b"RIFF, and then nothing of the kind")
    batches = feed(paths, [[0, 2], [2], [3]], workers=workers)
    assert [batch.rows for batch in batches] == [[0], [], [3]]
    (reject,) = batches[1].rejects
    assert reject.row == 2
    assert reject.lasting
    with pytest.raises(AudioError, match=r"cannot be opened as audio(.|\n)*2\.wav(.|\n)*libsndfile"):
        raise reject.error


@pytest.mark.parametrize("workers", [0, 1])
def test_changed_missing_and_unreadable_files_are_no_lasting_rejects(paths: list[Path], workers: int) -> None:
    ids = [content_id(path) for path in paths]
    soundfile.write(paths[0], np.zeros(8000), 16_000)  # silent now, but that says nothing of the clip asked for
    paths[1].unlink()
    plan = [(0, [0, 1, 2])]
    (batch,) = feed_batches(paths, ids, plan, decode, workers=workers, clock=PassClock())
    assert batch.rows == [2]
    assert [reject.lasting for reject in batch.rejects] == [False, False]
    with pytest.raises(AudioError, match=r"its file was changed since(.|\n)*0\.wav(.|\n)*prepare the manifest again"):
        raise batch.rejects[0].error
    with pytest.raises(AudioError, match=r"does not exist(.|\n)*1\.wav"):
        raise batch.rejects[1].error


def fail_on_disk(path: Path, *, code: int) -> tuple[np.ndarray, tuple[str, ...]]:
    raise OSError(code, os.strerror(code))


def test_disk_error_rejects_the_clip_for_this_run_only(paths: list[Path]) -> None:
    (batch,) = feed(paths, [[1]], functools.partial(fail_on_disk, code=5))
    assert not batch.rejects[0].lasting
    with pytest.raises(AudioError, match=r"cannot be read(.|\n)*1\.wav(.|\n)*Input/output error"):
        raise batch.rejects[0].error


def fail_to_load(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    raise OSError("libsndfile.so.1: cannot open shared object file")


@pytest.mark.parametrize("workers", [0, 1])
def test_library_that_cannot_be_loaded_is_no_reject(paths: list[Path], workers: int) -> None:
    with pytest.raises(OSError, match="cannot open shared object"):
        feed(paths, [[1]], fail_to_load, workers)


def test_fault_of_the_program_is_no_reject(paths: list[Path]) -> None:
    with pytest.raises(ZeroDivisionError):
        feed(paths, [[1]], lambda path: 1 // 0)


def test_clock_counts_the_waiting(paths: list[Path]) -> None:
    clock = PassClock()
    list(feed_batches(paths, [content_id(path) for path in paths], [(0, [0])], decode, workers=0, clock=clock))
    assert 0 < clock.waited_s <= clock.elapsed_s
    assert 0 < clock.wait_share <= 1


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the process in /proc")
def test_a_killed_run_leaves_no_worker_behind(paths: list[Path], tmp_path: Path) -> None:
    number = tmp_path / "pid"

    def work(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
        number.write_text(str(os.getpid()))
        return np.zeros(1 << 20), ()

    def feed_for_ever() -> None:
        plan = [(row, [row]) for row in range(50)]
        ids = [content_id(paths[0])] * 50
        batches = feed_batches([paths[0]] * 50, ids, plan, work, workers=1, clock=PassClock())
        next(batches)
        print("ready", flush=True)
        time.sleep(600)

    run = Forked(feed_for_ever, tmp_path)
    run.wait_for_output("ready")
    time.sleep(1)  # the worker has sent what is to be sent ahead, and nobody reads it
    worker = Path("/proc") / number.read_text()
    assert worker.exists()
    run.kill()
    deadline = time.monotonic() + 20
    while worker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not worker.exists()


@pytest.mark.parametrize(("device", "n_cpus", "expected"), [
    ("cpu", 2, 0), ("cpu", 4, 0), ("cpu", 16, 1), ("cuda", 2, 2), ("cuda", 16, 8), (None, 1, 1), (None, 2, 2),
    (None, 48, 48),
])  # fmt: skip
def test_how_many_workers_decode(
    device: str | None, n_cpus: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a GPU many, beside a model on the CPU few; where nobody waits for them, as for features, all there are."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(n_cpus)), raising=False)
    assert choose_workers(None if device is None else torch.device(device)) == expected


@pytest.mark.parametrize("workers", [0, 1])
def test_a_package_that_cannot_be_loaded_is_no_fault_of_the_clip(
    paths: list[Path], workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "brush.py").write_text("raise OSError('libbrush.so: undefined symbol: x')")
    with pytest.raises(PackageError, match=r"'brush' is installed, but cannot be loaded(.|\n)*undefined symbol: x"):
        feed(paths, [[0, 1]], load_brush, workers)
