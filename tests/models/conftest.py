"""Fixtures of the models room: synthetic clips of many lengths, and each tiny model once a session."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.clip_length import MIN_SAMPLES
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.loading import load_backbone

PLAIN_MODELS = [f"tiny-{family}-{size}" for family in ("wav2vec2", "hubert", "wavlm") for size in ("base", "large")]
"""The tiny models that hear waveforms and differ in nothing but their norms and their attention."""

RELATIVE_TOLERANCE = 1e-5
"""What issue and design ask of a batch in float32. Round-off reaches about 1e-6 (measured); the smallest of the
known mistakes costs a thousand times as much."""


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest ||found - expected|| / ||expected|| over all vectors, which lie along the last axis."""
    error = np.linalg.norm(np.asarray(found, np.float64) - expected, axis=-1)
    return float((error / np.linalg.norm(np.asarray(expected, np.float64), axis=-1)).max())


def layers_one_by_one(backbone: Backbone, clips: list[np.ndarray]) -> np.ndarray:
    """Return the pooled layers [L, B, D] with each clip in a batch of its own."""
    return np.concatenate([pooled_layers(backbone, [clip]) for clip in clips], axis=1)


def synthetic_clip(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Return a pulse train with noise under a slow envelope: not stationary, not centred, of arbitrary level."""
    time_s = np.arange(n_samples) / 16_000
    pitch_hz, level = rng.uniform(90, 260), rng.uniform(0.02, 0.5)
    voice = sum(np.sin(2 * np.pi * k * pitch_hz * time_s) / k for k in range(1, 9))
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(1, 4) * time_s + rng.uniform(0, 6))
    return (level * envelope * voice + 0.02 * rng.standard_normal(n_samples) + 0.01).astype(np.float32)


@pytest.fixture(scope="session")
def clips() -> list[np.ndarray]:
    """32 clips of 32 lengths, from the shortest possible to 2 s."""
    rng = np.random.default_rng(7)
    lengths = [MIN_SAMPLES, MIN_SAMPLES + 1, 719, 720, *rng.integers(1_000, 32_000, size=28)]
    return [synthetic_clip(rng, int(length)) for length in lengths]


@pytest.fixture(scope="session")
def tiny_models() -> dict[str, Backbone]:
    return {name: load_backbone(name) for name in TINY_CONFIGS}


@pytest.fixture(scope="session")
def clips_alone(tiny_models: dict[str, Backbone], clips: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Per model: the pooled layers [L, B, D] of the clips, each in a batch of its own."""
    return {name: layers_one_by_one(tiny_models[name], clips) for name in PLAIN_MODELS}


@pytest.fixture(params=PLAIN_MODELS)
def backbone(request: pytest.FixtureRequest, tiny_models: dict[str, Backbone]) -> Backbone:
    """Each plain model in turn, in evaluation mode. Shared: a test that changes it loads its own."""
    return tiny_models[request.param]


@pytest.fixture(params=TINY_CONFIGS)
def any_backbone(request: pytest.FixtureRequest, tiny_models: dict[str, Backbone]) -> Backbone:
    """Each tiny model of each family in turn, in evaluation mode. Shared too."""
    return tiny_models[request.param]
