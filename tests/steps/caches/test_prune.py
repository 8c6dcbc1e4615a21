"""Pruning: leftovers go, finished caches only where they are asked for, and nothing that is not ser-probe's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ser_probe.embeddings import store_file
from ser_probe.embeddings.notes import note_clips, note_unread
from ser_probe.embeddings.partials import name_node, shards_folder
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import CacheError
from ser_probe.steps.caches.export import plan_export, write_export
from ser_probe.steps.caches.prune import plan_prune, remove

from ..conftest import tuned

Write = Callable[..., Path]


@pytest.fixture
def dead() -> int:
    """Id of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave_shards(path: Path, like: Path, pid: int, node: str | None = None) -> Path:
    """Leave what a killed extraction leaves: notes, a shard, a damaged one, a partial one."""
    with EmbeddingCache.open(like) as cache:
        note_clips(path, cache.clips)
        note_unread(path, "1-of-2", cache.clips.head(1).assign(reason="away"))
        with ShardWriter(path, cache.key, Layout(cache.layer_names, cache.width, cache.aliases)) as writer:
            writer.add(Rows(cache.clip_ids[:2], cache.array[:, :2], [1, 1], [1.0, 1.0]))
    folder = shards_folder(path)
    (shard,) = folder.glob("shard-*.h5")
    name = f"shard-{node or name_node()}-{pid}-0123456789ab.h5"
    shard.rename(folder / name)
    (folder / f"{name}.damaged").write_bytes(b"torn")
    (folder / f".{name[:-3]}.{pid}.partial.h5").write_bytes(b"half")
    (folder / "seal.lock").touch()
    for file in folder.iterdir():
        os.utime(file, (1e9, 1e9 + (file.name.startswith("shard"))))
    return folder


def names(planned: list) -> dict[str, str]:
    return {each.path.name: each.what for each in planned}


def test_leftovers_go_and_finished_files_stay(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path, dead: int
) -> None:
    whole = write_cache("a", clips, tuned(0))
    folder = leave_shards(tmp_path / "b.h5", whole, dead)
    (tmp_path / f".c.{dead}.partial.h5").write_bytes(b"half")
    (tmp_path / f".d.safetensors.{dead}.partial").write_bytes(b"half")
    write_export(plan_export(whole, tmp_path / "out", "npy"))
    (tmp_path / "out").rename(tmp_path / f".out.{dead}.partial")
    with pytest.MonkeyPatch.context() as patch, whole.open("rb") as stream, EmbeddingCache.open(whole) as cache:
        patch.setattr(store_file, "POOLED_VERSION", 9)
        header = store_file.read_header(stream, whole)
        store_file.write_file(tmp_path / "e.h5", header, [cache.layer(name) for name in cache.layer_names])
    planned = plan_prune(tmp_path)
    assert names(planned) == {
        "b.h5.shards": "unfinished extraction",
        f".c.{dead}.partial.h5": "partial file",
        f".d.safetensors.{dead}.partial": "partial file",
        f".out.{dead}.partial": "unfinished export",
        "e.h5": "cache of another schema version",
    }
    sizes = {each.path: each.size_bytes for each in planned}
    assert sizes[folder] == sum(file.stat().st_size for file in folder.iterdir())
    assert folder.exists(), "planning removes nothing"
    freed, left = remove(planned)
    assert (freed, left) == (sum(sizes.values()), [])
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    assert plan_prune(tmp_path) == []


def test_filters_select_finished_files(write_cache: Write, clips: pd.DataFrame, tmp_path: Path, dead: int) -> None:
    for step in (0, 50):
        write_cache(f"s{step}", clips, tuned(step))
    leave_shards(tmp_path / "b.h5", tmp_path / "s0.h5", dead)
    os.utime(tmp_path / "s50.h5", (1e9, 1e9))
    assert names(plan_prune(tmp_path, checkpoint="step-50")) == {"s50.h5": "finished cache"}
    assert names(plan_prune(tmp_path, model="tiny")) == dict.fromkeys(["s0.h5", "s50.h5"], "finished cache")
    assert plan_prune(tmp_path, model="tiny", checkpoint="step-7") == []
    assert plan_prune(tmp_path, model="other") == []
    old = names(plan_prune(tmp_path, older_than_days=1))
    assert "s50.h5" in old
    assert "s0.h5" not in old
    assert names(plan_prune(tmp_path, older_than_days=1, model="tiny")) == {"s50.h5": "finished cache"}
    assert plan_prune(tmp_path, older_than_days=1e9) == []


def test_what_may_still_be_written_stays(write_cache: Write, clips: pd.DataFrame, tmp_path: Path, dead: int) -> None:
    whole = write_cache("a", clips, tuned(0))
    leave_shards(tmp_path / "alive.h5", whole, os.getpid())
    quiet = leave_shards(tmp_path / "elsewhere-quiet.h5", whole, dead, node="00000000")
    busy = leave_shards(tmp_path / "elsewhere-busy.h5", whole, dead, node="00000000")
    os.utime(next(busy.glob("shard-*.h5")))
    note_clips(tmp_path / "just-begun.h5", clips)
    resumed = leave_shards(tmp_path / "resumed.h5", whole, dead)
    os.utime(next(resumed.glob("clips-*")))
    (tmp_path / f".p.{os.getpid()}.partial.h5").write_bytes(b"half")
    write_export(plan_export(whole, tmp_path / "out", "npy"))
    (tmp_path / "out").rename(tmp_path / f".out.{os.getpid()}.partial")
    assert names(plan_prune(tmp_path)) == {quiet.name: "unfinished extraction"}


def test_what_ser_probe_did_not_write_stays(write_cache: Write, clips: pd.DataFrame, tmp_path: Path, dead: int) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    whole = write_cache("a", clips, tuned(0))
    away = leave_shards(elsewhere / "b.h5", whole, dead)
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "b.h5.shards").symlink_to(away)
    (folder / "linked.h5").symlink_to(whole)
    mixed = leave_shards(folder / "mixed.h5", whole, dead)
    (mixed / "thesis.txt").write_text("all of it")
    inner = leave_shards(folder / "inner.h5", whole, dead)
    (inner / "shard-link.h5").symlink_to(whole)
    (folder / "theirs.h5").write_bytes(b"another program's")
    (folder / "notes.txt").write_text("x")
    (folder / ".theirs.1.partial").mkdir()
    (folder / "sub").mkdir()
    leave_shards(folder / "sub" / "c.h5", whole, dead)
    assert plan_prune(folder) == []
    assert plan_prune(folder, model="tiny") == []
    assert plan_prune(folder, older_than_days=0) == []


def test_what_changed_since_it_was_shown_stays(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path, dead: int
) -> None:
    whole = write_cache("a", clips, tuned(0))
    first, second, third = (leave_shards(tmp_path / f"{name}.h5", whole, dead) for name in "xyz")
    planned = plan_prune(tmp_path)
    assert len(planned) == 3
    (first / "thesis.txt").write_text("all of it")
    leave_shards(tmp_path / "elsewhere" / "y.h5", whole, dead).rename(tmp_path / "moved")
    for file in second.iterdir():
        file.unlink()
    second.rmdir()
    second.symlink_to(tmp_path / "moved")
    freed, left = remove(planned)
    assert left == [first, second]
    assert freed == planned[2].size_bytes
    assert (first / "thesis.txt").exists()
    assert list((tmp_path / "moved").iterdir())
    assert not third.exists()


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="There is no such folder"):
        plan_prune(tmp_path / "none")
