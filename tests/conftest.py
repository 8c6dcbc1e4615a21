"""Fixtures shared by all rooms: a seeded generator, synthetic clips, and the real corpora where they are at hand."""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# Two cores are shared by several test processes; one thread each is faster than two that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Started in a shell's background, Ctrl-C is ignored, also by every process that a test starts to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Every embedding file and every run names the versions that made it; each is looked up in its package's folder.
importlib.metadata.version = functools.cache(importlib.metadata.version)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SAMPLE_RATE_HZ = 16_000

_seen_modules = [0]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20_240_601)


@pytest.fixture
def emovo_root() -> Path:
    """The real EMOVO corpus (588 clips), where it lies beside the project."""
    root = SHARED_DATA / "EMOVO"
    if not root.is_dir():
        pytest.skip("EMOVO is not at hand")
    return root


@pytest.fixture
def write_clip(tmp_path: Path, rng: np.random.Generator) -> Callable[..., Path]:
    """Write a voiced-sounding synthetic clip: a glottal-like pulse train with vibrato and a little noise."""
    import soundfile

    def write(
        name: str,
        duration_s: float = 0.6,
        pitch_hz: float = 140.0,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        gain: float = 0.3,
    ) -> Path:
        time_s = np.arange(int(duration_s * sample_rate_hz)) / sample_rate_hz
        phase = 2 * np.pi * pitch_hz * (time_s + 0.002 * np.sin(2 * np.pi * 5 * time_s))
        voice = sum(np.sin(k * phase) / k for k in range(1, 12))
        samples = gain * voice / 2 + 0.01 * rng.standard_normal(len(time_s))
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples.astype(np.float32), sample_rate_hz, subtype="PCM_16")
        return path

    return write


def pytest_collection_finish() -> None:
    """Take what is loaded by now out of the garbage collector's sight: it lives as long as the tests do.

    Whole collections, which figures and the guard of memory ask for, otherwise look through all of it each time.
    """
    gc.collect()
    gc.freeze()


def pytest_runtest_setup() -> None:
    """Take speechbrain's placeholders for its old module names out of the loaded modules.

    Looking at any attribute of one imports what it stands for and fails where that is not installed; hypothesis looks
    at all loaded modules.
    """
    # Only where there are new ones: before each test, looking through thousands of modules adds up to half a minute.
    if "speechbrain" in sys.modules and len(sys.modules) != _seen_modules[0]:
        for name, module in list(sys.modules.items()):
            if type(module).__name__ in ("LazyModule", "DeprecatedModuleRedirect"):
                del sys.modules[name]
        _seen_modules[0] = len(sys.modules)
