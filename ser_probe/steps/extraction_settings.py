"""From a study's config to the settings of an extraction, and the device it runs on."""

from __future__ import annotations

import torch

from ser_probe.audio.load import AudioSpec
from ser_probe.config import AudioConfig, StudyConfig
from ser_probe.embeddings.feed import choose_workers
from ser_probe.embeddings.memory import choose_budget
from ser_probe.embeddings.passes import ExtractionSettings
from ser_probe.embeddings.share import Share, local_rank
from ser_probe.models.chunks import Chunking
from ser_probe.runtime import pick_device

LONGEST_CLIP_S = 3600.0
"""Longest clip that is accepted where long clips are not rejected, in s."""


def accepted_audio(study: StudyConfig) -> AudioConfig:
    """Return a study's audio settings, with a higher limit of duration where long clips are not rejected."""
    if study.extract.long_clips == "reject":
        return study.audio
    return study.audio.model_copy(update={"max_duration_s": max(LONGEST_CLIP_S, study.audio.max_duration_s)})


def audio_spec(audio: AudioConfig) -> AudioSpec:
    """Return the decoding settings of a study."""
    return AudioSpec(
        sample_rate_hz=audio.sample_rate_hz,
        loudness_lufs=audio.loudness_lufs,
        peak_dbfs=audio.peak_dbfs,
        trim=audio.trim,
        max_duration_s=audio.max_duration_s,
    )


def extraction_settings(study: StudyConfig, device: torch.device, share: Share | None) -> ExtractionSettings:
    """Return how a study extracts on a device; `share` is this process's part of the work, None for all."""
    config = study.extract
    chunking = None
    if config.long_clips == "chunk":
        chunking = Chunking(study.audio.max_duration_s, config.chunk_overlap_s)
    return ExtractionSettings(
        audio=audio_spec(accepted_audio(study)),
        precision=config.precision,
        storage=config.storage,
        chunking=chunking,
        batch_seconds=choose_budget(device) if config.batch_seconds == "auto" else config.batch_seconds,
        max_clips=config.max_clips,
        workers=choose_workers(device) if config.workers == "auto" else config.workers,
        verify=config.verify,
        strict=study.data.strict,
        share=share or Share(),
    )


def pick_extraction_device(study: StudyConfig) -> torch.device:
    """Return the device of a study's extraction; with several GPUs torchrun chooses."""
    device, rank = pick_device(study.extract.device), local_rank()
    if device.type == "cuda" and device.index is None and rank is not None:
        return torch.device("cuda", rank % torch.cuda.device_count())
    return device
