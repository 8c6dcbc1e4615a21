from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ser_probe.audio.load import load_clip
from ser_probe.embeddings import passes
from ser_probe.embeddings.clock import PassClock
from ser_probe.embeddings.jobs import Job
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.passes import (
    ClipList,
    ExtractionSettings,
    measure_speeds,
    open_writers,
    run_batches,
    seal_job,
)
from ser_probe.embeddings.seal import missing_clips
from ser_probe.embeddings.shards import committed
from ser_probe.embeddings.share import Share
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import AudioError
from ser_probe.runtime import SILENT, Progress
from tests.embeddings.speech import DURATIONS_S, SETTINGS, list_clips

LOUD = replace(SETTINGS, audio=replace(SETTINGS.audio, peak_dbfs=-20.0))


def decode(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    clip = load_clip(path, LOUD.audio)
    return clip.samples[:8], clip.notes


def open_job(path: Path, key: CacheKey) -> Job:
    return Job(path, key, Layout(("0",), 8), committed(path, key), {})


def run(
    jobs: list[Job], clips: ClipList, settings: ExtractionSettings = LOUD, progress: Progress = SILENT
) -> list[list[str]]:
    """Store the first eight samples of each clip; return the batches."""
    batches = []
    with open_writers(jobs, settings, clips):
        for batch, decoded in run_batches(jobs, clips, settings, decode, PassClock(), progress):
            for job in jobs:
                job.add(batch, np.array(decoded.results).reshape(1, -1, 8))
            batches.append(batch.clip_ids)
    return batches


@pytest.fixture
def paths(write_clip: Callable[..., Path]) -> list[Path]:
    return [write_clip(f"m1/{row}.wav", duration_s, 100 + 9 * row) for row, duration_s in enumerate(DURATIONS_S)]


@pytest.fixture
def clips(paths: list[Path], tmp_path: Path) -> ClipList:
    return list_clips(paths, tmp_path)


@pytest.fixture
def spoil(paths: list[Path]) -> Callable[[int, np.ndarray], None]:
    def write(row: int, samples: np.ndarray) -> None:
        soundfile.write(paths[row], samples.astype(np.float32), 16_000, subtype="FLOAT")

    return write


def test_every_clip_is_in_one_batch_within_the_budget(clips: ClipList, key: CacheKey, tmp_path: Path) -> None:
    batches = run([open_job(tmp_path / "x.h5", key)], clips)
    assert sorted(clip_id for batch in batches for clip_id in batch) == sorted(clips.table["clip_id"])
    durations = clips.table.set_index("clip_id")["duration_s"]
    for batch in batches:
        assert len(batch) <= SETTINGS.max_clips
        assert durations[batch].max() * len(batch) <= SETTINGS.batch_seconds


def test_repeated_content_is_kept_under_its_first_name(paths: list[Path], tmp_path: Path) -> None:
    twin = tmp_path / "m1" / "twin.wav"
    twin.write_bytes(paths[2].read_bytes())
    unique = list_clips([*paths[:4], twin, paths[4]], tmp_path).unique()
    assert unique.table["path"].tolist() == [f"m1/{row}.wav" for row in range(5)]
    assert unique.paths == paths[:5]


def test_batches_do_not_depend_on_the_manifests_order(clips: ClipList, key: CacheKey, tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(len(clips.paths))
    shuffled = ClipList(clips.table.iloc[order].reset_index(drop=True), [clips.paths[row] for row in order])
    assert run([open_job(tmp_path / "a.h5", key)], clips) == run([open_job(tmp_path / "b.h5", key)], shuffled)


def test_jobs_that_lack_nothing_cost_nothing(clips: ClipList, key: CacheKey, tmp_path: Path) -> None:
    first = open_job(tmp_path / "x.h5", key)
    run([first], clips)
    seal_job(first, clips, LOUD, {})
    again, other = open_job(tmp_path / "x.h5", key), open_job(tmp_path / "y.h5", key)
    assert run([again], clips) == []
    run([again, other], clips)
    assert (again.n_computed, other.n_computed) == (0, len(clips.paths))


def test_unusable_clips_are_logged_stored_and_not_tried_again(
    paths: list[Path],
    spoil: Callable[[int, np.ndarray], None],
    key: CacheKey,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(1, np.r_[np.ones(4000) * np.nan, np.ones(4000)])
    spoil(3, np.zeros(8000))
    broken = tmp_path / "m1" / "broken.flac"
    soundfile.write(broken, np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), 16_000)
    broken.write_bytes(broken.read_bytes()[:-9000])
    clips = list_clips([*paths, broken], tmp_path)
    job = open_job(tmp_path / "x.h5", key)
    run([job], clips)
    rejects = seal_job(job, clips, LOUD, {}).rejects
    assert rejects["path"].tolist() == ["m1/1.wav", "m1/3.wav", "m1/broken.flac"]
    assert [reason.split()[-1] for reason in rejects["reason"][:2]] == ["infinite", "silent"]
    assert caplog.text.count("left out:") == 3
    assert str(paths[3]) in caplog.text
    with EmbeddingCache.open(job.path) as cache:
        assert len(cache) == len(paths) - 2
        assert cache.rejects.to_numpy().tolist() == rejects.to_numpy().tolist()
    again = open_job(tmp_path / "x.h5", key)
    assert run([again], clips) == []
    assert seal_job(again, clips, LOUD, {}).rejects.equals(rejects)


def test_strict_stops_at_the_first_unusable_clip_and_keeps_what_was_done(
    paths: list[Path], spoil: Callable[[int, np.ndarray], None], key: CacheKey, tmp_path: Path
) -> None:
    spoil(1, np.zeros(4000))  # the shortest, so in the last batch
    clips = list_clips(paths, tmp_path)
    job = open_job(tmp_path / "x.h5", key)
    with pytest.raises(AudioError, match=r"The clip is silent(.|\n)*1\.wav(.|\n)*to do: leave it out"):
        run([job], clips, replace(LOUD, strict=True))
    assert 0 < len(committed(job.path, key).clips) < len(paths)
    assert not committed(job.path, key).rejects


def test_changed_and_missing_files_are_tried_again(clips: ClipList, key: CacheKey, tmp_path: Path) -> None:
    missing, changed = clips.paths[0].read_bytes(), clips.paths[4].read_bytes()
    clips.paths[0].unlink()
    clips.paths[4].write_bytes(clips.paths[5].read_bytes())
    job = open_job(tmp_path / "x.h5", key)
    run([job], clips)
    rejects = seal_job(job, clips, LOUD, {}).rejects
    assert rejects["path"].tolist() == ["m1/0.wav", "m1/4.wav"]
    assert "does not exist" in rejects["reason"][0]
    assert "changed since" in rejects["reason"][1]
    with EmbeddingCache.open(job.path) as cache:
        assert cache.clip_ids == clips.table["clip_id"].drop([0, 4]).tolist()
        assert len(cache.rejects) == 0
    clips.paths[0].write_bytes(missing)
    clips.paths[4].write_bytes(changed)
    job = open_job(tmp_path / "x.h5", key)
    run([job], clips)
    assert len(seal_job(job, clips, LOUD, {}).rejects) == 0
    assert job.n_computed == 2


def test_a_manifest_without_any_readable_file(clips: ClipList, key: CacheKey, tmp_path: Path) -> None:
    for path in clips.paths:
        path.unlink()
    job = open_job(tmp_path / "x.h5", key)
    run([job], clips)
    with pytest.raises(AudioError, match=r"None of the 9 clips could be used(.|\n)*does not exist(.|\n)*audio root"):
        seal_job(job, clips, LOUD, {})
    assert not job.path.exists()


def test_notes_are_reported_one_line_a_kind(
    clips: ClipList, key: CacheKey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run([open_job(tmp_path / "x.h5", key)], clips)
    notes = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(notes) == 1
    assert "no sample exceeds -20 dBFS (9 clips, the first: m1/2.wav)" in notes[0]


def test_progress_counts_every_clip_that_is_lacking(
    paths: list[Path], spoil: Callable[[int, np.ndarray], None], key: CacheKey, tmp_path: Path
) -> None:
    spoil(3, np.zeros(8000))
    seen: list[Any] = []

    class Counting(type(SILENT)):
        def start(self, what: str, total: float, unit: str) -> None:
            seen.append(total)

        def advance(self, amount: float = 1, **fields: object) -> None:
            seen.append(amount)

    run([open_job(tmp_path / "x.h5", key)], list_clips(paths, tmp_path), progress=Counting())
    assert seen[0] == sum(seen[1:]) == len(paths)


def test_speeds_of_caches_that_were_complete_are_empty(key: CacheKey, tmp_path: Path) -> None:
    busy, idle = open_job(tmp_path / "x.h5", key), open_job(tmp_path / "y.h5", key)
    busy.n_computed = 10
    clock = PassClock()
    clock.started_s -= 5
    speed, nothing = measure_speeds([busy, idle], 20.0, clock)
    assert nothing == {}
    assert speed["clips_per_s"] == pytest.approx(2, rel=0.01)
    assert speed["audio_s_per_s"] == pytest.approx(4, rel=0.01)
    assert speed["peak_memory_mib"] > 10


def test_leaving_early_commits_what_was_done(clips: ClipList, key: CacheKey, tmp_path: Path) -> None:
    job = open_job(tmp_path / "x.h5", key)
    settings = replace(LOUD, seconds_per_shard=1e6)
    with open_writers([job], settings, clips):
        batch, decoded = next(run_batches([job], clips, settings, decode, PassClock(), SILENT))
        job.add(batch, np.array(decoded.results).reshape(1, -1, 8))
        assert len(committed(job.path, key)) == 0
    assert set(committed(job.path, key).clips) == set(batch.clip_ids)


def test_a_worker_whose_last_clips_come_a_moment_later_does_not_look_for_the_finished_file(
    clips: ClipList, key: CacheKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.h5"
    one, other = (replace(LOUD, share=Share(index, 2)) for index in (1, 2))
    job = open_job(path, key)
    run([job], clips, one)
    others = len(clips.table) - job.n_computed

    def look(*arguments: Any) -> list[str]:
        found = missing_clips(*arguments)
        run([open_job(path, key)], clips, other)  # the other worker commits all it has, the moment after
        return found

    monkeypatch.setattr(passes, "missing_clips", look)
    assert seal_job(job, clips, one, {}).n_missing == others > 0
    assert not path.exists()
    assert seal_job(open_job(path, key), clips, other, {}).n_missing == 0
    with EmbeddingCache.open(path) as cache:
        assert len(cache) == len(clips.table)
