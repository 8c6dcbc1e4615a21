"""One second of a voice in every container and coding that libsndfile writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from ..voices import voice

RATE_HZ = 16_000

# Container, coding, and where it allows no other, the rate.
CODED = [
    *[("WAV", coding) for coding in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")],
    *[("WAV", coding) for coding in ("IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "NMS_ADPCM_32")],
    ("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("W64", "GSM610"),
    ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AIFF", "GSM610"), ("AU", "PCM_16"), ("AU", "G723_24"),
    ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("NIST", "PCM_16"), ("SVX", "PCM_16"),
    ("VOC", "PCM_16"), ("AVR", "PCM_16"), ("MPC2K", "PCM_16"), ("MAT4", "DOUBLE"), ("MAT5", "PCM_16"),
    ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip


def write_coded(folder: Path, container: str, coding: str, samples: np.ndarray | None = None) -> Path:
    """Write a file; by default one second of a voice at 16 kHz, mono."""
    path = folder / f"{container}-{coding}.bin"
    samples = voice(1, 130, 1.0) if samples is None else samples
    soundfile.write(path, samples, RATE_HZ, format=container, subtype=coding)
    return path


def write_field(path: Path, at: int, content: bytes) -> Path:
    """Overwrite bytes of a file."""
    whole = bytearray(path.read_bytes())
    whole[at : at + len(content)] = content
    path.write_bytes(whole)
    return path
