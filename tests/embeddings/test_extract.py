from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ser_probe.audio.load import AudioSpec, Clip
from ser_probe.embeddings import computation
from ser_probe.embeddings.extract import CacheRequest, embedding_key, extract
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.passes import ClipList, Extraction, ExtractionSettings
from ser_probe.embeddings.shards import committed
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.verification import verify_cache
from ser_probe.errors import AudioError, BackboneError, CacheError, SerProbeError
from ser_probe.models import pooling
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.chunks import Chunking
from ser_probe.models.frames import Frames
from ser_probe.models.inputs import InputSpec
from ser_probe.models.loading import load_backbone
from ser_probe.runtime import SILENT, Progress
from tests.embeddings.speech import (
    DURATIONS_S,
    SETTINGS,
    StopAfter,
    alone,
    datasets,
    list_clips,
    relative,
    save_perturbed,
    tiny,
    with_workers,
)
from tests.forked import Forked

EXACT = 1e-5
"""Relative: what design 3.2 allows a batch to change, in fp32."""

REMARK = "x" * 20_000
"""Of each clip; in the finished file only, which is then by far the largest."""

HALF_PRECISION = 2.0**-11
"""Relative rounding of float16."""


@pytest.fixture
def paths(write_clip: Callable[..., Path]) -> list[Path]:
    return [write_clip(f"f1/{row}.wav", duration_s, 100 + 9 * row) for row, duration_s in enumerate(DURATIONS_S)]


@pytest.fixture
def clips(paths: list[Path], tmp_path: Path) -> ClipList:
    return list_clips(paths, tmp_path)


def run(
    path: Path,
    clips: ClipList,
    settings: ExtractionSettings = SETTINGS,
    *,
    backbone: Backbone | None = None,
    progress: Progress = SILENT,
) -> Extraction:
    """Extract with one tiny backbone into one file."""
    target = CacheRequest(backbone or tiny(), path, attributes={"checkpoint": "step-0", "step": 0})
    return extract([target], clips, settings, progress=progress)[0]


def stored(path: Path) -> np.ndarray:
    with EmbeddingCache.open(path) as cache:
        return np.array(cache.array)


