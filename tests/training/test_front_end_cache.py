from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_probe.errors import CacheError
from ser_probe.models.backbone import Backbone
from ser_probe.models.forward import run_front_end
from ser_probe.models.loading import load_backbone
from ser_probe.training.front_end_cache import open_audio, open_front_end
from ser_probe.training.settings import SplitClips
from tests.training.conftest import RECIPE, make_clips


@pytest.fixture(params=["tiny-wavlm-base", "tiny-hubert-large"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return load_backbone(request.param)


def counted(clips: SplitClips, loaded: list[str], *, fails_at: int | None = None) -> SplitClips:
    """Return clips that write down which of them are loaded, and fail at the n-th."""

    def load(row: int) -> np.ndarray:
        if len(loaded) == fails_at:
            raise KeyboardInterrupt
        loaded.append(clips.ids[row])
        return clips.load(row)

    return dataclasses.replace(clips, load=load)


def finished(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def test_a_clip_reads_as_the_front_end_gives_it_alone(backbone: Backbone, tmp_path: Path) -> None:
    train, validation = make_clips(5, seed=1), make_clips(3, seed=2)
    cache = open_front_end(backbone, (train, validation), tmp_path, recipe=RECIPE)
    for clips in (train, validation):
        for row, clip_id in enumerate(clips.ids):
            with torch.no_grad():
                expected = run_front_end(backbone, [clips.load(row)]).features[0].numpy()
            np.testing.assert_array_equal(cache.read(clip_id), expected)


def test_what_is_there_is_not_computed_again_however_the_clips_are_split(tmp_path: Path) -> None:
    backbone, loaded = load_backbone("tiny-wavlm-base"), []
    train, validation = make_clips(4, seed=1), make_clips(3, seed=2)
    open_front_end(backbone, (counted(train, loaded), counted(validation, loaded)), tmp_path, recipe=RECIPE)
    assert len(loaded) == 7
    open_front_end(backbone, (counted(validation, loaded), counted(train, loaded)), tmp_path, recipe=RECIPE)
    assert len(loaded) == 7
    assert len(finished(tmp_path)) == 1


@pytest.mark.parametrize("what", ["recipe", "front end", "clips", "normalisation"])
def test_another_input_has_another_key(tmp_path: Path, what: str) -> None:
    backbone, clips, recipe = load_backbone("tiny-wavlm-base"), make_clips(3, seed=1), RECIPE
    open_front_end(backbone, (clips,), tmp_path, recipe=recipe)
    if what == "recipe":
        recipe = {**RECIPE, "loudness_lufs": -23.0}
    elif what == "front end":
        with torch.no_grad():
            next(backbone.model.feature_extractor.parameters()).add_(1e-6)
    elif what == "clips":
        clips = dataclasses.replace(clips, ids=["x", *clips.ids[1:]])
    else:
        backbone.input = dataclasses.replace(backbone.input, normalise=True)
    open_front_end(backbone, (clips,), tmp_path, recipe=recipe)
    assert len(finished(tmp_path)) == 2


def test_another_encoder_over_the_same_front_end_shares_the_cache(tmp_path: Path) -> None:
    backbone, loaded = load_backbone("tiny-wavlm-base"), []
    clips = counted(make_clips(3, seed=1), loaded)
    open_front_end(backbone, (clips,), tmp_path, recipe=RECIPE)
    with torch.no_grad():
        next(backbone.model.encoder.parameters()).add_(1.0)
    open_front_end(backbone, (clips,), tmp_path, recipe=RECIPE)
    assert len(loaded) == 3


def test_an_interrupted_fill_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ser_probe.training.clip_cache._COMMIT_CLIPS", 2)
    backbone, clips, loaded = load_backbone("tiny-wavlm-base"), make_clips(7, seed=1), []
    with pytest.raises(KeyboardInterrupt):
        open_front_end(backbone, (counted(clips, loaded, fails_at=5),), tmp_path, recipe=RECIPE)
    (partial,) = finished(tmp_path)
    assert partial.suffix == ".partial"
    with open(partial / "values.f32", "ab") as stream:  # half a clip that no length vouches for
        stream.write(b"\0" * 100)
    again: list[str] = []
    resumed = open_front_end(backbone, (counted(clips, again),), tmp_path, recipe=RECIPE)
    assert (len(loaded), again) == (5, clips.ids[4:])  # two commits of two clips were safe
    fresh = open_front_end(backbone, (clips,), tmp_path / "fresh", recipe=RECIPE)
    for clip_id in clips.ids:
        np.testing.assert_array_equal(resumed.read(clip_id), fresh.read(clip_id))


def test_lengths_without_their_values_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ser_probe.training.clip_cache._COMMIT_CLIPS", 2)
    backbone, clips, again = load_backbone("tiny-wavlm-base"), make_clips(6, seed=1), []
    with pytest.raises(KeyboardInterrupt):
        open_front_end(backbone, (counted(clips, [], fails_at=5),), tmp_path, recipe=RECIPE)
    values = finished(tmp_path)[0] / "values.f32"
    os.truncate(values, values.stat().st_size - 4)
    open_front_end(backbone, (counted(clips, again),), tmp_path, recipe=RECIPE)
    assert again == clips.ids[3:]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ser_probe.training.clip_cache.os.fsync", full)
    with pytest.raises(CacheError, match="The disk is full"):
        open_front_end(load_backbone("tiny-wavlm-base"), (make_clips(3, seed=1),), tmp_path, recipe=RECIPE)
    assert finished(tmp_path) == []


def test_too_small_a_disk_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))
    loaded: list[str] = []
    clips = counted(make_clips(3, seed=1), loaded)
    with pytest.raises(CacheError, match="no room for the cached front end"):
        open_front_end(load_backbone("tiny-wavlm-base"), (clips,), tmp_path, recipe=RECIPE)
    assert (loaded, finished(tmp_path)) == ([], [])


def test_a_damaged_cache_is_refused(tmp_path: Path) -> None:
    backbone, clips = load_backbone("tiny-wavlm-base"), make_clips(3, seed=1)
    open_front_end(backbone, (clips,), tmp_path, recipe=RECIPE)
    os.truncate(finished(tmp_path)[0] / "values.f32", 400)
    with pytest.raises(CacheError, match="What was kept of the clips is damaged"):
        open_front_end(backbone, (clips,), tmp_path, recipe=RECIPE)


@pytest.mark.parametrize("name", ["values.f32", "lengths.i64"])
def test_changed_values_are_refused_and_copied_ones_are_not(tmp_path: Path, name: str) -> None:
    backbone, clips = load_backbone("tiny-wavlm-base"), make_clips(3, seed=1)
    open_front_end(backbone, (clips,), tmp_path, recipe=RECIPE)
    path = finished(tmp_path)[0] / name
    content = path.read_bytes()
    path.write_bytes(content)
    open_front_end(backbone, (clips,), tmp_path, recipe=RECIPE)
    swapped = content[8:16] + content[:8] + content[16:]  # as many values, and as many frames
    assert swapped != content
    path.write_bytes(swapped)
    with pytest.raises(CacheError, match=f"(?s)damaged.*{name} was changed since it was made.*delete this folder"):
        open_front_end(backbone, (clips,), tmp_path, recipe=RECIPE)


def test_a_large_cache_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.training.conftest import Interrupting

    monkeypatch.setattr("ser_probe.training.clip_cache._LARGE_GIB", 1e-6)
    progress = Interrupting(0)
    clips = make_clips(3, seed=1)
    open_front_end(load_backbone("tiny-wavlm-base"), (clips,), tmp_path, recipe=RECIPE, progress=progress)
    assert "cached front end takes" in progress.said[0]


def test_decoded_audio_is_kept_alike(tmp_path: Path) -> None:
    clips, loaded = make_clips(4, seed=1), []
    rate_hz = RECIPE["sample_rate_hz"]
    for _ in range(2):
        audio = open_audio((counted(clips, loaded),), tmp_path, recipe=RECIPE, sample_rate_hz=rate_hz)
    assert sorted(loaded) == sorted(clips.ids)
    for row, clip_id in enumerate(clips.ids):
        np.testing.assert_array_equal(audio.read(clip_id)[:, 0], clips.load(row))
    # Another loudness is another audio; a front end is neither.
    open_audio((clips,), tmp_path, recipe={**RECIPE, "loudness": -30}, sample_rate_hz=rate_hz)
    open_front_end(load_backbone("tiny-wavlm-base"), (clips,), tmp_path, recipe=RECIPE)
    assert len(finished(tmp_path)) == 3
