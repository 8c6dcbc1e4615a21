"""Nothing stale is ever served: what changes a value changes the key, and the old file is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ser_probe.embeddings import extract as extract_module
from ser_probe.embeddings.extract import CacheRequest, embedding_key, extract
from ser_probe.embeddings.passes import ClipList, Extraction, ExtractionSettings
from ser_probe.embeddings.share import Share
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import CacheError
from ser_probe.models.backbone import Backbone
from ser_probe.models.chunks import Chunking
from ser_probe.models.loading import load_backbone
from tests.embeddings.speech import DURATIONS_S, SETTINGS, alone, list_clips, relative, save_perturbed, tiny

EXACT = 1e-5
"""Relative: what design 3.2 allows a batch to change, in fp32."""


@pytest.fixture
def paths(write_clip: Callable[..., Path]) -> list[Path]:
    return [write_clip(f"f1/{row}.wav", duration_s, 100 + 9 * row) for row, duration_s in enumerate(DURATIONS_S)]


@pytest.fixture
def clips(paths: list[Path], tmp_path: Path) -> ClipList:
    return list_clips(paths, tmp_path)


def run(path: Path, clips: ClipList) -> Extraction:
    return extract([CacheRequest(tiny(), path)], clips, SETTINGS)[0]


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "weights": ({}, "the model's weights"),
    "loudness": ({"audio": replace(SETTINGS.audio, loudness_lufs=-23.0)}, "the audio preprocessing"),
    "loudness target": ({"audio": replace(SETTINGS.audio, loudness_lufs=-20.0)}, "the audio preprocessing"),
    "peak": ({"audio": replace(SETTINGS.audio, peak_dbfs=-1.0)}, "the audio preprocessing"),
    "pooling": ({}, "the pooling: mean against max"),
    "precision": ({"precision": "bf16"}, "the precision of the computation: fp32 against bf16"),
    "storage": ({"storage": "float16"}, "the precision of storage: float32 against float16"),
    "chunks": ({"chunking": Chunking(0.5, 0.1)}, "the further settings"),
    "longer chunks": ({"chunking": Chunking(0.6, 0.1)}, "the further settings"),
    "overlap": ({"chunking": Chunking(0.5, 0.2)}, "the further settings"),
    "layer contract": ({}, "the layer contract's version: 1 against 2"),
}
"""What changes a value: other settings, and what the refusal of the old file says."""


@pytest.fixture
def change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Backbone, ExtractionSettings, str]]:
    """Make a change of `CHANGES`; return the backbone, the settings and the pooling."""

    def make(name: str) -> tuple[Backbone, ExtractionSettings, str]:
        if name == "layer contract":
            monkeypatch.setattr(extract_module, "LAYER_CONTRACT_VERSION", 2)
        folder = tmp_path / "checkpoint-1"
        backbone = load_backbone(save_perturbed(folder, 1)) if name == "weights" else tiny()
        return backbone, replace(SETTINGS, **CHANGES[name][0]), "max" if name == "pooling" else "mean"

    return make


def test_each_change_has_a_key_of_its_own(
    change: Callable[[str], tuple[Backbone, ExtractionSettings, str]], tmp_path: Path
) -> None:
    keys = [embedding_key(tiny(), SETTINGS), *(embedding_key(*change(name)) for name in CHANGES)]
    assert len({key.digest for key in keys}) == 1 + len(CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_a_cache_made_otherwise_is_refused_in_words(
    name: str,
    change: Callable[[str], tuple[Backbone, ExtractionSettings, str]],
    clips: ClipList,
    tmp_path: Path,
) -> None:
    some = ClipList(clips.table.iloc[1:3].reset_index(drop=True), clips.paths[1:3])
    run(tmp_path / "x.h5", some)
    before = (tmp_path / "x.h5").read_bytes()
    backbone, settings, pooling = change(name)
    with pytest.raises(CacheError, match=rf"made from something else(.|\n)*{CHANGES[name][1]}(.|\n)*another output"):
        extract([CacheRequest(backbone, tmp_path / "x.h5", pooling)], some, settings)
    assert (tmp_path / "x.h5").read_bytes() == before


def test_what_changes_no_value_changes_no_key(tmp_path: Path) -> None:
    key = embedding_key(tiny(), SETTINGS)
    same = replace(
        SETTINGS,
        audio=replace(SETTINGS.audio, max_duration_s=3.0),
        batch_seconds=99.0,
        max_clips=None,
        workers=3,
        verify=5,
        strict=True,
        share=Share(2, 3),
        seconds_per_shard=7.0,
    )
    assert embedding_key(tiny(), same) == key
    changed = embedding_key(load_backbone(save_perturbed(tmp_path / "checkpoint-1", 1)), SETTINGS)
    (tmp_path / "checkpoint-1").rename(tmp_path / "a copy")
    assert embedding_key(load_backbone(tmp_path / "a copy"), SETTINGS) == changed


def test_a_changed_clip_is_another_clip(clips: ClipList, paths: list[Path], tmp_path: Path) -> None:
    """One bit of one sample: its embedding is computed, and the old one is not served for it."""
    run(tmp_path / "x.h5", clips)
    content = bytearray(paths[4].read_bytes())
    content[2000] ^= 0x40
    paths[4].write_bytes(content)
    changed = list_clips(paths, tmp_path)
    result = run(tmp_path / "x.h5", changed)
    assert result.n_computed == 1
    assert set(clips.table["clip_id"]) ^ set(changed.table["clip_id"]) == {
        clips.table["clip_id"][4], changed.table["clip_id"][4],
    }  # fmt: skip
    with EmbeddingCache.open(result.path) as cache:
        old, new = (cache.positions([table["clip_id"][4]])[0] for table in (clips.table, changed.table))
        assert relative(cache.array[:, [new]], alone(tiny(), ClipList(changed.table[4:5], paths[4:5]))) < EXACT
        assert relative(cache.array[:, [new]], cache.array[:, [old]]) > EXACT
