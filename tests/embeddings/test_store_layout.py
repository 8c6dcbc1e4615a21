"""Files with a right stamp that are not laid out as ours: each departure is named, and nothing else is opened."""

from __future__ import annotations

import collections
import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import committed, survey_shards
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_stamp import DamagedCacheError, append_stamp
from ser_probe.errors import CacheError
from tests.embeddings.conftest import N_CLIPS, WIDTH, Run
from tests.mutation import mutate
from tests.mutation_hdf5 import restamp

# What a reader cannot tell from a file that was made so: other values, names or records of the right kind.
LEGITIMATE = re.compile(r"value: |record@|attribute /@(layer_names|aliases)")


@pytest.fixture
def sealed(run: Run) -> Run:
    """A finished cache of eleven clips, whose values have names; the last clip was rejected."""
    with run.writer() as writer:
        writer.add(run.rows(range(N_CLIPS - 1)))
        writer.reject(run.ids[-1], run.clips["path"].iloc[-1], "only zeros")
    names = [f"feature {place}" for place in range(WIDTH)]
    seal(run.path, run.key, run.clips, {"model": "tiny", "step": 50, "feature_names": names})
    return run


def _put(name: str, **options: Any) -> Callable[[h5py.File], None]:
    """Put another dataset in the place of one."""

    def change(file: h5py.File) -> None:
        values = file[name][()] if name in file and "data" not in options and "shape" not in options else None
        if name in file:
            del file[name]
        file.create_dataset(name, **({"data": values} | options if values is not None else options))

    return change


def _say(name: str, value: Any, of: str = "/") -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[of].attrs[name] = value

    return change


