"""A cache that is being written: the clips it still lacks, where its rows go, and clips without a row."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.shards import Committed, NotFiniteError, Rows, ShardWriter
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import AudioError, BackboneError
from ser_probe.runtime import logger

FIRST_BATCHES, FIRST_CLIPS = 2, 8
"""Batches and clips after which the model is at fault, if none of its outputs was finite."""


@dataclass(frozen=True)
class ClipBatch:
    """Clips with embeddings to store.

    Args:
        clip_ids: Their ids, [B].
        n_frames: Frames the pooling saw, [B]; 0 for a vector that is not pooled from frames (functionals).
        duration_s: Durations in s, [B].
    """

    clip_ids: list[str]
    n_frames: np.ndarray
    duration_s: np.ndarray


@dataclass
class Job:
    """A cache that is being written: the clips it lacks, its open writer, and clips that could not be used in this run.

    Rows come from the writing thread, rejects from the feeding thread.

    Args:
        path: The cache.
        key: What its values depend on.
        layout: Layers and width.
        done: Clips that are on disk.
        attributes: What to record in the cache.
        writer: Where rows go.
        paths: The clips' paths by id, to name them.
        strict: Whether the first clip that cannot be used stops everything.
        n_computed: Clips stored in this run.
        n_not_finite: Clips for which the model's output was not finite.
        n_idle_batches: Batches of which no clip could be stored.
        unread: Clips that could not be used in this run: clip_id, path, reason.
        fault: The last error about values that were not finite.
    """

    path: Path
    key: CacheKey
    layout: Layout
    done: Committed
    attributes: dict[str, Any]
    writer: ShardWriter | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False
    n_computed: int = 0
    n_not_finite: int = 0
    n_idle_batches: int = 0
    unread: list[tuple[str, str, str]] = field(default_factory=list)
    fault: NotFiniteError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def lacking(self, clip_ids: Sequence[str]) -> np.ndarray:
        """Return which clips are neither on disk nor known to be unusable, bool of shape [N]."""
        return np.array([clip_id not in self.done for clip_id in clip_ids], dtype=bool)

    def unfinished(self, clip_ids: Sequence[str]) -> np.ndarray:
        """Return which clips the finished file does not hold, whatever the shards do, bool of shape [N]."""
        return np.array([self.done.clips.get(clip_id) != self.path for clip_id in clip_ids], dtype=bool)

    def add(self, batch: ClipBatch, embeddings: np.ndarray) -> None:
        """Store the rows of a batch that this cache lacks; `embeddings` as in `shards.Rows`.

        A clip whose embedding is not finite is left out of this run only, because a failing device makes such values
        too. If no clip could be stored at all, the model is at fault.

        Raises:
            AudioError: If such a clip is to stop everything.
            BackboneError: If the model makes nothing finite of the first clips.
        """
        assert self.writer is not None, "jobs are run with open writers"
        kept = self.lacking(batch.clip_ids)
        if not kept.any():
            return
        rows = Rows(batch.clip_ids, embeddings, batch.n_frames, batch.duration_s)
        ragged = self.layout.ragged
        rows = rows if kept.all() else rows.only(kept, ragged=ragged)
        try:
            self._store(rows)
        except NotFiniteError as fault:
            self._leave_out(rows, fault)
            finite = np.array([row not in fault.places for row in range(len(rows.clip_ids))])
            if finite.any():
                self._store(rows.only(finite, ragged=ragged))
                return
            self.n_idle_batches += 1
            if self.n_idle_batches >= FIRST_BATCHES and self.n_not_finite >= FIRST_CLIPS:
                self.blame_the_model(fault)

    def _store(self, rows: Rows) -> None:
        assert self.writer is not None, "jobs are run with open writers"
        with self._lock:
            self.writer.add(rows)
        self.n_computed += len(rows.clip_ids)

    def _leave_out(self, rows: Rows, fault: NotFiniteError) -> None:
        """Note the clips of a batch that cannot be stored."""
        self.fault = fault
        for row, place in fault.places.items():
            clip_id = rows.clip_ids[row]
            path = self.paths.get(clip_id, clip_id)
            reason = f"{fault.what} ({place})"
            if self.strict:
                raise AudioError(reason, where=path, expected=fault.expected, found=fault.found, fix=fault.fix)
            logger.warning("left out: %s; where: %s", reason, path)
            self.unread.append((clip_id, path, reason))
            self.n_not_finite += 1

    def blame_the_model(self, fault: NotFiniteError | None = None) -> None:
        """Raise if no clip could be stored, in this run or before, because the model's outputs were not finite."""
        fault = fault or self.fault
        if fault is None or self.n_computed or self.done.clips:
            return
        clip_id, path, _ = self.unread[-1]
        raise BackboneError(
            f"{fault.what}, for none of the {self.n_not_finite} clips that went through it",
            where=f"{self.attributes.get('model', self.path.name)} ({self.path.name}), the last clip {path or clip_id}",
            expected=fault.expected,
            found=fault.found,
            fix="store float32 (extract.storage)"
            if fault.what.endswith("float16")
            else "the model is at fault and not "
            "the clips: compute in fp32 (extract.precision), or take another checkpoint",
        )

    def reject(self, clip_id: str, path: str, reason: str, *, lasting: bool) -> None:
        """Note a clip that cannot be used: permanently, or for this run if its file may be repaired."""
        assert self.writer is not None, "jobs are run with open writers"
        if clip_id in self.done:
            return
        if lasting:
            with self._lock:
                self.writer.reject(clip_id, path, reason)
        else:
            self.unread.append((clip_id, path, reason))