@pytest.fixture
def forward_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of clips of each forward pass of an encoder, as they happen."""
    calls: list[int] = []
    plain = computation.pool_layers

    def counted(backbone: Backbone, frames: Frames, *args: object) -> list[torch.Tensor]:
        calls.append(len(frames.n_frames))
        return plain(backbone, frames, *args)

    monkeypatch.setattr(computation, "pool_layers", counted)
    return calls


# ---------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_every_layer_and_clip_equals_the_clip_alone(name: str, clips: ClipList, tmp_path: Path) -> None:
    backbone = tiny(name)
    result = run(tmp_path / "x.h5", clips, backbone=backbone)
    assert (result.n_clips, result.n_computed, len(result.rejects)) == (9, 9, 0)
    with EmbeddingCache.open(result.path, result.key) as cache:
        assert cache.layer_names == backbone.layer_names
        assert cache.clip_ids == clips.table["clip_id"].tolist()
        assert cache.clips["path"].tolist() == clips.table["path"].tolist()
        n_samples = [soundfile.info(path).frames for path in clips.paths]
        assert cache.clips["n_frames"].tolist() == backbone.frame_counts(n_samples).tolist()
        assert relative(cache.array, alone(backbone, clips)) < EXACT


def test_repeated_content_is_computed_once(paths: list[Path], tmp_path: Path, forward_calls: list[int]) -> None:
    twin = tmp_path / "f1" / "another name.wav"
    twin.write_bytes(paths[0].read_bytes())
    result = run(tmp_path / "x.h5", list_clips([*paths, twin], tmp_path))
    assert sum(forward_calls) == result.n_clips == result.n_computed == len(paths)
    with EmbeddingCache.open(result.path) as cache:
        assert cache.clips["path"].tolist() == [f"f1/{row}.wav" for row in range(len(paths))]


def test_float16_storage_is_finite_and_close(clips: ClipList, tmp_path: Path) -> None:
    run(tmp_path / "x.h5", clips, replace(SETTINGS, storage="float16", verify=9))
    half = stored(tmp_path / "x.h5")
    assert half.dtype == np.float16
    assert np.isfinite(half).all()
    assert EXACT < relative(half, alone(tiny(), clips)) < HALF_PRECISION


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_no_bit(clips: ClipList, tmp_path: Path, workers: int) -> None:
    run(tmp_path / "here.h5", clips)
    run(tmp_path / "workers.h5", clips, with_workers(workers))
    assert datasets(tmp_path / "here.h5") == datasets(tmp_path / "workers.h5")


# --------------------------------------------------------------------------------------- several checkpoints


def test_checkpoints_in_one_pass_equal_separate_passes(
    clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [save_perturbed(tmp_path / f"checkpoint-{seed}", seed) for seed in (1, 2, 3)]
    fronts = []
    plain = computation.run_prepared
    monkeypatch.setattr(computation, "run_prepared", lambda *args: fronts.append(1) or plain(*args))
    checkpoints = [load_backbone(folder) for folder in folders]
    together = extract(
        [CacheRequest(backbone, tmp_path / f"together-{row}.h5") for row, backbone in enumerate(checkpoints)],
        clips,
        SETTINGS,
    )
    in_one_pass = len(fronts)
    for row, backbone in enumerate(checkpoints):
        result = run(tmp_path / f"separate-{row}.h5", clips, backbone=backbone)
        assert result.key == together[row].key
        assert datasets(result.path) == datasets(together[row].path)
    assert len(fronts) == 4 * in_one_pass  # the front end that all share ran once a batch
    first, second = (stored(result.path) for result in together[:2])
    assert relative(first[1:], second[1:]) > 0.01


def other_front_ends(folder: Path) -> list[Backbone]:
    """Return models whose front ends look alike: other weights, another activation, another input."""
    activation = load_backbone("tiny-wavlm-base")
    activation.config.feat_extract_activation = "relu"
    for layer in activation.model.feature_extractor.conv_layers:
        layer.activation = torch.nn.ReLU()
    normalised = load_backbone("tiny-wavlm-base")
    normalised.input = InputSpec(16_000, normalise=True)
    return [load_backbone(save_perturbed(folder, 5, part="feature_extractor")), activation, normalised]


def test_front_ends_are_shared_only_where_they_are_equal(clips: ClipList, tmp_path: Path) -> None:
    backbones = [tiny(), *other_front_ends(tmp_path / "checkpoint")]
    targets = [CacheRequest(backbone, tmp_path / f"{row}.h5") for row, backbone in enumerate(backbones)]
    results = extract(targets, clips, SETTINGS)
    for backbone, result in zip(backbones, results, strict=True):
        assert relative(stored(result.path), alone(backbone, clips)) < EXACT
    assert len({stored(result.path).tobytes() for result in results}) == len(backbones)


def test_equal_checkpoints_of_one_path_are_computed_once(
    clips: ClipList, tmp_path: Path, forward_calls: list[int]
) -> None:
    twice = extract([CacheRequest(tiny(), tmp_path / "x.h5"), CacheRequest(tiny(), tmp_path / "x.h5")], clips, SETTINGS)
    assert [result.n_computed for result in twice] == [9, 9]
    assert sum(forward_calls) == 9


def test_other_checkpoints_of_one_path_are_refused_before_anything_is_computed(
    clips: ClipList, tmp_path: Path, forward_calls: list[int]
) -> None:
    targets = [CacheRequest(tiny(), tmp_path / "x.h5"), CacheRequest(tiny("tiny-hubert-base"), tmp_path / "x.h5")]
    with pytest.raises(CacheError, match="made from something else"):
        extract(targets, clips, SETTINGS)
    assert not forward_calls


# ----------------------------------------------------------------------------------- resuming, and doing no more


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("the power is gone")], ids=["ctrl-c", "fault"])
@pytest.mark.parametrize("seconds_per_shard", [0.0, 1e6], ids=["each batch", "on the way out"])
def test_resumed_run_equals_an_uninterrupted_one(
    clips: ClipList, tmp_path: Path, forward_calls: list[int], error: BaseException, seconds_per_shard: float
) -> None:
    settings = replace(SETTINGS, seconds_per_shard=seconds_per_shard)
    run(tmp_path / "whole.h5", clips, settings)
    whole = list(forward_calls)
    forward_calls.clear()
    for n_batches in (2, 1):
        with pytest.raises(type(error)):
            run(tmp_path / "x.h5", clips, settings, progress=StopAfter(n_batches, error))
    assert not (tmp_path / "x.h5").exists()
    n_committed = len(committed(tmp_path / "x.h5", embedding_key(tiny(), settings)))
    assert n_committed == sum(forward_calls)
    result = run(tmp_path / "x.h5", clips, settings)
    assert result.n_computed == 9 - n_committed
    assert forward_calls == whole  # the same batches, none twice
    assert datasets(tmp_path / "x.h5") == datasets(tmp_path / "whole.h5")
    assert sorted(file.name for file in tmp_path.glob("*x.h5*")) == ["x.h5"]


def test_fault_of_the_model_keeps_the_batches_before_it(
    clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole.h5", clips)
    plain, left = computation.pool_layers, iter([True, True])

    def fails(*args: object) -> list[torch.Tensor]:
        values = plain(*args)
        # The storing thread finds it while later batches are computed, and stored is none of them.
        return values if next(left, False) else [value * torch.nan for value in values]

    monkeypatch.setattr(computation, "pool_layers", fails)
    first = run(tmp_path / "x.h5", clips)
    assert 0 < first.n_computed < 9
    assert len(first.rejects) == 9 - first.n_computed
    assert set(first.rejects["reason"]) == {"The model's output is not finite (layer 0)"}
    with EmbeddingCache.open(tmp_path / "x.h5") as cache:
        assert not {*cache.clip_ids} & {*first.rejects["clip_id"]}, "what is left out leaves no row"
    monkeypatch.setattr(computation, "pool_layers", plain)
    # A device that fails makes such values too: the next run tries those clips again.
    assert run(tmp_path / "x.h5", clips).n_computed == 9 - first.n_computed
    with EmbeddingCache.open(tmp_path / "x.h5") as mended, EmbeddingCache.open(tmp_path / "whole.h5") as whole:
        order = [list(mended.clip_ids).index(clip_id) for clip_id in whole.clip_ids]
        assert relative(np.array(mended.array)[:, order], np.array(whole.array)) < EXACT


@pytest.mark.parametrize("kinds", [("mean",), ("max", "frames")])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_clip_that_the_model_makes_nothing_finite_of_is_left_out_by_name(
    kinds: tuple[str, ...], chunked: bool, clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, chunking=Chunking(0.7, 0.1)) if chunked else SETTINGS
    whole = extract([CacheRequest(tiny(), tmp_path / f"whole-{kind}.h5", kind) for kind in kinds], clips, settings)
    bad = int(np.argmax(DURATIONS_S))
    prepare = InputSpec.prepare
    length = len(soundfile.read(clips.paths[bad])[0])

    def overflow(self: InputSpec, samples: np.ndarray) -> np.ndarray:
        # As a clip does that is finite and takes a layer out of the numbers' range.
        found = prepare(self, samples)
        return np.full_like(found, np.inf) if len(samples) == length else found

    forward = computation.pool_chunks

    def chunks(backbone: Backbone, samples: np.ndarray, *given: object, **named: object) -> list[torch.Tensor]:
        found = forward(backbone, samples, *given, **named)  # type: ignore[arg-type]
        return [each * torch.inf for each in found] if len(samples) == length else found

    monkeypatch.setattr(InputSpec, "prepare", overflow)
    monkeypatch.setattr(computation, "pool_chunks", chunks)
    found = extract([CacheRequest(tiny(), tmp_path / f"{kind}.h5", kind) for kind in kinds], clips, settings)
    for kind, each, complete in zip(kinds, found, whole, strict=True):
        assert each.rejects["path"].tolist() == [clips.table["path"][bad]]
        assert each.rejects["reason"][0].startswith("The model's output is not finite (layer ")
        assert each.n_computed == complete.n_computed - 1
        with EmbeddingCache.open(tmp_path / f"{kind}.h5") as cache:
            assert clips.table["clip_id"][bad] not in set(cache.clip_ids)
    with pytest.raises(AudioError, match=rf"(?s)not finite \(layer .*{clips.table['path'][bad]}"):
        run(tmp_path / "strict.h5", clips, replace(settings, strict=True))


def test_a_model_that_makes_nothing_finite_is_named_before_long(
    clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forward_calls: list[int]
) -> None:
    plain = computation.pool_layers
    monkeypatch.setattr(computation, "pool_layers", lambda *given: [each * torch.nan for each in plain(*given)])
    one_by_one = replace(SETTINGS, max_clips=1)
    with pytest.raises(
        BackboneError, match=r"(?s)not finite, for none of the 8 clips .*tiny-wavlm-base.*extract.precision"
    ):
        run(tmp_path / "x.h5", clips, one_by_one)
    assert not committed(tmp_path / "x.h5", embedding_key(tiny(), one_by_one)).rejects
    few = ClipList(clips.table[:3], clips.paths[:3])
    with pytest.raises(BackboneError, match="for none of the 3 clips that went through it"):
        run(tmp_path / "few.h5", few)


def test_float16_that_is_too_small_is_said_with_the_way_out(
    clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = computation.pool_layers
    monkeypatch.setattr(computation, "pool_layers", lambda *given: [each + 1e5 for each in plain(*given)])
    with pytest.raises(BackboneError, match=r"(?s)too large for float16, for none.*store float32 \(extract.storage\)"):
        run(tmp_path / "x.h5", clips, replace(SETTINGS, storage="float16"))


def test_resuming_several_checkpoints_that_got_to_different_places(
    clips: ClipList, tmp_path: Path, forward_calls: list[int]
) -> None:
    backbones = [tiny(), load_backbone(save_perturbed(tmp_path / "checkpoint-1", 1))]
    whole = extract([CacheRequest(b, tmp_path / f"whole-{row}.h5") for row, b in enumerate(backbones)], clips, SETTINGS)
    forward_calls.clear()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "1.h5", clips, backbone=backbones[1], progress=StopAfter(2, KeyboardInterrupt()))
    results = extract([CacheRequest(b, tmp_path / f"{row}.h5") for row, b in enumerate(backbones)], clips, SETTINGS)
    assert sum(forward_calls) == 2 * 9
    for one, other in zip(whole, results, strict=True):
        assert datasets(one.path) == datasets(other.path)


def test_resuming_a_run_with_rejects(paths: list[Path], tmp_path: Path) -> None:
    for row in (1, 4, 7):
        soundfile.write(paths[row], np.zeros(int(16_000 * DURATIONS_S[row])), 16_000)
    clips = list_clips(paths, tmp_path)
    run(tmp_path / "whole.h5", clips)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "x.h5", clips, progress=StopAfter(2, KeyboardInterrupt()))
    rejects = run(tmp_path / "x.h5", clips).rejects
    assert rejects["path"].tolist() == ["f1/1.wav", "f1/4.wav", "f1/7.wav"]
    assert datasets(tmp_path / "x.h5") == datasets(tmp_path / "whole.h5")


def test_second_run_computes_nothing_and_leaves_the_file(
    clips: ClipList, tmp_path: Path, forward_calls: list[int]
) -> None:
    run(tmp_path / "x.h5", clips, replace(SETTINGS, verify=2))
    forward_calls.clear()
    before = (tmp_path / "x.h5").stat()
    result = run(tmp_path / "x.h5", clips, replace(SETTINGS, verify=2))
    after = (tmp_path / "x.h5").stat()
    assert (result.n_computed, result.speed, forward_calls) == (0, {}, [])
    assert result.verify_error is not None
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_bigger_manifest_computes_the_new_clips_only(clips: ClipList, tmp_path: Path, forward_calls: list[int]) -> None:
    some = ClipList(clips.table.iloc[3:].reset_index(drop=True), clips.paths[3:])
    run(tmp_path / "x.h5", some)
    before = stored(tmp_path / "x.h5")
    assert run(tmp_path / "x.h5", clips).n_computed == 3
    assert sum(forward_calls) == 9
    with EmbeddingCache.open(tmp_path / "x.h5") as cache:
        np.testing.assert_array_equal(cache.array[:, :6], before)
        rows = cache.positions(clips.table["clip_id"].tolist())
        assert relative(cache.array[:, rows], alone(tiny(), clips)) < EXACT


def test_renamed_files_are_the_same_clips(clips: ClipList, tmp_path: Path) -> None:
    run(tmp_path / "x.h5", clips)
    (tmp_path / "f1").rename(tmp_path / "speaker one")
    moved = list_clips([tmp_path / "speaker one" / path.name for path in clips.paths], tmp_path)
    assert run(tmp_path / "x.h5", moved).n_computed == 0


# ------------------------------------------------------------------------------------------- keys and refusals


@pytest.mark.parametrize("sealed", [True, False], ids=["finished", "shards"])
def test_cache_of_other_weights_is_refused_with_both_keys(clips: ClipList, tmp_path: Path, sealed: bool) -> None:
    if sealed:
        run(tmp_path / "x.h5", clips)
    else:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "x.h5", clips, progress=StopAfter(1, KeyboardInterrupt()))
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.h5") if file.is_file()}
    other = load_backbone(save_perturbed(tmp_path / "checkpoint-1", 1))
    keys = [embedding_key(backbone, SETTINGS).digest for backbone in (other, tiny())]
    expected = rf"the model's weights: (.|\n)*expected: key {keys[0]}(.|\n)*found: key {keys[1]}"
    with pytest.raises(CacheError, match=expected):
        run(tmp_path / "x.h5", clips, backbone=other)
    assert {file: file.read_bytes() for file in before} == before


def test_backbone_of_another_sampling_rate_is_refused(clips: ClipList, tmp_path: Path) -> None:
    settings = replace(SETTINGS, audio=replace(SETTINGS.audio, sample_rate_hz=8000))
    with pytest.raises(CacheError, match=r"16000 Hz(.|\n)*8000 Hz(.|\n)*set audio.sample_rate_hz to 16000"):
        run(tmp_path / "x.h5", clips, settings)


def test_strict_stops_with_the_clips_own_error(paths: list[Path], tmp_path: Path) -> None:
    soundfile.write(paths[2], np.zeros(16_000), 16_000)
    with pytest.raises(AudioError, match=r"The clip is silent(.|\n)*f1/2\.wav"):
        run(tmp_path / "x.h5", list_clips(paths, tmp_path), replace(SETTINGS, strict=True))
    assert not (tmp_path / "x.h5").exists()


def test_manifest_of_unusable_clips_only(paths: list[Path], tmp_path: Path) -> None:
    soundfile.write(paths[2], np.zeros(16_000), 16_000)
    with pytest.raises(CacheError, match=r"No clip could be embedded(.|\n)*The clip is silent"):
        run(tmp_path / "x.h5", list_clips(paths[2:3], tmp_path))
    assert not (tmp_path / "x.h5").exists()


# -------------------------------------------------------------------------------------------------- verifying


def test_verify_stores_a_small_error(clips: ClipList, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = run(tmp_path / "x.h5", clips, replace(SETTINGS, verify=4))
    assert result.verify_error is not None
    assert 0 < result.verify_error < EXACT
    with EmbeddingCache.open(tmp_path / "x.h5", result.key) as cache:
        assert cache.attributes["verify_error"] == result.verify_error
        assert cache.attributes["verify_clips"] == 4
        assert {"model", "checkpoint", "step", "device", "clips_per_s"} <= set(cache.attributes)
        assert cache.verify() == []
    assert not caplog.records


def test_verify_comes_later_too(clips: ClipList, tmp_path: Path) -> None:
    assert run(tmp_path / "x.h5", clips).verify_error is None
    error = run(tmp_path / "x.h5", clips, replace(SETTINGS, verify=2)).verify_error
    assert error is not None
    assert run(tmp_path / "x.h5", clips).verify_error == error


@pytest.mark.parametrize("bad", ["batch", "nan"])
def test_verify_finds_embeddings_that_depend_on_the_batch(
    clips: ClipList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bad: str
) -> None:
    def tampered(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if bad == "nan" and len(hidden) == 1:
            return hidden.mean(dim=1) * torch.nan
        return hidden.mean(dim=1) if bad == "batch" else pooling.pool_mean(hidden, mask)  # over padded frames too

    monkeypatch.setitem(pooling.POOLINGS, "mean", pooling.Pooling("mean", tampered))
    by_two = replace(SETTINGS, verify=9, max_clips=3, batch_seconds=60.0)
    error = run(tmp_path / "x.h5", clips, by_two).verify_error
    assert error is not None
    assert not error <= 100 * EXACT
    assert "9 clips alone, in fp32, differ from what is stored by at most" in caplog.text


def test_verify_of_a_cache_that_holds_none_of_the_clips(clips: ClipList, paths: list[Path], tmp_path: Path) -> None:
    run(tmp_path / "x.h5", ClipList(clips.table.iloc[:4], clips.paths[:4]))
    others = ClipList(clips.table.iloc[4:].reset_index(drop=True), clips.paths[4:])
    assert verify_cache(tmp_path / "x.h5", tiny(), others, replace(SETTINGS, verify=3)) == 0


# ----------------------------------------------------------------------------- full disk and Ctrl-C, for real


def start(folder: Path, *, limit: int = 0, workers: int = 0) -> Forked:
    """Extract in a process of its own, with a limit on the size of its files or slow to decode."""

    def slow(path: Path, spec: AudioSpec, plain: Callable[..., Clip] = computation.load_clip) -> Clip:
        time.sleep(0.5)
        return plain(path, spec)

    def work() -> None:
        clips = list_clips([folder / "f1" / f"{row}.wav" for row in range(9)], folder)
        clips.table["remark"] = REMARK
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        else:
            computation.load_clip = slow
        try:
            extract([CacheRequest(tiny(), folder / "x.h5")], clips, replace(SETTINGS, workers=workers))
        except SerProbeError as error:
            print(json.dumps([error.what, str(error)]))
        except KeyboardInterrupt:
            print(json.dumps(["Ctrl-C", ""]))

    return Forked(work, folder, group=True)


@pytest.mark.parametrize("fails", ["shards", "seal"])
def test_disk_that_fills_up(clips: ClipList, tmp_path: Path, fails: str) -> None:
    clips.table["remark"] = REMARK
    whole = run(tmp_path / "whole.h5", clips)
    limit = {"shards": 8_192, "seal": 100_000}[fails]
    process = start(tmp_path, limit=limit)
    assert process.wait() == 0, process.errors
    what, message = json.loads(process.out)
    assert what == "The disk is full", process.errors
    assert "File too large" in message
    assert "run the same command again" in message
    assert not (tmp_path / "x.h5").exists()
    assert not [file for file in tmp_path.rglob("*") if "partial" in file.name]
    safe = committed(tmp_path / "x.h5", whole.key)
    assert len(safe.clips) == {"shards": 0, "seal": 9}[fails]
    if fails == "shards":
        assert "0 clips are safe on disk" in message
    assert run(tmp_path / "x.h5", clips).n_computed == 9 - len(safe.clips)
    assert datasets(tmp_path / "x.h5") == datasets(tmp_path / "whole.h5")
    assert not shards_folder(tmp_path / "x.h5").exists()


def test_ctrl_c_while_workers_decode(clips: ClipList, tmp_path: Path) -> None:
    process = start(tmp_path, workers=2)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("x.h5.shards/shard-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers too
    assert process.wait(timeout_s=30) == 0, process.errors
    assert json.loads(process.out) == ["Ctrl-C", ""], process.errors
    assert "Traceback" not in process.errors
    clips.table["remark"] = REMARK
    whole = run(tmp_path / "whole.h5", clips)
    n_committed = len(committed(tmp_path / "x.h5", whole.key))
    assert 0 < n_committed < 9
    assert run(tmp_path / "x.h5", clips).n_computed == 9 - n_committed
    assert datasets(tmp_path / "x.h5") == datasets(tmp_path / "whole.h5")
