"""Files of every frame: they hold what was written, in any order and in blocks of any size, and are found damaged."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import pickle
import re
import tempfile
import threading
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ser_probe.embeddings import merge, store_file, store_vectors
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.seal import seal, update_attributes
from ser_probe.embeddings.shards import Rows, ShardWriter, committed, read_shards
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Layout
from ser_probe.embeddings.store_stamp import DamagedCacheError
from ser_probe.errors import CacheError
from tests.embeddings.conftest import N_CLIPS, WIDTH, Run
from tests.embeddings.contents import datasets
from tests.embeddings.test_store import FORMAT_PAGE, undocumented

EVERYTHING = range(N_CLIPS)
VECTOR_BYTES = 4 * WIDTH


@pytest.fixture
def sealed(ragged: Run) -> Run:
    """A finished file of eleven clips; the last one was rejected."""
    with ragged.writer() as writer:
        writer.add(ragged.rows([5, 3, 4]))
        writer.add(ragged.rows([0, 10, *range(6, 10), 2, 1]))
        writer.reject(ragged.ids[-1], ragged.clips["path"].iloc[-1], "only zeros")
    seal(ragged.path, ragged.key, ragged.clips, {"device": "cpu"})
    return ragged


def test_frames_and_layers_read_back(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path, sealed.key) as cache:
        assert cache.ragged
        assert cache.clip_ids == sealed.ids[:-1]
        assert cache.offsets.tolist() == [0, *np.cumsum(sealed.n_frames[:-1])]
        expected = sealed.of(EVERYTHING[:-1])
        np.testing.assert_array_equal(cache.array, expected)
        for index, name in enumerate(cache.layer_names):
            np.testing.assert_array_equal(cache.layer(name), expected[index])
            with pytest.raises(CacheError, match=r"(?s)every frame of a clip.*to do: take the frames of one clip"):
                cache.layer(name, sealed.ids[:1])
            for place in EVERYTHING[:-1]:
                frames = cache.frames(name, sealed.ids[place])
                assert frames.dtype == np.float32
                np.testing.assert_array_equal(frames, sealed.of([place])[index])
        np.testing.assert_array_equal(cache.frames("final", sealed.ids[2]), cache.frames("2", sealed.ids[2]))
        assert cache.verify() == []
        with pytest.raises(CacheError, match=r"1 of 1 clips are not in the cache \(1 of them"):
            cache.frames("1", sealed.ids[-1])
        with pytest.raises(CacheError, match="no such layer"):
            cache.frames("7", sealed.ids[0])


def test_a_pooled_file_has_no_frames_and_says_so(run: Run) -> None:
    run.commit(EVERYTHING)
    seal(run.path, run.key, run.clips)
    with EmbeddingCache.open(run.path) as cache:
        assert not cache.ragged
        assert cache.offsets.tolist() == [*EVERYTHING, N_CLIPS]
        with pytest.raises(CacheError, match=r"(?s)one vector a clip and no frames.*pooling mean.*--pooling frames"):
            cache.frames("1", run.ids[0])


def test_schema_versions_tell_pooled_from_ragged(sealed: Run, run: Run) -> None:
    pooled = run.at(run.path.with_name("pooled.h5"))
    pooled.commit(EVERYTHING)
    seal(pooled.path, pooled.key, pooled.clips)
    for path, version in ((pooled.path, 1), (sealed.path, 2)):
        with h5py.File(path) as file:
            assert file.attrs["schema_version"] == version
            assert ("frame_offset" in file) is (version == 2)


def test_a_table_names_clip_and_frame(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        table = cache.to_frame("1")
        assert table.index.names == ["clip_id", "frame"]
        for place in (0, 4, 10):
            of_clip = table.loc[sealed.ids[place]]
            assert of_clip.index.tolist() == list(range(sealed.n_frames[place]))
            np.testing.assert_array_equal(of_clip.to_numpy(), sealed.of([place])[1])


def test_repr_tells_frames(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        total = sealed.n_frames[:-1].sum()
        assert repr(cache).startswith(f"<EmbeddingCache x.h5: 11 clips of {total} frames x 3 layers (0..2) x 8,")
        assert "frames, float32" in repr(cache)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(EVERYTHING),
    cuts=st.lists(st.integers(1, N_CLIPS - 1), max_size=4),
    repeated=st.sets(st.integers(0, N_CLIPS - 1), max_size=3),
    finished=st.integers(0, N_CLIPS),
    block=st.integers(1, 80),
    direct=st.integers(1, 20),
    gap=st.integers(0, 8),
    scratch=st.integers(1, 40),
    pooled=st.booleans(),
)
def test_datasets_depend_on_the_content_alone(
    run: Run, ragged: Run, order: list[int], cuts: list[int], repeated: set[int], finished: int, block: int,
    direct: int, gap: int, scratch: int, pooled: bool,
) -> None:  # fmt: skip
    """Whatever the order, the runs, the blocks and the reads: the file is the one written at once, and as it should."""
    each = run if pooled else ragged
    borders = [0, *sorted(set(cuts)), N_CLIPS]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        whole, pieces = each.at(Path(folder) / "whole.h5"), each.at(Path(folder) / "pieces.h5")
        first = each.clips.iloc[sorted(order[:finished])]
        if finished:
            whole.commit(first.index.tolist())
            seal(whole.path, whole.key, first)
        whole.commit(EVERYTHING)
        seal(whole.path, whole.key, each.clips)
        for name, vectors in (("_DIRECT_BYTES", direct), ("_GAP_BYTES", gap), ("_SCRATCH_BYTES", scratch)):
            patch.setattr(merge, name, vectors * VECTOR_BYTES)
        patch.setattr(store_vectors, "BLOCK_BYTES", block * VECTOR_BYTES)
        if finished:
            pieces.commit(order[:finished])
            seal(pieces.path, pieces.key, first)
        for low, high in itertools.pairwise(borders):
            pieces.commit(order[low:high])
        pieces.commit(sorted(repeated)) if repeated else None
        seal(pieces.path, pieces.key, each.clips)
        assert datasets(whole.path) == datasets(pieces.path)
        with EmbeddingCache.open(pieces.path) as cache:
            places = [each.ids.index(clip_id) for clip_id in cache.clip_ids]
            np.testing.assert_array_equal(cache.array, each.of(places))
            assert cache.verify() == []


def test_merging_holds_a_block_and_not_a_layer(tmp_path: Path, key: CacheKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_vectors, "BLOCK_BYTES", 1 << 20)
    path, layout, n_clips, n_frames = tmp_path / "x.h5", Layout(("0",), 64, ragged=True), 400, 200
    values = np.arange(n_frames * 64, dtype=np.float32).reshape(1, n_frames, 64)
    with ShardWriter(path, key, layout, bytes_per_shard=1 << 20) as writer:
        for clip in range(n_clips):
            writer.add(Rows([f"{clip * 7 % n_clips:032x}"], values + clip, [n_frames], [1.0]))
    ids = [f"{clip:032x}" for clip in range(n_clips)]
    files = [header for _, header in read_shards(path, key)]
    assert sum(header.layer_bytes for header in files) > 18 << 20
    clips = pd.DataFrame({"clip_id": ids, "path": ids})
    tracemalloc.start()
    try:
        seal(path, key, clips)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
    with EmbeddingCache.open(path) as cache:
        assert cache.frames("0", ids[7])[0, 0] == 1
        assert cache.verify() == []


def test_shards_of_frames_are_larger_unless_told(ragged: Run, run: Run) -> None:
    assert run.writer().bytes_per_shard < ragged.writer().bytes_per_shard
    with ragged.writer(bytes_per_shard=3 * VECTOR_BYTES * int(ragged.n_frames[[0, 1]].sum())) as writer:
        for start in range(0, 12, 2):
            writer.add(ragged.rows([start, start + 1]))
        assert len(read_shards(ragged.path, ragged.key)) > 2


def test_layout_is_documented_and_its_example_runs(sealed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _, example = re.findall(r"```python\n(.*?)```", FORMAT_PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(example.splitlines()) <= 10
    sealed.path.rename(sealed.path.with_name("frames.h5"))
    monkeypatch.chdir(sealed.path.parent)
    names: dict[str, object] = {}
    exec(example, names)
    np.testing.assert_array_equal(names["frames"], sealed.of([3])[1])
    assert undocumented(Path("frames.h5")) == []


def test_float16_frames(ragged: Run) -> None:
    key = dataclasses.replace(ragged.key, storage="float16")
    half = dataclasses.replace(ragged, key=key)
    half.commit([3, 1, 2], [0, *range(4, 12)])
    seal(half.path, key, half.clips)
    with EmbeddingCache.open(half.path, key) as cache:
        assert cache.array.dtype == np.float16
        np.testing.assert_array_equal(cache.frames("1", half.ids[1]), half.of([1])[1].astype(np.float16))
        assert cache.frames("1", half.ids[1]).dtype == np.float32


def test_a_frame_that_is_not_finite_names_its_clip(ragged: Run) -> None:
    rows = ragged.rows([4, 7, 9])
    rows.embeddings[2, ragged.n_frames[4] + ragged.n_frames[7], 3] = np.inf
    with ragged.writer() as writer, pytest.raises(CacheError, match=rf"(?s)not finite.*clip {ragged.ids[9]}, layer 2"):
        writer.add(rows)
    key = dataclasses.replace(ragged.key, storage="float16")
    rows = ragged.rows([4, 7, 9])
    rows.embeddings[1, ragged.n_frames[4], 0] = 1e5
    message = rf"(?s)too large for float16.*clip {ragged.ids[7]}, layer 1"
    with ShardWriter(ragged.path, key, ragged.layout) as writer, pytest.raises(CacheError, match=message):
        writer.add(rows)


def test_batches_that_do_not_fit_are_refused(ragged: Run) -> None:
    rows = ragged.rows([0, 1])
    with ragged.writer() as writer:
        with pytest.raises(ValueError, match="does not fit the layout"):
            writer.add(dataclasses.replace(rows, n_frames=rows.n_frames + 1))
        with pytest.raises(ValueError, match="A clip without frames cannot be stored"):
            writer.add(dataclasses.replace(rows, n_frames=[0, int(sum(rows.n_frames))]))


def test_pooled_and_ragged_files_of_one_key_are_not_mixed(ragged: Run, run: Run) -> None:
    ragged.commit([0])
    with ShardWriter(run.path, ragged.key, run.layout) as writer:
        writer.add(run.rows([1]))
    with pytest.raises(CacheError, match="one key have different layers"):
        seal(run.path, ragged.key, run.clips.iloc[:2])


def flip(path: Path, values: np.ndarray) -> None:
    with path.open("r+b") as stream:
        place = stream.read().index(values.tobytes())
        stream.seek(place)
        byte = stream.read(1)[0]
        stream.seek(place)
        stream.write(bytes([byte ^ 1]))


def test_verify_names_layer_and_clip_of_any_changed_frame(sealed: Run) -> None:
    flip(sealed.path, sealed.of([7])[1, -1])
    with EmbeddingCache.open(sealed.path) as cache:
        assert cache.verify() == ["layer 1 is not what was written", f"clip {sealed.ids[7]} is not what was written"]


def test_a_changed_frame_is_not_merged(ragged: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_vectors, "BLOCK_BYTES", 2 * VECTOR_BYTES)
    ragged.commit(range(6), range(6, 12))
    shard = committed(ragged.path, ragged.key).clips[ragged.ids[0]]
    flip(shard, ragged.of([4])[2, -1])
    with pytest.raises(DamagedCacheError, match=r"(?s)not what was written.*run the extraction again"):
        seal(ragged.path, ragged.key, ragged.clips)
    assert set(committed(ragged.path, ragged.key).clips) == set(ragged.ids[6:])
    assert list(shards_folder(ragged.path).glob("*.damaged"))


def test_any_changed_byte_is_noticed(sealed: Run, rng: np.random.Generator) -> None:
    data = sealed.path.read_bytes()
    for offset in rng.integers(0, len(data), 60):
        changed = bytearray(data)
        changed[offset] ^= 1 << int(rng.integers(8))
        sealed.path.write_bytes(changed)
        try:
            with EmbeddingCache.open(sealed.path) as cache:
                assert cache.verify() != []
        except DamagedCacheError as error:
            assert "cannot be read" in str(error)  # noqa: PT017 - either is right, by where the byte lies


def test_attributes_are_added_and_frames_stay(sealed: Run) -> None:
    before = datasets(sealed.path)
    update_attributes(sealed.path, {"verify_error": 3e-7})
    assert datasets(sealed.path) == before
    with EmbeddingCache.open(sealed.path) as cache:
        assert cache.attributes["verify_error"] == 3e-7


def test_verify_sees_values_that_are_not_finite(sealed: Run) -> None:
    """As another program might have written them, checksums and all."""
    with sealed.path.open("rb") as stream:
        header = store_file.read_header(stream, sealed.path)
        layers = [store_vectors.read_vectors(stream, header, index) for index in range(3)]
    layers[1][3, 2] = np.nan
    store_file.write_file(sealed.path, header, layers)
    with EmbeddingCache.open(sealed.path) as cache:
        assert cache.verify() == ["layer 1 holds values that are not finite"]


def _sum_of(cache: EmbeddingCache, name: str, clip_id: str) -> float:
    return float(cache.frames(name, clip_id).sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_frames_of_an_open_cache(sealed: Run, method: str) -> None:
    with EmbeddingCache.open(sealed.path) as cache, multiprocessing.get_context(method).Pool(2) as pool:
        asked = [(cache, name, clip_id) for name in cache.layer_names for clip_id in cache.clip_ids]
        assert pool.starmap(_sum_of, asked) == [_sum_of(*each) for each in asked]
        with pickle.loads(pickle.dumps(cache)) as copy:
            assert copy.ragged


def test_threads_share_an_open_cache(sealed: Run) -> None:
    with EmbeddingCache.open(sealed.path) as cache:
        wrong: list[bool] = []

        def read(place: int) -> None:
            expected = sealed.of([place])[1]
            wrong.extend(not np.array_equal(cache.frames("1", sealed.ids[place]), expected) for _ in range(50))

        threads = [threading.Thread(target=read, args=(place,)) for place in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(wrong) == 200
        assert not any(wrong)
