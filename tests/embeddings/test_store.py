from __future__ import annotations

import dataclasses
import fcntl
import multiprocessing
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from ser_probe.embeddings import store_file, store_vectors
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import committed
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_file import read_header, write_file
from ser_probe.embeddings.store_image import MemoryFile
from ser_probe.embeddings.store_stamp import DamagedCacheError
from ser_probe.embeddings.store_vectors import begin_checksums, read_vectors
from ser_probe.errors import CacheError
from tests.embeddings.conftest import N_CLIPS, N_LAYERS, WIDTH, Run

FORMAT_PAGE = Path(__file__).resolve().parents[2] / "docs" / "cache-format.md"


@pytest.fixture
def sealed(run: Run) -> Run:
    """A finished cache of eleven clips; the last one was rejected."""
    with run.writer() as writer:
        writer.add(run.rows(range(N_CLIPS - 1)))
        writer.reject(run.ids[-1], run.clips["path"].iloc[-1], "only zeros")
    seal(run.path, run.key, run.clips, {"device": "cpu"})
    return run


def test_layers_read_back_by_name_and_alias(sealed: Run) -> None:
    with EmbeddingCache.open(str(sealed.path), sealed.key) as cache:
        assert cache.layers() == ["0", "1", "2", "final"]
        assert (len(cache), cache.width, cache.key) == (N_CLIPS - 1, WIDTH, sealed.key)
        for index, name in enumerate(cache.layer_names):
            layer = cache.layer(name)
            assert layer.dtype == np.float32
            assert layer.flags.writeable
            np.testing.assert_array_equal(layer, sealed.values[index, :-1])
            np.testing.assert_array_equal(layer, cache.array[index])
        np.testing.assert_array_equal(cache.layer("final"), cache.layer("2"))
        assert cache.rejects.to_dict("records") == [
            {"clip_id": sealed.ids[-1], "path": sealed.clips["path"].iloc[-1], "reason": "only zeros"}
        ]
        with pytest.raises(CacheError, match=r"(?s)no such layer.*0, 1, 2, final.*found: 3"):
            cache.layer("3")


def test_memory_map_is_read_only_and_outlives_the_cache(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        array = cache.array
    np.testing.assert_array_equal(array, sealed.values[:, :-1])
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0, 0] = 1


def test_float16_reads_as_float32(sealed: Run) -> None:
    key = CacheKey(**{**sealed.key.ingredients, "storage": "float16"})
    half = Run(sealed.path.with_name("half.h5"), key, sealed.layout, sealed.clips, sealed.values)
    half.commit(range(N_CLIPS))
    seal(half.path, key, half.clips)
    with EmbeddingCache.open(half.path, key) as cache:
        assert cache.array.dtype == np.float16
        assert cache.layer("1").dtype == np.float32
        np.testing.assert_array_equal(cache.layer("1"), half.values[1].astype(np.float16).astype(np.float32))


