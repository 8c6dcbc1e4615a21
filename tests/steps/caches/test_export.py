"""Exports: every format gives the values back exactly, and a failed one leaves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from ser_probe.embeddings import store_vectors
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import CacheError
from ser_probe.steps.caches import export as cache_export
from ser_probe.steps.caches.export import FORMATS, plan_export, write_export

from ..conftest import FEATURES, tuned

Write = Callable[..., Path]


@pytest.fixture(params=[0, 3], ids=["pooled", "ragged"])
def cache_file(
    request: pytest.FixtureRequest, write_cache: Write, clips: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A cache of 72 clips, or of three frames of each, that is read in several blocks and written in several tables."""
    monkeypatch.setattr(store_vectors, "BLOCK_BYTES", 50 * 32)
    monkeypatch.setattr(cache_export, "_ROWS_AT_A_TIME", 20)
    return write_cache("a", clips, tuned(50), frames=request.param)


def export(cache: Path, output: Path, kind: str, **options: object) -> Path:
    return write_export(plan_export(cache, output, kind, **options))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_npy(cache_file: Path, tmp_path: Path) -> None:
    plan = plan_export(cache_file, tmp_path / "out", "npy")
    out = write_export(plan)
    assert left(out) == ["clips.csv", "export.json", "layer-0.npy", "layer-1.npy"]
    with EmbeddingCache.open(cache_file) as cache:
        assert plan.size_bytes == cache.array.nbytes
        for name in cache.layer_names:
            np.testing.assert_array_equal(np.load(out / f"layer-{name}.npy"), cache.layer(name))
        table = pd.read_csv(out / "clips.csv")
        assert table["clip_id"].tolist() == cache.clip_ids
        assert table["label"].tolist() == cache.clips["label"].tolist()
        if cache.ragged:
            assert table["first_frame"].tolist() == cache.offsets[:-1].tolist()
        origin = json.loads((out / "export.json").read_text())
        assert (origin["key"], origin["model"], origin["layers"]) == (cache.key.digest, "tiny", ["0", "1"])


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_tables(cache_file: Path, tmp_path: Path, kind: str) -> None:
    out = export(cache_file, tmp_path / "out", kind, layers=["final", "0", "final"])
    assert left(out) == ["export.json", f"layer-0.{kind}", f"layer-final.{kind}"]
    read = {"parquet": pd.read_parquet, "csv": pd.read_csv}[kind]
    with EmbeddingCache.open(cache_file) as cache:
        for name in ("0", "final"):
            table = read(out / f"layer-{name}.{kind}")
            values = table[[f"d{place:04d}" for place in range(cache.width)]].to_numpy(dtype=np.float32)
            np.testing.assert_array_equal(values, cache.layer(name))
            expected = cache.to_frame(name).index.to_frame(index=False)
            assert table["clip_id"].tolist() == expected["clip_id"].tolist()
            if cache.ragged:
                assert table["frame"].tolist() == expected["frame"].tolist()
            labels = cache.clips.set_index("clip_id")["label"]
            assert table["label"].tolist() == labels[expected["clip_id"]].tolist()
            assert {"path", "speaker", "gender", "split"} <= set(table)


def test_safetensors_as_its_own_library_reads_it(cache_file: Path, tmp_path: Path) -> None:
    out = export(cache_file, tmp_path / "out.safetensors", "safetensors", layers=["1", "final"])
    with EmbeddingCache.open(cache_file) as cache, safe_open(out, "numpy") as tensors:
        assert set(tensors.keys()) == {"1", "final", *(["frame_offset"] if cache.ragged else [])}
        for name in ("1", "final"):
            np.testing.assert_array_equal(tensors.get_tensor(name), cache.layer(name))
        if cache.ragged:
            np.testing.assert_array_equal(tensors.get_tensor("frame_offset"), cache.offsets)
        assert json.loads(tensors.metadata()["clip_ids"]) == cache.clip_ids
        assert tensors.metadata()["checkpoint"] == "step-50"


def test_the_size_of_csv_is_foretold(cache_file: Path, tmp_path: Path) -> None:
    plan = plan_export(cache_file, tmp_path / "out", "csv")
    written = sum(path.stat().st_size for path in write_export(plan).glob("*.csv"))
    assert plan.size_bytes == pytest.approx(written, rel=0.1)


