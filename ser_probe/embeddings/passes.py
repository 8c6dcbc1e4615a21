"""The parts that all extractions share: the clips, the settings, and the loop from batch plan to shards.

`extract` (backbones) and `features` (acoustics) compute a batch; this module decides which batches there are, which
rows each cache still lacks, and what happens to a clip that cannot be used.
"""

from __future__ import annotations

import re
import resource
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.audio.load import AudioSpec
from ser_probe.embeddings.clock import PassClock
from ser_probe.embeddings.feed import ClipWork, DecodedBatch, feed_batches
from ser_probe.embeddings.jobs import ClipBatch, Job
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.notes import describe_reasons, note_clips, note_unread
from ser_probe.embeddings.plan import drop_done, plan_batches
from ser_probe.embeddings.seal import missing_clips, seal
from ser_probe.embeddings.shards import SECONDS_PER_SHARD, ShardWriter
from ser_probe.embeddings.share import Share
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import REJECT_COLUMNS
from ser_probe.errors import AudioError
from ser_probe.models.chunks import Chunking
from ser_probe.runtime import Progress, logger


@dataclass(frozen=True)
class ClipList:
    """The clips to extract.

    Args:
        table: One row per clip with `clip_id`, `path` (as text), `duration_s` and the manifest's further columns.
        paths: Audio file of each row, [N].
    """

    table: pd.DataFrame
    paths: Sequence[Path]

    def unique(self) -> ClipList:
        """Return the clips without repeats of the same content: it is computed once, under its first name."""
        first = ~self.table["clip_id"].duplicated().to_numpy()
        return ClipList(
            self.table[first].reset_index(drop=True), [p for p, keep in zip(self.paths, first, strict=True) if keep]
        )


@dataclass(frozen=True)
class ExtractionSettings:
    """How to extract.

    Args:
        audio: How a clip becomes samples.
        precision: Arithmetic of the forward pass, one of `models.precision.PRECISIONS`.
        storage: `float32` or `float16`.
        chunking: When and how long clips are cut; None lets every clip through whole.
        batch_seconds: Padded seconds a batch may hold.
        max_clips: Largest number of clips in a batch; None for no limit.
        workers: Processes that decode ahead; 0 decodes in the main one.
        verify: How many clips to run again alone.
        strict: Whether the first clip that cannot be used stops everything.
        share: This process's part of the work.
        seconds_per_shard: Work, in seconds, that a kill may cost at most.
    """

    audio: AudioSpec
    precision: str = "fp32"
    storage: str = "float32"
    chunking: Chunking | None = None
    batch_seconds: float = 30.0
    max_clips: int | None = None
    workers: int = 0
    verify: int = 0
    strict: bool = False
    share: Share = field(default_factory=Share)
    seconds_per_shard: float = SECONDS_PER_SHARD


@dataclass(frozen=True)
class Extraction:
    """The result of an extraction for one cache.

    Args:
        path: The sealed cache.
        key: Its key.
        n_clips: Clips asked for, repeats of the same content counted once.
        n_computed: Clips computed in this run; the others were in the cache or its shards.
        rejects: Clips that could not be used: clip_id, path, reason.
        speed: clips_per_s, audio_s_per_s, wait_share, peak_memory_mib (and of a GPU device_memory_mib) of this run;
            empty where nothing was computed.
        verify_error: Largest relative difference of a clip alone, in fp32, from the stored one; None if not measured.
        n_missing: Clips that other workers have yet to compute; the cache is sealed when there are none.
        n_others: Clips in the finished file that were not asked for.
        n_scaled: Clips of this run that were scaled down to stay within opensmile's 16-bit range.
    """

    path: Path
    key: CacheKey
    n_clips: int
    n_computed: int
    rejects: pd.DataFrame
    speed: dict[str, float]
    verify_error: float | None = None
    n_missing: int = 0
    n_others: int = 0
    n_scaled: int = 0


@contextmanager
def open_writers(jobs: Sequence[Job], settings: ExtractionSettings, clips: ClipList) -> Iterator[None]:
    """Let jobs take rows while the block runs; at its end all rows are committed."""
    paths = dict(zip(clips.table["clip_id"].tolist(), clips.table["path"].astype(str).tolist(), strict=True))
    with ExitStack() as stack:
        for job in jobs:
            job.paths, job.strict = paths, settings.strict
            job.writer = stack.enter_context(
                ShardWriter(job.path, job.key, job.layout, seconds_per_shard=settings.seconds_per_shard)
            )
        yield


