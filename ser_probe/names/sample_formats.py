"""Formats of samples in WAV files that are written."""

from __future__ import annotations

SAMPLE_FORMATS = {"float32": "FLOAT", "pcm24": "PCM_24", "pcm16": "PCM_16"}
"""libsndfile's name of each; `float32` keeps every sample as it is."""
