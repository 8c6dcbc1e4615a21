"""One pass for several poolings, checkpoints, precisions and long clips: each as if it had been alone."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.embeddings import computation
from ser_probe.embeddings.computation import load_input
from ser_probe.embeddings.extract import CacheRequest, embedding_key, extract
from ser_probe.embeddings.passes import ClipList, Extraction, ExtractionSettings
from ser_probe.embeddings.shards import committed
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import BackboneError, ConfigError
from ser_probe.models.backbone import Backbone
from ser_probe.models.chunks import Chunking, cut_clip
from ser_probe.models.embedding import evaluating
from ser_probe.models.forward import run_encoder, run_front_end
from ser_probe.models.frames import Frames
from ser_probe.models.loading import load_backbone, save_backbone
from ser_probe.models.pooling import parse_pooling
from ser_probe.models.precision import arithmetic
from tests.embeddings.speech import (
    DURATIONS_S,
    SETTINGS,
    datasets,
    list_clips,
    relative,
    save_perturbed,
    tiny,
    with_workers,
)

ROUNDING = 3e-6
"""Relative, in float32: other kernels, or another batch."""

POOLINGS = ("mean", "std", "mean+std", "max", "segments:3", "frames")
CHUNKING = Chunking(0.5, 0.1)
CPU = torch.device("cpu")

try:
    import silero_vad  # noqa: F401 - only whether it is there

    HAS_VAD = True
except ImportError:
    HAS_VAD = False
needs_vad = pytest.mark.skipif(not HAS_VAD, reason="silero-vad is not installed")


@pytest.fixture
def paths(write_clip: Callable[..., Path]) -> list[Path]:
    return [write_clip(f"f1/{row}.wav", duration_s, 100 + 9 * row) for row, duration_s in enumerate(DURATIONS_S)]


@pytest.fixture
def few_clips(clips: ClipList) -> ClipList:
    """Five of them, in two batches at least."""
    return ClipList(clips.table[:5], clips.paths[:5])


@pytest.fixture
def clips(paths: list[Path], tmp_path: Path) -> ClipList:
    return list_clips(paths, tmp_path)


def run(
    path: Path,
    clips: ClipList,
    settings: ExtractionSettings = SETTINGS,
    *,
    pooling: str = "mean",
    backbone: Backbone | None = None,
) -> Extraction:
    return extract([CacheRequest(backbone or tiny(), path, pooling)], clips, settings)[0]


def stored(path: Path) -> np.ndarray:
    with EmbeddingCache.open(path) as cache:
        return np.array(cache.array)


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """Count the calls of a function of the pass."""
    calls: list[int] = []
    plain = getattr(computation, name)
    monkeypatch.setattr(computation, name, lambda *args: calls.append(1) or plain(*args))
    return calls


# ------------------------------------------------------------------------------------- several caches in one pass


def test_poolings_in_one_pass_equal_separate_passes(
    few_clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwards = counted(monkeypatch, "pool_layers")
    targets = [CacheRequest(tiny(), tmp_path / f"together-{row}.h5", pooling) for row, pooling in enumerate(POOLINGS)]
    together = extract(targets, few_clips, SETTINGS)
    in_one_pass = len(forwards)
    assert in_one_pass > 1
    for row, (pooling, result) in enumerate(zip(POOLINGS, together, strict=True)):
        alone = run(tmp_path / f"alone-{row}.h5", few_clips, pooling=pooling)
        assert alone.key == result.key
        assert datasets(alone.path) == datasets(result.path)
    assert len(forwards) == (1 + len(POOLINGS)) * in_one_pass
    assert len({result.key for result in together}) == len(POOLINGS)


def test_checkpoints_times_poolings_in_one_pass_equal_as_many_passes(
    few_clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbones = [load_backbone(save_perturbed(tmp_path / f"checkpoint-{seed}", seed)) for seed in (1, 2)]
    wanted = [(backbone, pooling) for backbone in backbones for pooling in ("mean", "frames")]
    fronts, forwards = counted(monkeypatch, "run_prepared"), counted(monkeypatch, "pool_layers")
    together = extract(
        [CacheRequest(backbone, tmp_path / f"together-{row}.h5", name) for row, (backbone, name) in enumerate(wanted)],
        few_clips,
        SETTINGS,
    )
    assert len(forwards) == 2 * len(fronts) > 2
    for row, (backbone, pooling) in enumerate(wanted):
        alone = run(tmp_path / f"alone-{row}.h5", few_clips, pooling=pooling, backbone=backbone)
        assert datasets(alone.path) == datasets(together[row].path)


def test_frames_pooled_by_hand_are_the_mean(clips: ClipList, tmp_path: Path) -> None:
    extract([CacheRequest(tiny(), tmp_path / f"{name}.h5", name) for name in ("mean", "frames")], clips, SETTINGS)
    with EmbeddingCache.open(tmp_path / "mean.h5") as mean, EmbeddingCache.open(tmp_path / "frames.h5") as frames:
        assert frames.clips["n_frames"].tolist() == mean.clips["n_frames"].tolist()
        for name in mean.layer_names:
            by_hand = np.stack([frames.frames(name, clip_id).mean(axis=0) for clip_id in mean.clip_ids])
            assert relative(by_hand, mean.layer(name)) < ROUNDING


def test_a_pooling_that_is_there_already_costs_no_pass(
    clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "mean.h5", clips)
    forwards = counted(monkeypatch, "pool_layers")
    both = extract([CacheRequest(tiny(), tmp_path / f"{name}.h5", name) for name in ("mean", "max")], clips, SETTINGS)
    assert [result.n_computed for result in both] == [0, 9]
    asked = len(forwards)
    extract([CacheRequest(tiny(), tmp_path / f"{name}.h5", name) for name in ("mean", "max")], clips, SETTINGS)
    assert len(forwards) == asked > 0


# ----------------------------------------------------------------------------------------------------- long clips


def frames_of(backbone: Backbone, samples: np.ndarray) -> dict[str, np.ndarray]:
    """Return the frames of a clip that goes through alone, [T, D] a layer."""
    layers: dict[str, np.ndarray] = {}
    with evaluating([backbone]):
        run_encoder(
            backbone,
            run_front_end(backbone, [samples]),
            lambda name, hidden, _mask: layers.update({name: hidden[0].numpy().copy()}),
        )
    return layers


@pytest.mark.parametrize("name", ["tiny-wavlm-base", "tiny-wav2vec2-bert", "tiny-hubert-large"])
def test_long_clips_are_pooled_over_the_frames_of_their_chunks(name: str, clips: ClipList, tmp_path: Path) -> None:
    backbone, settings = tiny(name), replace(SETTINGS, chunking=CHUNKING)
    targets = [CacheRequest(backbone, tmp_path / f"{row}.h5", pooling) for row, pooling in enumerate(POOLINGS)]
    extract(targets, clips, settings)
    n_cut = 0
    with ExitStack() as stack:
        caches = {
            pooling: stack.enter_context(EmbeddingCache.open(tmp_path / f"{row}.h5"))
            for row, pooling in enumerate(POOLINGS)
        }
        for place, path in enumerate(clips.paths):
            samples = load_clip(path, settings.audio).samples
            chunks = cut_clip(backbone, len(samples), CHUNKING)
            n_cut += len(chunks) > 1
            apart = [frames_of(backbone, samples[chunk.start : chunk.stop]) for chunk in chunks]
            for pooling, cache in caches.items():
                for layer in cache.layer_names:
                    kept = [part[layer][c.keep_from : c.keep_to] for part, c in zip(apart, chunks, strict=True)]
                    stitched = torch.from_numpy(np.concatenate(kept))[None]
                    every = torch.ones(1, stitched.shape[1], dtype=torch.bool)
                    expected = parse_pooling(pooling)(stitched, every).numpy()
                    clip_id = clips.table["clip_id"][place]
                    found = cache.frames(layer, clip_id) if cache.ragged else cache.layer(layer)[place : place + 1]
                    assert relative(found, expected) < 2 * ROUNDING
                assert cache.clips["n_frames"][place] == backbone.frame_counts([len(samples)])[0]
    assert 3 < n_cut < 9


def test_clips_under_the_limit_are_as_without_chunks(clips: ClipList, tmp_path: Path) -> None:
    plain = run(tmp_path / "plain.h5", clips)
    cut = run(tmp_path / "cut.h5", clips, replace(SETTINGS, chunking=Chunking(5.0, 1.0)))
    assert plain.key != cut.key
    np.testing.assert_array_equal(stored(cut.path), stored(plain.path))
    some = run(tmp_path / "some.h5", clips, replace(SETTINGS, chunking=CHUNKING))
    short = np.array(DURATIONS_S) <= CHUNKING.length_s
    assert relative(stored(some.path)[:, short], stored(plain.path)[:, short]) < ROUNDING
    assert relative(stored(some.path)[:, ~short], stored(plain.path)[:, ~short]) > 0.001


def test_chunks_longer_than_what_the_model_hears_are_refused_first(clips: ClipList, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="longer than what the model hears"):
        run(tmp_path / "x.h5", clips, replace(SETTINGS, chunking=Chunking(31.0, 2.0)), backbone=tiny("tiny-whisper"))


def test_a_clip_longer_than_whisper_hears(write_clip: Callable[..., Path], tmp_path: Path) -> None:
    clips = list_clips([write_clip("f1/long.wav", 30.2), write_clip("f1/short.wav", 0.5)], tmp_path)
    settings = replace(SETTINGS, audio=AudioSpec(max_duration_s=99.0))
    result = run(tmp_path / "x.h5", clips, settings, backbone=tiny("tiny-whisper"))
    assert result.rejects["path"].tolist() == ["f1/long.wav"]
    assert result.rejects["reason"].tolist() == ["The clip is longer than what the model hears"]
    cut = replace(settings, chunking=Chunking(20.0, 2.0))
    assert run(tmp_path / "cut.h5", clips, cut, backbone=tiny("tiny-whisper")).n_computed == 2


# --------------------------------------------------------------------------------------------------- out of memory


def limit(monkeypatch: pytest.MonkeyPatch, most_s: float) -> None:
    """Let the encoder fail, as a device would, on batches of more padded seconds."""
    plain = computation.pool_layers

    def pool(backbone: Backbone, frames: Frames, *rest: Any) -> Any:
        if frames.features.shape[0] * frames.features.shape[1] * 0.02 > most_s:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(backbone, frames, *rest)

    monkeypatch.setattr(computation, "pool_layers", pool)


def test_batches_that_do_not_fit_are_halved(
    clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    large = replace(SETTINGS, batch_seconds=20.0, max_clips=None)
    targets = [CacheRequest(tiny(), tmp_path / f"whole-{row}.h5", name) for row, name in enumerate(POOLINGS)]
    whole = extract(targets, clips, large)
    limit(monkeypatch, 2.5)
    small = extract([replace(t, path=tmp_path / f"x-{row}.h5") for row, t in enumerate(targets)], clips, large)
    for one, other in zip(whole, small, strict=True):
        assert (one.n_computed, other.n_computed) == (9, 9)
        with EmbeddingCache.open(one.path) as first, EmbeddingCache.open(other.path) as second:
            assert first.clip_ids == second.clip_ids
            np.testing.assert_allclose(second.array, first.array, rtol=1e-4, atol=1e-5)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("Out of memory with 9 clips of 11 padded s" in message for message in warnings)


def test_a_clip_that_does_not_fit_alone_ends_the_run_and_keeps_the_rest(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = list_clips(paths, tmp_path)
    with monkeypatch.context() as patch:
        limit(patch, 0.8)  # the longest come first
        with pytest.raises(
            BackboneError, match=r"too little memory for one stretch of 1\.2 s(.|\n)*--long-clips chunk"
        ):
            run(tmp_path / "x.h5", clips)
        run(tmp_path / "cut.h5", clips, replace(SETTINGS, chunking=Chunking(0.7, 0.1)))
    assert run(tmp_path / "x.h5", clips).n_computed == 9


REAL = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from ser_probe.embeddings.extract import CacheRequest, extract
from tests.embeddings.speech import SETTINGS, list_clips, tiny

folder = Path(sys.argv[1])
clips = list_clips([folder / "f1" / f"{row}.wav" for row in range(10)], folder)
long = replace(SETTINGS, audio=replace(SETTINGS.audio, max_duration_s=99.0), batch_seconds=600.0, max_clips=None)
target = CacheRequest(tiny(), folder / "x.h5")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (950 << 20), resource.RLIM_INFINITY))
extract([target], clips, long)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
(result,) = extract([target], clips, replace(long, verify=3))
print(result.n_clips, result.n_computed, result.verify_error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="addresses are counted by /proc")
def test_a_machine_whose_memory_really_ends(write_clip: Callable[..., Path], tmp_path: Path) -> None:
    """One clip of 60 s takes about 520 MiB of addresses, with what is reserved once; nine together take over 1200."""
    for row in range(10):
        write_clip(f"f1/{row}.wav", 60 + row / 100, 100 + 3 * row)
    ended = subprocess.run(
        [sys.executable, "-c", REAL, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        # Each arena that glibc tries after a failure reserves addresses for good.
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Out of memory with 9 clips of 541 padded s" in ended.stderr
    n_clips, n_computed, error = ended.stdout.split()
    assert (n_clips, n_computed) == ("10", "0")
    assert 0 < float(error) < 1e-5


# ------------------------------------------------------------------------------------------ precision and decoding


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close_and_stored_in_float32(clips: ClipList, tmp_path: Path, precision: str) -> None:
    exact = run(tmp_path / "exact.h5", clips)
    half = run(tmp_path / "half.h5", clips, replace(SETTINGS, precision=precision, verify=4))
    assert stored(half.path).dtype == np.float32
    assert ROUNDING < relative(stored(half.path), stored(exact.path)) < {"bf16": 5e-2, "fp16": 5e-3}[precision]
    assert half.verify_error is not None
    assert ROUNDING < half.verify_error < 5e-2
    assert half.key != exact.key


def test_tf32_on_a_cpu_leaves_no_trace(clips: ClipList, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tf32 exists on CUDA devices only"):
        run(tmp_path / "x.h5", clips, replace(SETTINGS, precision="tf32"))
    assert not torch.is_inference_mode_enabled()
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize("name", ["tiny-whisper", "tiny-wav2vec2-bert", "tiny-wavlm-large"])
def test_what_a_model_is_fed_does_not_depend_on_the_precision(name: str, clips: ClipList) -> None:
    """As in a main process that decodes by itself, and in workers that are forked from it."""
    backbone = tiny(name)
    audio = replace(SETTINGS.audio, loudness_lufs=-23.0)
    options: dict[str, Any] = {"audio": audio, "model_input": backbone.input, "shortest": 400, "cut_over": None}
    options["speech"] = 320 if HAS_VAD else None
    for path in clips.paths:
        plain, _ = load_input(path, **options)
        with arithmetic("bf16", CPU):
            amid, _ = load_input(path, **options)
            (again,) = run_front_end(backbone, [load_clip(path, audio).samples]).n_frames
        np.testing.assert_array_equal(amid.prepared, plain.prepared)
        np.testing.assert_array_equal(amid.speech, plain.speech)
        assert again == backbone.frame_counts([plain.n_samples])[0]


def test_whisper_in_half_precision_with_chunks(clips: ClipList, tmp_path: Path) -> None:
    settings = replace(SETTINGS, precision="bf16", chunking=Chunking(0.8, 0.1), verify=2)
    some = ClipList(clips.table.iloc[:3], clips.paths[:3])
    result = run(tmp_path / "x.h5", some, settings, backbone=tiny("tiny-whisper"))
    assert result.verify_error is not None
    assert result.verify_error < 5e-2


# ---------------------------------------------------------------------------------------------------------- speech


@needs_vad
def test_a_clip_without_speech_is_the_mean_over_all_frames(paths: list[Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(paths[3], (0.01 * rng.standard_normal(9000)).astype(np.float32), 16_000)
    clips = list_clips(paths, tmp_path)
    names = ("mean", "speech-mean")
    extract([CacheRequest(tiny(), tmp_path / f"{name}.h5", name) for name in names], clips, SETTINGS)
    with EmbeddingCache.open(tmp_path / "mean.h5") as mean, EmbeddingCache.open(tmp_path / "speech-mean.h5") as spoken:
        assert spoken.clips["n_frames"][3] == 0
        np.testing.assert_array_equal(spoken.array[:, 3], mean.array[:, 3])
        assert mean.clips["n_frames"][3] > 0
    alone = run(tmp_path / "alone.h5", clips, replace(with_workers(1), verify=9), pooling="speech-mean")
    assert datasets(alone.path) == datasets(tmp_path / "speech-mean.h5")
    assert alone.verify_error is not None
    assert alone.verify_error < 1e-5


@needs_vad
@pytest.mark.parametrize("chunking", [None, Chunking(0.7, 0.1)], ids=["whole", "cut"])
def test_speech_mean_is_the_mean_over_the_frames_of_speech(
    chunking: Chunking | None, clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By frames that are stored, and a detector that finds speech where it is told to."""

    def every_other(samples: np.ndarray, n_frames: int, *_: object) -> np.ndarray:
        return np.arange(n_frames) % 5 < 2

    monkeypatch.setattr(computation, "speech_frames", every_other)
    settings = replace(SETTINGS, chunking=chunking, verify=9)
    results = extract(
        [CacheRequest(tiny(), tmp_path / f"{name}.h5", name) for name in ("frames", "speech-mean")], clips, settings
    )
    assert results[1].verify_error is not None
    assert results[1].verify_error < 1e-5
    with EmbeddingCache.open(results[0].path) as frames, EmbeddingCache.open(results[1].path) as spoken:
        for place, clip_id in enumerate(spoken.clip_ids):
            for layer in spoken.layer_names:
                hidden = frames.frames(layer, clip_id)
                chosen = every_other(hidden, len(hidden))
                assert relative(spoken.layer(layer)[place][None], hidden[chosen].mean(axis=0)[None]) < ROUNDING
            assert spoken.clips["n_frames"][place] == chosen.sum()


