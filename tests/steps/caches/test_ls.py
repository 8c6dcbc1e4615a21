"""Listing and describing files: finished, unfinished and damaged ones, and why two of them differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ser_probe.embeddings import store_file
from ser_probe.embeddings.notes import note_clips
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.seal import seal, update_attributes
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import CacheError
from ser_probe.steps.caches.difference import compare_caches
from ser_probe.steps.caches.files import format_size
from ser_probe.steps.caches.info import describe_caches, fold_description, fold_settings
from ser_probe.steps.caches.ls import list_caches

from ..conftest import FEATURES, tuned

Write = Callable[..., Path]


def begin_more(path: Path, clips: pd.DataFrame, n_clips: int) -> None:
    """Commit the first clips of a further extraction of the same key, beside the file."""
    with EmbeddingCache.open(path) as cache:
        layout = Layout(cache.layer_names, cache.width, cache.aliases, cache.ragged)
        with ShardWriter(path, cache.key, layout) as writer:
            values = cache.array[:, :n_clips]
            writer.add(Rows(clips["clip_id"].tolist()[:n_clips], values, [50] * n_clips, [1.0] * n_clips))


def test_every_kind_of_file_has_a_line(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, frames = write_cache("a", clips, tuned(50)), write_cache("b", clips, {}, frames=2)
    begun = tmp_path / "c.h5"
    begun.write_bytes(whole.read_bytes())
    begin_more(begun, clips, 7)
    begun.unlink()
    note_clips(begun, clips, tuned(2))
    (shards_folder(begun) / "shard-torn.h5").write_bytes(b"torn")
    (tmp_path / "d.h5").write_bytes(whole.read_bytes()[:-9])
    with monkeypatch.context() as patch:
        patch.setattr(store_file, "POOLED_VERSION", 9)
        write_cache_of_the_future = tmp_path / "e.h5"
        with whole.open("rb") as stream:
            header = store_file.read_header(stream, whole)
        with EmbeddingCache.open(whole) as cache:
            store_file.write_file(write_cache_of_the_future, header, [cache.layer(name) for name in cache.layer_names])
    before = sorted(tmp_path.rglob("*"))
    rows = {Path(row["file"]).name: row for row in list_caches([tmp_path])}
    assert {name: row["state"] for name, row in rows.items()} == {
        "a.h5": "finished", "b.h5": "finished", "c.h5": "unfinished", "d.h5": "damaged", "e.h5": "refused",
    }  # fmt: skip
    one = rows["a.h5"]
    assert (one["model"], one["checkpoint"], one["layers"], one["clips"]) == ("tiny", "step-50", 2, 72)
    assert (one["width"], one["pooling"], one["ragged"], rows["b.h5"]["ragged"]) == (8, "mean", False, True)
    assert one["size_bytes"] == whole.stat().st_size
    assert len(one["key"]) == 64
    unfinished = rows["c.h5"]
    assert (unfinished["clips"], unfinished["wanted"], unfinished["damaged_shards"]) == (7, 72, 1)
    assert (unfinished["model"], unfinished["checkpoint"], unfinished["layers"]) == ("tiny", "step-2", 2)
    assert "cut short" in rows["d.h5"]["error"]
    assert "schema version" in rows["e.h5"]["error"]
    assert sorted(tmp_path.rglob("*")) == before, "looking changes nothing"
    assert frames.exists()


def test_a_file_that_is_being_added_to_has_two_lines(write_cache: Write, clips: pd.DataFrame) -> None:
    path = write_cache("a", clips.head(10), {})
    begin_more(path, clips.tail(5), 5)
    assert [(row["state"], row["clips"]) for row in list_caches([path])] == [("finished", 10), ("unfinished", 5)]
    assert [row["state"] for row in list_caches([shards_folder(path)])] == ["finished", "unfinished"]
    with pytest.raises(CacheError, match="There is no embedding cache here"):
        list_caches([path.with_name("none.h5")])


def test_describe(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    path = write_cache("a", clips, {**tuned(50), "verify_error": 1.23456e-7})
    (facts,) = describe_caches([tmp_path])
    assert (facts["file"], facts["clips"], facts["width"]) == (str(path), 72, 8)
    assert (facts["layers"], facts["aliases"]) == (["0", "1"], {"final": "1"})
    with EmbeddingCache.open(path) as cache:
        assert (facts["key"], facts["key_ingredients"]) == (cache.key.digest, cache.key.ingredients)
    lines = dict(fold_description(facts))
    assert lines["model"] == "tiny, step-50"
    assert lines["layers"] == "2: 0 1, final is 1; width 8"
    assert lines["holds"] == "embeddings, one vector a clip (mean), computed in fp32, stored as float32"
    assert lines["clips"] == "72, 1.2 min of audio, 3600 frames"
    assert lines["verify error"] == "1.235e-07"
    assert "further settings" not in lines, "nothing to say is not said"
    (facts,) = describe_caches([write_cache("f", clips, FEATURES, layers=("functionals",), frames=2)])
    lines = dict(fold_description(facts))
    assert lines["holds"].startswith("features, every frame")
    with pytest.raises(CacheError, match="The folder holds no embedding file"):
        describe_caches([tmp_path / "a.h5" / ".." / "none" if (tmp_path / "none").mkdir() else tmp_path / "none"])
    with pytest.raises(CacheError, match="There is no embedding cache here"):
        describe_caches([tmp_path / "x.h5"])


def test_what_a_killed_process_was_writing_is_no_file_of_the_folder(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path
) -> None:
    path = write_cache("whole", clips, tuned(0))
    path.with_name(".whole.123.partial.h5").write_bytes(b"half")
    assert [row["file"] for row in list_caches([path.parent])] == [str(path)]
    assert [facts["file"] for facts in describe_caches([path.parent])] == [str(path)]


def test_settings_fold_into_one_line() -> None:
    settings = {"rate": 16000, "loudness": {"target_lufs": -23.0, "to": {"x": None}}, "none": {}, "kernels": [10, 3]}
    assert fold_settings(settings) == "rate 16000, loudness.target_lufs -23, loudness.to.x none, kernels [10, 3]"
    assert fold_settings({"long": "x" * 200}).endswith("x...")


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (1 << 52, "4096.0 TiB")],
)
def test_sizes_read_well(n_bytes: int, text: str) -> None:
    assert format_size(n_bytes) == text


def test_why_tells_keys_apart_in_words(write_cache: Write, clips: pd.DataFrame) -> None:
    one, other = write_cache("one", clips.head(40), tuned(0)), write_cache("two", clips.tail(40), tuned(2))
    found = compare_caches(one, other)
    assert not found["same_key"]
    assert len(found["key"]) == 1
    assert found["key"][0].startswith("the model's weights: ")
    assert found["clips"] == [
        "32 clips only in the first: 0.wav, 1.wav, 2.wav, ...",
        "32 clips only in the second: 40.wav, 41.wav, 42.wav, ...",
        "8 clips in both",
    ]
    assert "checkpoint: step-0 against step-2" in found["made"]


def test_why_of_equal_keys_tells_clips_and_how_they_were_made(write_cache: Write, clips: pd.DataFrame) -> None:
    one = write_cache("one", clips.head(3), {"device": "cpu", "packages": {"torch": "2.11.0", "numpy": "2.0"}})
    copy = one.with_name("copy.h5")
    with EmbeddingCache.open(one) as cache:
        key, layout = cache.key, Layout(cache.layer_names, cache.width, cache.aliases)
        rows = Rows(clips["clip_id"].tolist()[:3], np_copy(cache), [50] * 3, [1.0] * 3)
    with ShardWriter(copy, key, layout) as writer:
        writer.add(dataclasses.replace(rows))
    seal(copy, key, clips.head(3).iloc[::-1], {"device": "cuda", "batch_seconds": 30.0, "clips_per_s": 7.0})
    update_attributes(copy, {"packages": {"torch": "2.12.0", "numpy": "2.0"}, "created_utc": "then"})
    update_attributes(one, {"created_utc": "then"})
    found = compare_caches(one, copy)
    assert found["same_key"]
    assert found["key"] == []
    assert found["clips"] == ["both hold the same 3 clips, in another order"]
    assert found["made"] == [
        "device: cpu against cuda",
        "torch version: 2.11.0 against 2.12.0",
        "batch seconds: not recorded against 30",
    ]
    assert compare_caches(one, one)["made"] == []
    assert compare_caches(one, one)["clips"] == ["both hold the same 3 clips"]


def np_copy(cache: EmbeddingCache) -> object:
    return cache.array[:]
