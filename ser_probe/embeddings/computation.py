"""Computes batches: the front end once, each encoder once, every pooling; results are stored in the background."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.audio.speech import speech_frames
from ser_probe.clip_length import too_short
from ser_probe.embeddings.clock import PassClock
from ser_probe.embeddings.feed import ClipWork
from ser_probe.embeddings.jobs import ClipBatch, Job
from ser_probe.embeddings.memory import ClipRoom, MemoryGuard, clip_room
from ser_probe.embeddings.passes import ExtractionSettings
from ser_probe.embeddings.writing import BackgroundWriter, fetch
from ser_probe.errors import AudioError
from ser_probe.files import fingerprint
from ser_probe.models.backbone import Backbone
from ser_probe.models.chunks import Chunk, check_chunking, cut_clip
from ser_probe.models.embedding import evaluating, pool_chunks, pool_layers
from ser_probe.models.forward import run_prepared
from ser_probe.models.inputs import InputSpec
from ser_probe.models.packing import packed
from ser_probe.models.pooling import Pooling
from ser_probe.models.precision import arithmetic


@dataclass(frozen=True)
class ClipInput:
    """A decoded clip as the workers hand it over.

    Args:
        prepared: The model's input; the samples of a clip that will be cut into chunks.
        n_samples: Samples of the clip.
        is_long: Whether it will be cut.
        speech: Which frames are speech, bool of shape [T or T + 1]; None if no pooling needs it.
    """

    prepared: np.ndarray
    n_samples: int
    is_long: bool
    speech: np.ndarray | None


@dataclass(frozen=True)
class _Item:
    """A clip of a batch."""

    clip_id: str
    duration_s: float
    input: ClipInput


@dataclass(frozen=True)
class Encoder:
    """A model and the caches it fills, each in its pooling."""

    backbone: Backbone
    outputs: list[tuple[Job, Pooling]]

    def wanted(self, items: Sequence[_Item]) -> list[tuple[Job, Pooling]]:
        """Return the caches that lack any of the clips."""
        ids = [item.clip_id for item in items]
        return [(job, pooling) for job, pooling in self.outputs if job.lacking(ids).any()]


class Computation:
    """Runs the batches of a pass; a context manager, at whose end all results are stored.

    Args:
        encoders: The models, all with the same input.
        settings: Precision, chunks, budget.
        clock: The pass's; a GPU's own clock is fed here.

    Raises:
        ConfigError: If a model cannot take chunks of that length.
    """

    def __init__(self, encoders: Sequence[Encoder], settings: ExtractionSettings, clock: PassClock) -> None:
        self._groups = _by_front_end(encoders)
        self._backbones = [encoder.backbone for encoder in encoders]
        self._settings, self._clock = settings, clock
        if settings.chunking is not None:
            for backbone in self._backbones:
                check_chunking(backbone, settings.chunking)
        self._speech = any(pooling.speech for encoder in encoders for _, pooling in encoder.outputs)
        self._keeps_frames = any(pooling.ragged for encoder in encoders for _, pooling in encoder.outputs)
        self._guard = MemoryGuard()
        self._writer = BackgroundWriter()
        self._stack = ExitStack()
        self._is_packed = False

    def clip_work(self) -> ClipWork:
        """Return what the workers compute from a file: a picklable function of its path."""
        backbone, chunking = self._backbones[0], self._settings.chunking
        shortest = max(backbone.min_samples for backbone in self._backbones)
        longest = None if chunking is None else int(chunking.length_s * backbone.input.sample_rate_hz)
        return functools.partial(
            load_input,
            audio=self._settings.audio,
            model_input=backbone.input,
            shortest=shortest,
            cut_over=longest,
            speech=backbone.samples_per_frame if self._speech else None,
            room=clip_room(self._backbones, keeps_frames=self._keeps_frames),
        )

    def __enter__(self) -> Computation:
        # First the context that may raise, so that nothing stays changed.
        self._stack.enter_context(arithmetic(self._settings.precision, self._backbones[0].device))
        self._stack.enter_context(evaluating(self._backbones))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close(raise_errors=error is None)
        finally:
            self._stack.close()

    def add(self, batch: ClipBatch, inputs: Sequence[ClipInput]) -> None:
        """Compute a decoded batch and have it stored.

        Args:
            batch: Ids and durations of the clips.
            inputs: The results of `clip_work` for them.

        Raises:
            BackboneError: If one clip alone does not fit the device's memory.
        """
        if not self._is_packed and self._settings.precision == "fp32":
            # Not before there is a batch: a pass without work packs nothing.
            self._stack.enter_context(packed(self._backbones))
            self._is_packed = True
        items = [
            _Item(clip_id, float(duration_s), clip)
            for clip_id, duration_s, clip in zip(batch.clip_ids, batch.duration_s, inputs, strict=True)
        ]
        self._run_short([item for item in items if not item.input.is_long])
        for item in items:
            if item.input.is_long:
                self._run_long(item)

    def _run_short(self, items: Sequence[_Item]) -> None:
        for group in self._groups:
            incomplete = [(encoder.backbone, outputs) for encoder in group if (outputs := encoder.wanted(items))]
            if incomplete:
                forward = functools.partial(self._forward, incomplete)
                for part, arrays in self._guard.run(items, lambda item: item.duration_s, forward):
                    for (backbone, outputs), pooled in zip(incomplete, arrays, strict=True):
                        self._store(backbone, outputs, part, pooled)

    def _forward(
        self, wanted: Sequence[tuple[Backbone, list[tuple[Job, Pooling]]]], items: Sequence[_Item]
    ) -> list[list[Callable[[], np.ndarray]]]:
        """Return, of each model and each of its caches, a function that waits for the embeddings."""
        with self._on_device():
            frames = run_prepared(wanted[0][0], [item.input.prepared for item in items])
            speech = None
            if self._speech:
                counts = wanted[0][0].frame_counts([item.input.n_samples for item in items])
                padded = pad_speech([item.input for item in items], counts, frames.mask.shape[1])
                speech = torch.from_numpy(padded).to(frames.mask.device)
            return [
                [fetch(pooled) for pooled in pool_layers(backbone, frames, [p for _, p in outputs], speech)]
                for backbone, outputs in wanted
            ]

    def _run_long(self, item: _Item) -> None:
        for encoder in (encoder for group in self._groups for encoder in group):
            outputs = encoder.wanted([item])
            if not outputs:
                continue
            backbone, chunking = encoder.backbone, self._settings.chunking
            assert chunking is not None, "clips are long only where they are to be cut"
            chunks = cut_clip(backbone, item.input.n_samples, chunking)
            speech = None
            if item.input.speech is not None:
                n_frames = int(backbone.frame_counts([item.input.n_samples])[0])
                speech = speech_or_all(item.input.speech[:n_frames])
            with self._on_device():
                poolings = [pooling for _, pooling in outputs]
                pooled = pool_chunks(backbone, item.input.prepared, chunks, poolings, speech, run=self._run_chunks)
                self._store(backbone, outputs, [item], [tensor.numpy for tensor in pooled])

    def _run_chunks(
        self, chunks: Sequence[Chunk], forward: Callable[[Sequence[Chunk]], np.ndarray]
    ) -> Iterator[np.ndarray]:
        rate_hz = self._backbones[0].input.sample_rate_hz

        def seconds_of(chunk: Chunk) -> float:
            return (chunk.stop - chunk.start) / rate_hz

        together = max(1, int(self._settings.batch_seconds / max(map(seconds_of, chunks))))
        for start in range(0, len(chunks), together):
            for _, hidden in self._guard.run(chunks[start : start + together], seconds_of, forward):
                yield hidden

    def _store(
        self,
        backbone: Backbone,
        outputs: Sequence[tuple[Job, Pooling]],
        items: Sequence[_Item],
        pooled: Sequence[Callable[[], np.ndarray]],
    ) -> None:
        n_frames = backbone.frame_counts([item.input.n_samples for item in items])
        ids, durations_s = [item.clip_id for item in items], np.array([item.duration_s for item in items])
        for (job, pooling), wait in zip(outputs, pooled, strict=True):
            seen = _count_speech(items, n_frames) if pooling.speech else n_frames
            batch = ClipBatch(ids, seen.astype(np.int32), durations_s)
            self._writer.submit(functools.partial(_add, job, batch, wait))

    def _on_device(self) -> ExitStack:
        stack = ExitStack()
        if self._clock.device is not None:
            stack.enter_context(self._clock.device.batch())
        return stack


def _add(job: Job, batch: ClipBatch, wait: Callable[[], np.ndarray]) -> None:
    job.add(batch, wait())


def load_input(
    path: Path,
    *,
    audio: AudioSpec,
    model_input: InputSpec,
    shortest: int,
    cut_over: int | None,
    speech: int | None,
    room: ClipRoom | None = None,
) -> tuple[ClipInput, tuple[str, ...]]:
    """Decode a clip and prepare it for the model, in a worker process.

    Args:
        path: The file.
        audio: How it becomes samples.
        model_input: What the model is fed.
        shortest: Samples that make one frame.
        cut_over: Samples over which a clip will be cut into chunks; None: never.
        speech: Samples from one frame of the model to the next, to find the frames of speech; None: not needed.
        room: Refuses a clip that is not cut and does not fit into memory; None refuses none.

    Returns:
        The clip, and notes on its preparation for the user.

    Raises:
        AudioError: If it cannot be decoded, the model cannot hear it, or there is too little memory for it.
    """
    # Half precision is for the model alone: this process, or the one it was forked from, may have it turned on.
    with torch.autocast("cpu", enabled=False):
        clip = load_clip(path, audio)
        n_samples, notes = len(clip.samples), clip.notes
        _check_length(path, n_samples, model_input, shortest, cut_over)
        is_long = cut_over is not None and n_samples > cut_over
        if room is not None and not is_long:
            room.check(path, n_samples)
        spoken = None
        if speech is not None:
            # One frame more than any model makes; each model uses as many as it has.
            spoken = speech_frames(clip.samples, n_samples // speech + 1, speech)
            if not spoken.any():
                notes = (*notes, "no speech was found: speech-mean is the mean over all frames (n_frames 0)")
        prepared = clip.samples if is_long else model_input.prepare(clip.samples)
    return ClipInput(prepared, n_samples, is_long, spoken), notes


def _check_length(path: Path, n_samples: int, model_input: InputSpec, shortest: int, cut_over: int | None) -> None:
    rate_hz = model_input.sample_rate_hz
    longest = None if model_input.log_mel is None else model_input.log_mel.max_samples
    if n_samples < shortest:
        least, found = (f"{1000 * samples / rate_hz:.0f} ms" for samples in (shortest, n_samples))
        raise too_short(AudioError, where=path, least=least, found=found)
    if longest is not None and n_samples > longest and cut_over is None:
        raise AudioError(
            "The clip is longer than what the model hears",
            where=path,
            expected=f"at most {longest / rate_hz:g} s",
            found=f"{n_samples / rate_hz:.1f} s",
            fix="cut it with --long-clips chunk",
        )


def _by_front_end(encoders: Sequence[Encoder]) -> list[list[Encoder]]:
    """Group models whose front end computes the same."""
    groups: dict[str, list[Encoder]] = {}
    for encoder in encoders:
        groups.setdefault(fingerprint(encoder.backbone.front_end_ingredients()), []).append(encoder)
    return list(groups.values())


def pad_speech(clips: Sequence[ClipInput], n_frames: Sequence[int] | np.ndarray, n_padded: int) -> np.ndarray:
    """Return which frames of a batch a speech pooling takes, bool of shape [B, T].

    Args:
        clips: The clips, with their speech found.
        n_frames: Frames of each clip, [B].
        n_padded: T.
    """
    padded = np.zeros((len(clips), n_padded), dtype=bool)
    for row, clip, count in zip(padded, clips, n_frames, strict=True):
        assert clip.speech is not None, "the workers find speech where a pooling wants it"
        row[:count] = speech_or_all(clip.speech[:count])
    return padded


def speech_or_all(speech: np.ndarray) -> np.ndarray:
    """Return which frames a speech pooling takes: those of speech, or all where there are none."""
    return speech if speech.any() else np.ones_like(speech)


def _count_speech(items: Sequence[_Item], n_frames: np.ndarray) -> np.ndarray:
    """Return the speech frames of each clip; 0 where there is none, and the pooling took all."""
    pairs = zip(items, n_frames, strict=True)
    return np.array([item.input.speech[:count].sum() for item, count in pairs if item.input.speech is not None])