def test_embeddings_of_clips_come_in_the_order_given_and_who_is_missing_is_named(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        wanted = [sealed.ids[place] for place in (4, 0, 7)]
        assert cache.positions(wanted).tolist() == [4, 0, 7]
        np.testing.assert_array_equal(cache.layer("1", wanted), sealed.values[1][[4, 0, 7]])
        np.testing.assert_array_equal(cache.layer("1", pd.Series(wanted)), cache.layer("1")[[4, 0, 7]])
        assert cache.layer("1", []).shape == (0, WIDTH)
        message = r"(?s)2 of 3 clips are not in the cache \(1 of them were rejected\).*missing .*elsewhere"
        with pytest.raises(CacheError, match=message):
            cache.layer("1", [sealed.ids[-1], sealed.ids[0], "elsewhere"])


def test_what_is_no_list_of_clips_that_each_stand_there_once_is_refused(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        one, other = sealed.ids[:2]
        with pytest.raises(CacheError, match=rf"(?s)1 of 2 clips are named more than once.*found: {one}"):
            cache.layer("1", [one, other, one])
        with pytest.raises(CacheError, match=r"(?s)missing 0, 1\n.*not by numbers of rows"):
            cache.layer("1", np.arange(2))  # type: ignore[arg-type]
        with pytest.raises(CacheError, match=r"(?s)as one text.*a list of clip ids"):
            cache.layer("1", one)


def test_clips_are_named_by_a_manifest(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        manifest = sealed.clips.iloc[[4, 0]]
        for named in (manifest, manifest.drop(columns="clip_id"), manifest.drop(columns="path"), manifest["clip_id"]):
            assert cache.positions(named).tolist() == [4, 0]
        with pytest.raises(CacheError, match=r"(?s)1 of 2 .*\(1 of them were rejected\).*missing f1/clip è 11.wav"):
            cache.positions(sealed.clips.iloc[[1, -1]].drop(columns="clip_id"))
        with pytest.raises(CacheError, match=r"(?s)does not name clips.*clip_id or path.*found: label"):
            cache.positions(manifest[["label"]])


def test_clips_named_by_path_need_one_clip_a_path(run: Run) -> None:
    run.commit(range(N_CLIPS))
    seal(run.path, run.key, run.clips.assign(path="same.wav"))
    with (
        EmbeddingCache.open(run.path) as cache,
        pytest.raises(CacheError, match=r"(?s)clips of the cache have one path.*same.wav.*name the clips by clip_id"),
    ):
        cache.positions(run.clips[["path"]])


def test_a_layer_as_a_table(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        table = cache.to_frame("1")
        assert table.index.tolist() == cache.clip_ids
        assert table.columns.tolist() == [str(place) for place in range(WIDTH)]
        np.testing.assert_array_equal(table.to_numpy(), cache.layer("1"))


def test_features_are_named_in_the_table(run: Run) -> None:
    names = [f"feature {place}" for place in range(WIDTH)]
    run.commit(range(N_CLIPS))
    seal(run.path, run.key, run.clips, {"feature_names": names})
    with EmbeddingCache.open(run.path) as cache:
        assert cache.to_frame("0").columns.tolist() == names


def test_repr_tells_what_is_in_it(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        shown = (
            f"<EmbeddingCache x.h5: 11 clips x 3 layers (0..2) x 8, embeddings, mean, float32, key {cache.key.short}>"
        )
        assert repr(cache) == shown


def test_a_moved_and_renamed_file_is_the_same(sealed: Run, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "y.h5"
    moved.parent.mkdir()
    shutil.move(sealed.path, moved)
    with EmbeddingCache.open(moved, sealed.key) as cache:
        assert cache.verify() == []
    assert len(committed(moved, sealed.key)) == N_CLIPS


def test_wrong_key_is_refused_with_both_keys(sealed: Run) -> None:
    other = CacheKey(**{**sealed.key.ingredients, "audio": {"sample_rate_hz": 16000, "loudness_lufs": -23.0}})
    with pytest.raises(CacheError, match=r"(?s)loudness_lufs.*none against -23.0") as caught:
        EmbeddingCache.open(sealed.path, other)
    assert sealed.key.digest in str(caught.value)
    assert other.digest in str(caught.value)


def test_missing_file_and_unfinished_extraction_are_told_apart(run: Run) -> None:
    with pytest.raises(CacheError, match=r"(?s)no embedding cache here\n.*run the extraction$"):
        EmbeddingCache.open(run.path)
    run.commit([0])
    with pytest.raises(CacheError, match=r"(?s)only shards of an unfinished extraction.*goes on from its shards"):
        EmbeddingCache.open(run.path)
    with pytest.raises(CacheError, match="This file is a shard"):
        EmbeddingCache.open(next(shards_folder(run.path).glob("*.h5")))
    with pytest.raises(CacheError, match="found: a folder"):
        EmbeddingCache.open(run.path.parent)


def test_lfs_pointer_is_recognised(run: Run) -> None:
    run.path.parent.mkdir()
    run.path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(CacheError, match=r"(?s)Git LFS pointer.*git lfs pull"):
        EmbeddingCache.open(run.path)


def _text(path: Path) -> None:
    path.write_text("clip_id,path\n")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def _changed_by_hdf5(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["n_frames"][0] = 7


def _replaced(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["embeddings"] = np.zeros((1, 2, 3), dtype=np.float32)


@pytest.mark.parametrize("damage", [_text, _empty, _cut_short, _grown, _changed_by_hdf5, _replaced])
def test_file_that_is_not_whole_and_ours_is_refused(sealed: Run, damage: Callable[[Path], None]) -> None:
    damage(sealed.path)
    with pytest.raises(DamagedCacheError, match=r"(?s)cut short, was changed.*delete it and extract again"):
        EmbeddingCache.open(sealed.path)


def test_any_changed_byte_is_noticed(sealed: Run, rng: np.random.Generator) -> None:
    data = sealed.path.read_bytes()
    for offset in rng.integers(0, len(data), 100):
        changed = bytearray(data)
        changed[offset] ^= 1 << int(rng.integers(8))
        sealed.path.write_bytes(changed)
        try:
            with EmbeddingCache.open(sealed.path) as cache:
                assert cache.verify() != []
        except DamagedCacheError as error:
            assert "cannot be read" in str(error)  # noqa: PT017 - either is right, by where the byte lies


def test_file_that_lost_its_end_is_cut_short_for_every_reader(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        with sealed.path.open("r+b") as stream:
            stream.truncate(cache._header.start + 5)
        with pytest.raises(DamagedCacheError, match="cut short"):
            cache.layer("2")


@pytest.mark.parametrize(("version", "advice"), [(3, "update ser-probe"), (0, "delete it and extract again")])
def test_other_schema_versions_are_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, version: int, advice: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store_file, "POOLED_VERSION", version)
        patch.setattr(store_file, "READ_VERSIONS", (version,))
        run.commit(range(N_CLIPS))
        seal(run.path, run.key, run.clips)
    with pytest.raises(CacheError, match=rf"(?s)another schema version.*expected: 1 or 2.*{advice}"):
        EmbeddingCache.open(run.path)


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_verify_names_the_layer_and_the_clip_that_changed(sealed: Run) -> None:
    _flip(sealed.path, sealed.path.read_bytes().index(sealed.values[1, 3].tobytes()) + 9)
    with EmbeddingCache.open(sealed.path) as cache:
        assert cache.verify() == [
            "layer 1 is not what was written",
            f"clip {sealed.ids[3]} is not what was written",
        ]


def test_verify_notices_values_under_another_clips_id(sealed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with sealed.path.open("rb") as stream:
        header = read_header(stream, sealed.path)
        layers = [read_vectors(stream, header, index) for index in range(N_LAYERS)]
    rows = header.rows.assign(clip_id=[header.rows["clip_id"][place] for place in (1, 0, *range(2, N_CLIPS - 1))])
    with monkeypatch.context() as patch:
        right = begin_checksums(header.rows["clip_id"])
        patch.setattr(store_vectors, "begin_checksums", lambda _: list(right))
        write_file(sealed.path, dataclasses.replace(header, rows=rows), layers)
    with EmbeddingCache.open(sealed.path) as cache:
        assert cache.verify() == [f"clip {sealed.ids[place]} is not what was written" for place in (1, 0)]


def test_open_cache_shows_the_file_it_opened_although_it_is_sealed_anew(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        run = sealed.at(sealed.path)
        more = np.concatenate([sealed.clips["clip_id"].to_numpy()[:1], ["f" * 32]])
        rows = run.rows([0, 1])
        with run.writer() as writer:
            writer.add(type(rows)(more.tolist(), rows.embeddings, rows.n_frames, rows.duration_s))
        seal(run.path, run.key, run.clips)
        assert len(EmbeddingCache.open(sealed.path)) == N_CLIPS
        np.testing.assert_array_equal(cache.layer("1"), sealed.values[1, :-1])


def test_pickled_cache_opens_itself_again_and_refuses_another_content(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        packed = pickle.dumps(cache)
    with pickle.loads(packed) as copy:
        np.testing.assert_array_equal(copy.layer("final"), sealed.values[2, :-1])
    other = CacheKey(**{**sealed.key.ingredients, "pooling": "max"})
    sealed.path.unlink()
    replaced = Run(sealed.path, other, sealed.layout, sealed.clips, sealed.values)
    replaced.commit(range(N_CLIPS))
    seal(replaced.path, other, replaced.clips)
    with pytest.raises(CacheError, match="made from something else"):
        pickle.loads(packed)


def _sum_of(cache: EmbeddingCache, name: str) -> float:
    return float(cache.layer(name).sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_an_open_cache(sealed: Run, method: str) -> None:
    with EmbeddingCache.open(sealed.path) as cache, multiprocessing.get_context(method).Pool(2) as pool:
        names = [*cache.layer_names] * 4
        sums = pool.starmap(_sum_of, [(cache, name) for name in names])
        assert sums == [_sum_of(cache, name) for name in names]


def test_reading_needs_no_file_lock(sealed: Run) -> None:
    with sealed.path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            h5py.File(sealed.path, "r", locking=True)  # what a reader with locks would meet
        with EmbeddingCache.open(sealed.path) as cache:
            assert cache.verify() == []


def test_many_names_do_not_outgrow_an_attribute(run: Run) -> None:
    names = [f"feature {place} of a large set" for place in range(6373)]  # as many as ComParE 2016 has
    wide = np.zeros((N_LAYERS, N_CLIPS, len(names)), dtype=np.float32)
    run = dataclasses.replace(run, layout=dataclasses.replace(run.layout, width=len(names)), values=wide)
    run.commit(range(N_CLIPS))
    seal(run.path, run.key, run.clips, {"feature_names": names})
    assert EmbeddingCache.open(run.path).attributes["feature_names"] == names


def test_memory_file_is_a_file(rng: np.random.Generator, tmp_path: Path) -> None:
    """Random writes, reads and truncations agree with a real file's, at and across page borders."""
    ours = MemoryFile()
    with (tmp_path / "real").open("w+b") as real:
        for _ in range(200):
            offset, length = int(rng.integers(0, 300_000)), int(rng.integers(0, 100_000))
            data = rng.bytes(length)
            for file in (ours, real):
                file.seek(offset)
                assert file.write(data) == length
                assert file.tell() == offset + length
        size = real.seek(0, 2)
        assert ours.seek(0, 2) == size
        start, end = 70_000, 200_000
        ours.truncate(size + 10)
        real.truncate(size + 10)
        with (tmp_path / "copy").open("w+b") as copy:
            copy.seek(start)
            copy.write(b"x" * (end - start))
            ours.copy_to(copy, hole=(start, end))
        real.seek(start)
        real.write(b"x" * (end - start))
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "real").read_bytes()


def test_layout_is_documented_and_its_example_runs(sealed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = FORMAT_PAGE.read_text(encoding="utf-8")
    example, _ = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(example.splitlines()) <= 12
    monkeypatch.chdir(sealed.path.parent)
    names: dict[str, object] = {}
    exec(example, names)
    assert names["clip_ids"].tolist() == sealed.ids[:-1]
    np.testing.assert_array_equal(names["final"], sealed.values[2, :-1])
    np.testing.assert_array_equal(names["mapped"], sealed.values[:, :-1])
    assert undocumented(sealed.path) == []


def undocumented(path: Path) -> list[str]:
    """Return the datasets and attributes of a file that the page does not name."""
    page = FORMAT_PAGE.read_text(encoding="utf-8")
    with h5py.File(path, "r") as file:
        found: list[str] = [*file.attrs, *file["columns"].attrs]
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    shown = ["columns/NAME" if name.startswith("columns/") else name for name in found]
    return [name for name in shown if f"`{name}`" not in page]