def _delete(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if "@" in name:
            group, _, attribute = name.partition("@")
            del file[group].attrs[attribute]
        else:
            del file[name]

    return change


def _link(name: str, target: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = target

    return change


def _make_group(file: h5py.File) -> None:
    del file["n_frames"]
    file.create_group("n_frames")


def _make_virtual(file: h5py.File) -> None:
    del file["duration_s"]
    layout = h5py.VirtualLayout((11,), "<f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (11,))
    file.create_virtual_dataset("duration_s", layout)


def _two_ids(file: h5py.File) -> None:
    file["clip_id"][1] = file["clip_id"][0]


def _other_ingredients(file: h5py.File, **changes: Any) -> None:
    key = CacheKey(**json.loads(file.attrs["key_ingredients"]))
    file.attrs["key_ingredients"] = json.dumps(key.ingredients | changes)


N, TEXT = N_CLIPS - 1, h5py.string_dtype()
DEPARTURES: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "format": (_say("format", "another"), r"attribute format.*expected: ser-probe embeddings.*found: another"),
    "format as numbers": (_say("format", np.arange(3)), r"attribute format.*expected: a text.*found: \[0, 1, 2\]"),
    "format of nothing": (_say("format", np.zeros(0)), r"attribute format.*expected: a text.*found: \[\]"),
    "no format": (_delete("/@format"), r"attribute format.*found: none"),
    "version": (_say("schema_version", "1"), r"attribute schema_version.*expected: a whole number.*found: 1"),
    "sealed": (_say("sealed", 1), r"attribute sealed.*expected: true or false.*found: 1"),
    "key": (_say("key", "0" * 64), r"attribute key.*the ingredients' SHA-256.*found: 0000"),
    "key as numbers": (_say("key", np.arange(3)), r"attribute key.*expected: a text.*found: \[0, 1, 2\]"),
    "ingredients": (_say("key_ingredients", "{"), r"attribute key_ingredients.*expected: JSON.*found: Expecting"),
    "a list": (_say("key_ingredients", "[]"), r"attribute key_ingredients.*expected: JSON.*found: \[\]"),
    "missing": (_say("key_ingredients", "{}"), r"key_ingredients.*kind, weights.*found: without kind, weights"),
    "more": (lambda file: _other_ingredients(file, name="x"), r"key_ingredients.*kind, weights.*found: name"),
    "kind": (lambda file: _other_ingredients(file, audio=3), r"key_ingredients.*audio: names with values.*found: 3"),
    "storage": (lambda file: _other_ingredients(file, storage="int8"), r"storage: float32 or float16.*found: int8"),
    "other key": (lambda file: _other_ingredients(file, pooling="max"), r"attribute key\n"),
    "deep": (_say("aliases", "[" * 5000), r"attribute aliases.*found: "),
    "layers": (_say("layer_names", '["0", "0", "1"]'), r"attribute layer_names.*each once.*found: \[\"0\", \"0\""),
    "layer": (_say("layer_names", '["0", "1", "2", "3"]'), r"dataset embeddings.*shape 4 x 11 x any.*found: 3 x 11"),
    "aliases": (_say("aliases", '{"final": "9"}'), r"attribute aliases.*further names.*found: final: 9"),
    "clip_id": (_delete("clip_id"), r"dataset clip_id.*expected: a dataset.*found: nothing of that name"),
    "ids of numbers": (_put("clip_id", data=np.arange(N)), r"dataset clip_id.*expected: text.*found: int64"),
    "two ids": (_two_ids, r"dataset clip_id.*expected: each clip once.*found: \w+ twice"),
    "an empty id": (_put("clip_id", data=["a", "", "b"]), r"clip_id.*an id for every clip.*found: none in row 1"),
    "no clip": (_put("clip_id", shape=(0,), dtype="S3"), r"clip_id.*expected: at least one clip.*found: none"),
    "no UTF-8": (_put("path", data=[b"\xff"] * N, dtype=TEXT), r"dataset path.*text in UTF-8.*decode"),
    "short": (_put("n_frames", data=np.ones(N - 1, "<i4")), r"dataset n_frames.*expected: shape 11.*found: 10"),
    "scalar": (_put("n_frames", data=np.int32(3)), r"dataset n_frames.*expected: shape 11.*found: one value"),
    "no values": (_put("n_frames", data=h5py.Empty("<i4")), r"dataset n_frames.*shape 11.*found: no values"),
    "type": (_put("n_frames", dtype="<i8"), r"dataset n_frames.*expected: int32.*found: int64"),
    "big-endian": (_put("n_frames", dtype=">i4"), r"dataset n_frames.*expected: int32.*found: big-endian int32"),
    "compound": (_put("n_frames", shape=(N,), dtype=[("a", "<i4")]), r"n_frames.*int32.*found: a compound"),
    "lists": (_put("n_frames", shape=(N,), dtype=h5py.vlen_dtype("<i4")), r"n_frames.*int32.*found: lists"),
    "frames": (_put("n_frames", data=np.full(N, -1, "<i4")), r"dataset n_frames.*0 or more.*found: -1 in row 0"),
    "duration": (_put("duration_s", data=np.full(N, np.nan)), r"duration_s.*0.0 or more.*found: nan in row 0"),
    "a group": (_make_group, r"dataset n_frames.*expected: a dataset.*found: a group"),
    "chunked": (_put("duration_s", chunks=(2,)), r"duration_s.*88 bytes in one piece.*found: a chunked dataset"),
    "virtual": (_make_virtual, r"dataset duration_s.*found: a virtual dataset"),
    "elsewhere": (
        _put("duration_s", shape=(N,), dtype="<f8", external=[("beside", 0, 88)]), r"found: values in another file",
    ),
    "huge": (_put("clip_id", shape=(1 << 40,), dtype="S32"), r"clip_id.*35,184,372,088,832 bytes in one.*found: 0 byt"),
    "external": (_link("path", h5py.ExternalLink("/etc/x", "/y")), r"dataset path.*found: a link to /etc/x /y, and"),
    "soft": (_link("columns", h5py.SoftLink("/rejects")), r"group columns.*a group.*found: a link to /rejects"),
    "no columns": (_delete("columns@order"), r"attribute columns/order.*found: none"),
    "order": (_say("order", "[1]", "columns"), r"attribute columns/order.*columns' names, each once.*found: \[1\]"),
    "no column": (_delete("columns/label"), r"dataset columns/label.*found: nothing of that name"),
    "more columns": (_put("columns/more", data=np.ones(N)), r"columns/order.*names of all columns.*without more"),
    "column": (_put("columns/arousal", dtype="<f4"), r"columns/arousal.*float64 or text.*found: float32"),
    "twice": (_put("columns/path", data=np.ones(N)), r"columns/order.*found: without path"),
    "rejects": (_delete("rejects/reason"), r"dataset rejects/reason.*found: nothing of that name"),
    "record": (_say("step", '"x"', "record"), r"attribute record/step.*JSON: a number or null.*found: x"),
    "record's JSON": (_say("model", "{", "record"), r"attribute record/model.*JSON: a value.*found: Expecting"),
    "names": (_say("feature_names", '["a"]', "record"), r"record/feature_names.*8 names.*found: 1 values"),
    "unread": (_say("unread", "[1]", "record"), r"record/unread.*clips with clip_id, path, reason.*found: 1"),
    "checksums": (_put("layer_checksum", data=["x"] * 3), r"layer_checksum.*32 hex digits a layer.*found: x"),
    "embeddings": (_delete("embeddings"), r"dataset embeddings.*found: nothing of that name"),
    "float64": (_put("embeddings", dtype="<f8"), r"dataset embeddings.*expected: float32.*found: float64"),
    "no width": (_put("embeddings", shape=(3, N, 0), dtype="<f4"), r"dataset embeddings.*least one value.*3 x 11 x 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", DEPARTURES)
def test_departure_from_the_layout_is_named(sealed: Run, name: str) -> None:
    change, message = DEPARTURES[name]
    with h5py.File(sealed.path, "r+") as file:
        change(file)
    restamp(sealed.path)
    with pytest.raises(DamagedCacheError, match=rf"(?s)laid out as.*x\.h5, .*{message}"):
        EmbeddingCache.open(sealed.path)


def test_a_stamp_must_hash_all_but_the_embeddings(sealed: Run) -> None:
    data = sealed.path.read_bytes()[:-40]
    with sealed.path.open("w+b") as stream:
        stream.write(data)
        append_stamp(stream, hole=(0, len(data)))
    with pytest.raises(DamagedCacheError, match=r"(?s)the stamp.*embeddings from byte \d+ to"):
        EmbeddingCache.open(sealed.path)
    sealed.path.write_bytes(b"text")
    with sealed.path.open("r+b") as stream:
        append_stamp(stream, hole=(0, 0))
    with pytest.raises(DamagedCacheError, match=r"(?s)no HDF5 file.*x\.h5.*delete it and extract again"):
        EmbeddingCache.open(sealed.path)


def test_offsets_of_frames_are_those_that_the_counts_give(ragged: Run) -> None:
    ragged.commit(range(N_CLIPS))
    seal(ragged.path, ragged.key, ragged.clips)
    with h5py.File(ragged.path, "r+") as file:
        file["frame_offset"][1] += 1
    restamp(ragged.path)
    with pytest.raises(DamagedCacheError, match=r"(?s)dataset frame_offset.*that n_frames counts.*other places"):
        EmbeddingCache.open(ragged.path)


def test_values_that_changed_or_are_not_finite_are_no_analysis_input(sealed: Run) -> None:
    data = bytearray(sealed.path.read_bytes())
    place = data.index(sealed.values[1, 3].tobytes())
    data[place] ^= 1
    sealed.path.write_bytes(data)
    with EmbeddingCache.open(sealed.path) as cache:
        assert cache.layer("0").shape == (N, WIDTH)
        for read in (cache.layer, cache.check_layer):
            with pytest.raises(DamagedCacheError, match=r"(?s)Layer 1 of the emb.*not what was written.*x\.h5.*verify"):
                read("1")
        cache.check_layer("final")


def test_values_that_are_not_finite_name_layer_and_clip(ragged: Run) -> None:
    ragged.commit(range(N_CLIPS))
    seal(ragged.path, ragged.key, ragged.clips)
    with EmbeddingCache.open(ragged.path) as cache:
        start, checksum = cache._header.start, cache._header.checksums[1]
        row = int(cache.offsets[3])
    with ragged.path.open("r+b") as stream:
        stream.seek(start + cache._header.layer_bytes + row * cache._header.vector_bytes)
        stream.write(np.float32("inf").tobytes())
    message = rf"(?s)not finite.*x\.h5, layer 1, clip f1/clip è 3\.wav \({ragged.ids[3]}\).*found: NaN or infinity"
    with EmbeddingCache.open(ragged.path) as cache:
        with pytest.raises(CacheError, match=message):
            cache.frames("1", ragged.ids[3])
        with pytest.raises(CacheError, match=message):
            cache.check_layer("1")
        assert cache.verify()[0] == "layer 1 is not what was written"
        assert cache._header.checksums[1] == checksum


def test_a_shard_of_another_layout_is_set_aside_and_computed_again(run: Run) -> None:
    run.commit(range(3), range(3, N_CLIPS))
    first = sorted(shards_folder(run.path).glob("*.h5"))[0]
    with h5py.File(first, "r+") as file:
        del file["duration_s"]
    restamp(first)
    assert survey_shards(run.path)[1] == 1
    assert len(committed(run.path, run.key)) in (3, N_CLIPS - 3)
    assert first.with_name(first.name + ".damaged").is_file()
    assert not first.exists()


def _content(cache: EmbeddingCache) -> list[Any]:
    tables = [cache.clips.astype(object).fillna("nan").to_dict("list"), cache.rejects.to_dict("list")]
    return [
        cache.key.digest, cache.layer_names, cache.aliases, cache.width, cache.ragged, cache.attributes, *tables,
        *(cache.layer(name).tolist() for name in cache.layer_names),
    ]  # fmt: skip


def _try_mutations(run: Run, seeds: range) -> collections.Counter[str]:
    """Change a file once for each seed: reading all of it fails with a message, or gives what was written."""
    whole = run.path.read_bytes()
    with EmbeddingCache.open(run.path) as cache:
        right = _content(cache)
    count: collections.Counter[str] = collections.Counter()
    for seed in seeds:
        run.path.write_bytes(whole)
        what = mutate(run.path, seed)
        try:
            with EmbeddingCache.open(run.path) as cache:
                found = _content(cache)
        except CacheError as error:
            count["refused" if str(run.path) in str(error) else "refused without the file's name"] += 1
            continue
        except Exception as error:
            raise AssertionError(what) from error
        assert found == right or LEGITIMATE.search(what), what
        count["the same" if found == right else "other values"] += 1
    return count


@pytest.mark.parametrize("ragged_file", [False, True])
def test_no_mutation_ends_in_a_traceback_or_in_other_values(sealed: Run, ragged: Run, ragged_file: bool) -> None:
    run = sealed
    if ragged_file:
        run = dataclasses.replace(ragged, path=sealed.path.with_name("ragged.h5"))
        run.commit(range(N_CLIPS))
        seal(run.path, run.key, run.clips)
    count = _try_mutations(run, range(150))
    assert count["refused"] > 75
    assert set(count) <= {"refused", "the same", "other values"}


@pytest.mark.slow
def test_no_mutation_of_thousands(sealed: Run) -> None:
    count = _try_mutations(sealed, range(1000, 5000))
    assert count["refused"] > 2000
    assert set(count) <= {"refused", "the same", "other values"}