def test_features_keep_their_names_unless_a_column_has_one(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path
) -> None:
    file = write_cache("f", clips, FEATURES, layers=("functionals",), width=3)
    with EmbeddingCache.open(file) as cache:
        assert cache_export._value_columns(cache) == ["a", "b", "feature 2"]
        cache.attributes["feature_names"] = ["a", "label", "c"]
        assert cache_export._value_columns(cache) == ["d0000", "d0001", "d0002"]


def test_what_is_there_is_replaced_only_by_force_and_only_if_it_is_an_export(cache_file: Path, tmp_path: Path) -> None:
    out = export(cache_file, tmp_path / "out", "npy", layers=["0"])
    with pytest.raises(CacheError, match=r"(?s)is there already.*--force"):
        plan_export(cache_file, out, "csv")
    export(cache_file, out, "parquet", layers=["1"], force=True)
    assert left(out) == ["export.json", "layer-1.parquet"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    (tmp_path / "link").symlink_to(out)
    for name, kind in (("mine", "npy"), ("link", "npy"), ("out", "safetensors"), ("mine", "safetensors")):
        with pytest.raises(CacheError, match="is not an earlier export alone"):
            plan_export(cache_file, tmp_path / name, kind, force=True)
    file = export(cache_file, tmp_path / "x.safetensors", "safetensors")
    assert export(cache_file, file, "safetensors", force=True) == file
    assert left(tmp_path) == ["a.h5", "link", "mine", "out", "x.safetensors"]


def test_files_that_were_put_into_an_export_are_not_deleted_with_it(cache_file: Path, tmp_path: Path) -> None:
    out = export(cache_file, tmp_path / "out", "npy", layers=["0"])
    (out / "plots").mkdir()
    (out / "clips of mine.csv").write_text("mine")
    with pytest.raises(CacheError, match=r"(?s)not replaced.*found: clips of mine\.csv, plots.*move it away"):
        plan_export(cache_file, out, "csv", force=True)
    (tmp_path / "weights.safetensors").write_bytes(save({"layer.0": np.zeros(3)}, {"format": "pt"}))
    with pytest.raises(CacheError, match="found: tensors of something else"):
        plan_export(cache_file, tmp_path / "weights.safetensors", "safetensors", force=True)
    (tmp_path / "text.safetensors").write_text("mine")
    with pytest.raises(CacheError, match="found: no file of safetensors"):
        plan_export(cache_file, tmp_path / "text.safetensors", "safetensors", force=True)
    assert (out / "layer-0.npy").is_file()


def test_unknown_formats_and_layers(cache_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"(?s)format is not known.*npy, parquet, csv, safetensors.*'parquet'"):
        plan_export(cache_file, tmp_path / "out", "parket")
    with pytest.raises(CacheError, match=r"(?s)no such layer.*0, 1, final.*found: 7"):
        plan_export(cache_file, tmp_path / "out", "npy", layers=["0", "7"])


EXPORT = """
import resource, sys
from pathlib import Path
from ser_probe.errors import CacheError
from ser_probe.steps.caches.export import plan_export, write_export
plan = plan_export(Path({cache!r}), Path({output!r}), {kind!r})
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
try:
    write_export(plan)
except CacheError as error:
    print(error)
    sys.exit(1)
"""


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_leaves_nothing_and_is_said(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path, kind: str
) -> None:
    cache = write_cache("a", clips, tuned(0), width=512, frames=4)
    code = EXPORT.format(cache=str(cache), output=str(tmp_path / "out" / "it"), kind=kind, limit=30_000)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("The disk is full")
    assert "free some space and run the same command again: nothing was left behind" in done.stdout
    assert left(tmp_path / "out") == []
    export(cache, tmp_path / "out" / "it", kind)


def test_a_small_disk_that_fills_up(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        cache = write_cache("a", clips, tuned(0), width=512, frames=4)
        for kind in FORMATS:
            with pytest.raises(CacheError, match=r"(?s)The disk is full.*No space left"):
                export(cache, disk / "out", kind)
            assert left(disk) == [], kind
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_a_fault_that_is_no_disks_stays_what_it_is(
    cache_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no conversion path")

    monkeypatch.setitem(FORMATS, "npy", fail)
    with pytest.raises(OSError, match="no conversion path"):
        export(cache_file, tmp_path / "out", "npy")