def run_batches(
    jobs: Sequence[Job],
    clips: ClipList,
    settings: ExtractionSettings,
    work: ClipWork,
    clock: PassClock,
    progress: Progress,
    *,
    what: str = "extract",
    state: Callable[[], dict[str, str]] = dict,
) -> Generator[tuple[ClipBatch, DecodedBatch]]:
    """Yield the decoded batches that any job lacks; how many frames a pooling sees is not known yet, `n_frames` is 0.

    Args:
        jobs: The caches to complete, with `open_writers`.
        clips: The clips, each content once.
        settings: Budget, workers, strictness.
        work: What a worker computes from a file.
        clock: Counts the time spent waiting for them.
        progress: Told of clips.
        what: Name of the work.
        state: More to show beside the progress.

    Raises:
        AudioError: If `settings.strict` and a clip cannot be used.
    """
    table = clips.table
    ids, durations = table["clip_id"].tolist(), table["duration_s"].to_numpy(dtype=np.float64)
    lacking = np.logical_or.reduce([job.lacking(ids) for job in jobs])
    # Planned over clips that no finished file holds: a resumed run plans the same batches, because shards are no
    # finished file; a larger manifest plans its new clips among themselves.
    unfinished = np.flatnonzero(np.logical_or.reduce([job.unfinished(ids) for job in jobs]))
    plan = plan_batches(
        durations[unfinished],
        [ids[row] for row in unfinished],
        budget_s=settings.batch_seconds,
        max_clips=settings.max_clips,
        longest_s=settings.chunking.length_s if settings.chunking else None,
    )
    plan = drop_done(settings.share.of([unfinished[batch] for batch in plan]), ~lacking)
    if not plan:
        return
    progress.start(what, sum(map(len, plan)), "clips")
    notes: list[tuple[int, str]] = []
    audio_s = 0.0
    numbered = [(number, rows.tolist()) for number, rows in enumerate(plan)]
    for decoded in feed_batches(clips.paths, ids, numbered, work, workers=settings.workers, clock=clock):
        _reject(jobs, clips, decoded, settings.strict)
        notes += decoded.notes
        chosen = [ids[row] for row in decoded.rows]
        yield ClipBatch(chosen, np.zeros(len(chosen), np.int32), durations[decoded.rows]), decoded
        audio_s += float(durations[decoded.rows].sum())
        fields = {"audio": f"{audio_s / clock.elapsed_s:.0f} s/s", "wait": f"{clock.wait_share:.0%}", **state()}
        progress.advance(len(decoded.rows) + len(decoded.rejects), **fields)
    progress.finish()
    report_notes(notes, clips)


def _reject(jobs: Sequence[Job], clips: ClipList, decoded: DecodedBatch, strict: bool) -> None:
    for reject in decoded.rejects:
        if strict:
            raise reject.error
        clip_id, path = (str(clips.table[column].iloc[reject.row]) for column in ("clip_id", "path"))
        logger.warning("left out: %s", str(reject.error).replace("\n", "; "))
        for job in jobs:
            job.reject(clip_id, path, reject.error.what, lasting=reject.lasting)


def report_notes(notes: Sequence[tuple[int, str]], clips: ClipList) -> None:
    """Log the notes on clips, one line for notes that differ in their numbers only."""
    kinds = [re.sub(r"\d+(\.\d+)?", "#", note) for _, note in notes]
    for kind, count in Counter(kinds).items():
        row, note = notes[kinds.index(kind)]
        logger.warning("%s (%d clips, the first: %s)", note, count, clips.table["path"].iloc[row])


def measure_speeds(
    jobs: Sequence[Job], audio_s: float, clock: PassClock, device: Mapping[str, float] | None = None
) -> list[dict[str, float]]:
    """Return the speed of the pass, for the caches it computed something for; `device` is added to it."""
    seconds = max(clock.elapsed_s, 1e-9)
    # Linux counts the peak in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))
    speed = {"audio_s_per_s": audio_s / seconds, "wait_share": clock.wait_share, "peak_memory_mib": peak}
    speed |= device or {}
    return [{"clips_per_s": job.n_computed / seconds, **speed} if job.n_computed else {} for job in jobs]


def note_start(jobs: Sequence[Job], clips: ClipList, settings: ExtractionSettings) -> None:
    """Note beside the shards what sealing needs without the manifest; drop this worker's note of unread clips."""
    for job in jobs:
        if job.lacking(clips.table["clip_id"].tolist()).any():
            note_clips(job.path, clips.table, job.attributes)
            note_unread(job.path, _worker(settings), None)


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    Args:
        rejects: Clips that could not be used: clip_id, path, reason.
        n_missing: Clips that other workers have yet to compute; the cache is sealed when there are none.
        n_others: Clips in the finished file that were not asked for.
    """

    rejects: pd.DataFrame
    n_missing: int = 0
    n_others: int = 0


def seal_job(job: Job, clips: ClipList, settings: ExtractionSettings, attributes: Mapping[str, Any]) -> JobEnd:
    """Finish a cache, unless other workers are still at it.

    If several workers end at the same moment, one or all of them seal, and the file is the same: each looks for missing
    clips after it has committed its last clips and noted unreadable ones. Clips whose files could not be read are no
    part of the cache, so that the next run tries them again.

    Raises:
        AudioError: If no file could be read.
        BackboneError: If nothing that the model made is finite.
        CacheError: As `seal`.
    """
    job.blame_the_model()
    unread = pd.DataFrame(job.unread, columns=list(REJECT_COLUMNS), dtype=object)
    if len(unread) and len(unread) == len(clips.table):
        raise AudioError(
            f"None of the {len(unread)} clips could be used",
            where=unread["path"][0],
            found=describe_reasons(unread),
            fix="the log says more of each; check the manifest's paths and the audio root",
        )
    if len(unread):
        note_unread(job.path, _worker(settings), unread)
    if settings.share.count > 1:
        # Asked once: the worker that commits the last clips later will seal.
        missing = missing_clips(job.path, job.key, clips.table)
        if missing:
            return JobEnd(unread, len(missing))
    seal(job.path, job.key, clips.table, attributes)
    with EmbeddingCache.open(job.path, expect_key=job.key) as cache:
        asked = clips.table["clip_id"]
        stored = cache.rejects[cache.rejects["clip_id"].isin(asked)]
        n_others = len(set(cache.clip_ids).difference(asked))
    return JobEnd(pd.concat([stored, unread], ignore_index=True), n_others=n_others)


def _worker(settings: ExtractionSettings) -> str:
    return str(settings.share).replace("/", "-of-")
