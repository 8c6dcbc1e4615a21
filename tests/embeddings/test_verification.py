"""Verification finds what differs from a clip alone, in every kind of cache, and nothing where nothing does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ser_probe.embeddings import computation
from ser_probe.embeddings.extract import CacheRequest, extract
from ser_probe.embeddings.passes import ClipList, Extraction, ExtractionSettings
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.verification import VERIFY_TOLERANCE, allowed_difference, verify_cache
from ser_probe.models.backbone import Backbone
from ser_probe.models.chunks import Chunking
from ser_probe.models.frames import Frames
from tests.embeddings.speech import DURATIONS_S, SETTINGS, list_clips, tiny

ALL = replace(SETTINGS, verify=9)
KINDS: dict[str, tuple[str, ExtractionSettings]] = {
    "mean": ("mean", ALL),
    "std": ("std", ALL),
    "frames": ("frames", ALL),
    "segments": ("segments:2", ALL),
    "chunks": ("mean", replace(ALL, chunking=Chunking(0.5, 0.1))),
    "frames of chunks": ("frames", replace(ALL, chunking=Chunking(0.5, 0.1))),
    "float16": ("mean", replace(ALL, storage="float16")),
    "bf16": ("mean", replace(ALL, precision="bf16")),
    "fp16 of frames": ("frames", replace(ALL, precision="fp16")),
}


@pytest.fixture
def clips(write_clip: Callable[..., Path], tmp_path: Path) -> ClipList:
    paths = [write_clip(f"f1/{row}.wav", duration_s, 100 + 9 * row) for row, duration_s in enumerate(DURATIONS_S)]
    return list_clips(paths, tmp_path)


def run(path: Path, clips: ClipList, kind: str) -> Extraction:
    pooling, settings = KINDS[kind]
    return extract([CacheRequest(tiny(), path, pooling)], clips, settings)[0]


def tamper(monkeypatch: pytest.MonkeyPatch, how: Callable[[torch.Tensor], torch.Tensor], function: str) -> None:
    """Change one value of what the pass computes; a clip alone goes another way."""
    plain, once = getattr(computation, function), iter([True])

    def pool(backbone: Backbone, frames: Frames, *rest: Any, **options: Any) -> list[torch.Tensor]:
        pooled = plain(backbone, frames, *rest, **options)
        if next(once, False):
            for value in pooled:
                value[-1, -1] = how(value[-1, -1])
        return pooled

    monkeypatch.setattr(computation, function, pool)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found_where_nothing_is(
    kind: str, clips: ClipList, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        error = run(tmp_path / "x.h5", clips, kind).verify_error
    assert error is not None
    assert 0 < error < allowed_difference(KINDS[kind][1])
    (said,) = [record for record in caplog.records if "clips alone, in fp32" in record.getMessage()]
    assert said.levelno == logging.INFO
    assert said.getMessage().startswith("x.h5: 9 clips alone, in fp32, differ from what is stored by at most ")


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_that_is_wrong_is_found(
    kind: str, clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last vector of the last layer of the first batch is somebody else's."""
    cut = KINDS[kind][1].chunking is not None
    tamper(monkeypatch, lambda vector: vector.flip(0) + 1, "pool_chunks" if cut else "pool_layers")
    error = run(tmp_path / "x.h5", clips, kind).verify_error
    assert error is not None
    assert error > allowed_difference(KINDS[kind][1])
    assert caplog.records[-1].levelno == logging.WARNING
    assert "9 clips alone, in fp32, differ from what is stored by at most" in caplog.text
    with EmbeddingCache.open(tmp_path / "x.h5") as cache:
        assert cache.attributes["verify_error"] == error


def test_tolerances_are_those_of_the_precision_and_the_storage() -> None:
    assert allowed_difference(SETTINGS) == VERIFY_TOLERANCE
    assert allowed_difference(replace(SETTINGS, storage="float16")) == VERIFY_TOLERANCE + 2**-11
    loose = [allowed_difference(replace(SETTINGS, precision=name)) for name in ("fp16", "tf32", "bf16")]
    assert loose == sorted(loose)
    assert loose[0] > 100 * VERIFY_TOLERANCE


def test_a_batch_too_wrong_by_little_is_over_the_tolerance(
    clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tamper(monkeypatch, lambda vector: vector * (1 + 3 * VERIFY_TOLERANCE), "pool_layers")
    assert run(tmp_path / "x.h5", clips, "mean").verify_error == pytest.approx(3 * VERIFY_TOLERANCE, rel=0.2)


def test_layers_of_zeros_have_no_error(write_clip: Callable[..., Path], tmp_path: Path) -> None:
    """The deviation over the one frame of the shortest clip there is."""
    clips = list_clips([write_clip("f1/short.wav", 0.025), write_clip("f1/long.wav", 0.5)], tmp_path)
    settings = replace(SETTINGS, audio=replace(SETTINGS.audio), verify=2)
    (result,) = extract([CacheRequest(tiny(), tmp_path / "x.h5", "std")], clips, settings)
    with EmbeddingCache.open(result.path) as cache:
        assert cache.clips["n_frames"][0] == 1
        np.testing.assert_array_equal(cache.array[:, 0], 0)
    assert result.verify_error is not None
    assert result.verify_error < VERIFY_TOLERANCE


def test_files_that_are_gone_or_others_by_now_are_left_aside(clips: ClipList, tmp_path: Path) -> None:
    """They were computed by an earlier run, and this one has no need of them."""
    some = ClipList(clips.table.iloc[:7], clips.paths[:7])
    extract([CacheRequest(tiny(), tmp_path / "x.h5")], some, SETTINGS)
    for path in clips.paths[:5]:
        path.unlink()
    clips.paths[5].write_bytes(clips.paths[6].read_bytes())
    result = run(tmp_path / "x.h5", clips, "mean")
    assert result.n_computed == 2
    assert result.verify_error is not None
    assert 0 < result.verify_error < VERIFY_TOLERANCE
    for path in clips.paths:
        path.unlink(missing_ok=True)
    assert verify_cache(tmp_path / "x.h5", tiny(), clips, ALL) == 0


def test_the_same_clips_are_drawn_each_time(clips: ClipList, tmp_path: Path) -> None:
    extract([CacheRequest(tiny(), tmp_path / "x.h5")], clips, SETTINGS)
    two = replace(SETTINGS, verify=2)
    errors = {verify_cache(tmp_path / "x.h5", tiny(), clips, two) for _ in range(3)}
    assert len(errors) == 1