def test_speech_is_found_on_each_models_own_frames(
    clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model with a frame each 10 ms beside one with a frame each 20 ms; the first 0.2 s of a clip are speech."""
    monkeypatch.setattr(computation, "speech_frames", lambda _samples, n, hop: np.arange(n) * hop < 3200)
    monkeypatch.setattr("ser_probe.audio.speech.ingredients", dict)
    folder = tmp_path / "finer"
    save_backbone(load_backbone("tiny-wav2vec2-base"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["conv_stride"][-1] = 1
    (folder / "config.json").write_text(json.dumps(config))
    backbones = tiny("tiny-wav2vec2-base"), load_backbone(folder)
    targets = [
        CacheRequest(backbone, tmp_path / f"{row}-{name}.h5", name)
        for row, backbone in enumerate(backbones)
        for name in ("frames", "speech-mean")
    ]
    extract(targets, clips, SETTINGS)
    for row, n_spoken in enumerate((10, 20)):
        with (
            EmbeddingCache.open(targets[2 * row].path) as frames,
            EmbeddingCache.open(targets[2 * row + 1].path) as mean,
        ):
            assert set(mean.clips["n_frames"]) == {n_spoken}
            for place, clip_id in enumerate(mean.clip_ids):
                by_hand = frames.frames("final", clip_id)[:n_spoken].mean(axis=0)
                assert relative(mean.layer("final")[place][None], by_hand[None]) < ROUNDING


# ------------------------------------------------------------------------------------------------ errors amid a pass


@pytest.mark.parametrize("seconds_per_shard", [0.0, 1e6])
def test_what_was_computed_before_an_error_is_committed(
    clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds_per_shard: float
) -> None:
    plain, calls = computation.pool_layers, []

    def stops(backbone: Backbone, frames: Frames, poolings: Sequence[Any], *rest: Any) -> Any:
        if len(calls) == 3:
            raise ZeroDivisionError("a fault of the program")
        calls.append(len(frames.n_frames))
        return plain(backbone, frames, poolings, *rest)

    settings = replace(SETTINGS, seconds_per_shard=seconds_per_shard)
    monkeypatch.setattr(computation, "pool_layers", stops)
    targets = [CacheRequest(tiny(), tmp_path / f"{name}.h5", name) for name in ("mean", "frames")]
    with pytest.raises(ZeroDivisionError, match="a fault of the program"):
        extract(targets, clips, settings)
    for target in targets:
        key = embedding_key(tiny(), settings, target.pooling)
        assert len(committed(target.path, key).clips) == sum(calls)
    assert not torch.is_inference_mode_enabled()
    monkeypatch.setattr(computation, "pool_layers", plain)
    rest = extract(targets, clips, settings)
    assert [result.n_computed for result in rest] == [9 - sum(calls)] * 2
    run(tmp_path / "whole.h5", clips, settings)
    assert datasets(tmp_path / "mean.h5") == datasets(tmp_path / "whole.h5")
