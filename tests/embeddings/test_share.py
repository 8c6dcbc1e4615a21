"""Shares of the work: what a launcher says, and files that are the same however many workers made them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_probe.embeddings.extract import CacheRequest, extract
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.passes import ClipList, Extraction
from ser_probe.embeddings.share import Share, detect_share, local_rank, parse_share
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import ConfigError
from tests.embeddings.speech import DURATIONS_S, SETTINGS, datasets, list_clips, tiny
from tests.forked import Forked

SLURM = {f"SLURM_ARRAY_TASK_{name}": text for name, text in [("ID", "7"), ("MIN", "3"), ("STEP", "2"), ("COUNT", "4")]}
TORCHRUN = {"RANK": "2", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}

# ---------------------------------------------------------------------------------------------------- which share


def test_shares_divide_the_plan() -> None:
    plan = list(range(11))
    shares = [Share(index, 3).of(plan) for index in (1, 2, 3)]
    assert sorted(batch for share in shares for batch in share) == plan
    assert shares[0] == [0, 3, 6, 9]
    assert Share().of(plan) == plan
    assert Share(5, 5).of(plan[:3]) == []


@pytest.mark.parametrize(("index", "count"), [(0, 3), (4, 3), (1, 0), (-1, 2)])
def test_a_worker_that_does_not_exist(index: int, count: int) -> None:
    with pytest.raises(ConfigError, match=rf"I/N with I from 1 to N(.|\n)*found: {index}/{count}"):
        Share(index, count)


@pytest.mark.parametrize("text", ["", "1", "1/", "/2", "a/b", "1/2/3", "1.5/2", "-1/2", " 1/2", "1/2000000", "1/2\n"])
def test_a_share_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not understood(.|\n)*I/N, such as 2/8"):
        parse_share(text)


def test_the_share_as_text() -> None:
    assert parse_share("2/8") == Share(2, 8)
    assert str(Share(2, 8)) == "2/8"


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        (None, {}, Share()),
        ("3/4", {}, Share(3, 4)),
        ("3/4", {**TORCHRUN, **SLURM}, Share(3, 4)),
        (None, TORCHRUN, Share(3, 8)),
        ("auto", TORCHRUN, Share(3, 8)),
        ("auto", {**TORCHRUN, **SLURM}, Share(3, 8)),
        (None, SLURM, Share()),  # the tasks of an array may be works of their own
        ("auto", SLURM, Share(3, 4)),
        ("auto", {**SLURM, "SLURM_ARRAY_TASK_ID": "3"}, Share(1, 4)),
        ("auto", {**SLURM, "SLURM_ARRAY_TASK_STEP": "0", "SLURM_ARRAY_TASK_ID": "3"}, Share(1, 4)),
        (None, {"RANK": "1"}, Share()),
        (None, {"WORLD_SIZE": "1"}, Share()),
    ],
)
def test_what_launchers_say(text: str | None, environment: dict[str, str], expected: Share) -> None:
    assert detect_share(text, environment) == expected


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("auto", {}, r"No launcher tells this process its share(.|\n)*torchrun(.|\n)*SLURM(.|\n)*--shard I/N"),
        ("auto", {"RANK": "1"}, "No launcher"),
        ("auto", {name: text for name, text in SLURM.items() if "STEP" not in name}, "No launcher"),
        ("auto", {**SLURM, "SLURM_ARRAY_TASK_ID": "11"}, r"I from 1 to N(.|\n)*found: 5/4"),
        ("auto", {**SLURM, "SLURM_ARRAY_TASK_ID": "x"}, r"no number(.|\n)*SLURM_ARRAY_TASK_ID(.|\n)*found: x"),
        (None, {"RANK": "-1", "WORLD_SIZE": "2"}, r"no number(.|\n)*where: RANK"),
        (None, {"RANK": "2", "WORLD_SIZE": "2"}, r"I from 1 to N(.|\n)*found: 3/2"),
        (None, {"RANK": "0", "WORLD_SIZE": "two"}, r"no number(.|\n)*where: WORLD_SIZE"),
        ("all", TORCHRUN, "is not understood"),
    ],
)
def test_launchers_that_contradict_themselves(text: str | None, environment: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        detect_share(text, environment)


def test_the_local_rank() -> None:
    assert (local_rank({}), local_rank(TORCHRUN)) == (None, 1)
    with pytest.raises(ConfigError, match="LOCAL_RANK"):
        local_rank({"LOCAL_RANK": "gpu"})


# ---------------------------------------------------------------------------------------------- one file from all


@pytest.fixture
def paths(write_clip: Callable[..., Path]) -> list[Path]:
    return [write_clip(f"f1/{row}.wav", duration_s, 100 + 9 * row) for row, duration_s in enumerate(DURATIONS_S)]


@pytest.fixture
def clips(paths: list[Path], tmp_path: Path) -> ClipList:
    return list_clips(paths, tmp_path)


def run(path: Path, clips: ClipList, share: Share | None = None, **options: object) -> Extraction:
    settings = replace(SETTINGS, share=share or Share(), **options)
    return extract([CacheRequest(tiny(), path)], clips, settings)[0]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
@pytest.mark.parametrize("pooling", ["mean", "frames"])
def test_workers_one_after_another_make_the_same_file(
    clips: ClipList, tmp_path: Path, order: tuple[int, ...], pooling: str
) -> None:
    whole, path = tmp_path / "whole.h5", tmp_path / "x.h5"
    extract([CacheRequest(tiny(), whole, pooling)], clips, SETTINGS)
    results = [
        extract([CacheRequest(tiny(), path, pooling)], clips, replace(SETTINGS, share=Share(index, 3), verify=2))[0]
        for index in order
    ]
    assert sum(result.n_computed for result in results) == 9
    assert [result.n_missing > 0 for result in results] == [True, True, False]
    assert [result.verify_error is not None for result in results] == [False, False, True]
    assert results[0].n_missing == 9 - results[0].n_computed
    assert datasets(path) == datasets(whole)
    assert sorted(file.name for file in tmp_path.glob("*x.h5*")) == ["x.h5"]


def test_a_missing_partner_leaves_the_shards_and_comes_later(clips: ClipList, tmp_path: Path) -> None:
    first = run(tmp_path / "x.h5", clips, Share(1, 2))
    again = run(tmp_path / "x.h5", clips, Share(1, 2))
    assert (again.n_computed, again.n_missing) == (0, first.n_missing)
    assert first.n_missing > 0
    assert not (tmp_path / "x.h5").exists()
    assert shards_folder(tmp_path / "x.h5").is_dir()
    # The partner never comes, and one process does the rest.
    rest = run(tmp_path / "x.h5", clips)
    assert (rest.n_computed, rest.n_missing) == (first.n_missing, 0)
    run(tmp_path / "whole.h5", clips)
    assert datasets(tmp_path / "x.h5") == datasets(tmp_path / "whole.h5")


def test_more_workers_than_batches(clips: ClipList, tmp_path: Path) -> None:
    results = [run(tmp_path / "x.h5", clips, Share(index, 10)) for index in range(1, 11)]
    assert [result.n_missing for result in results][-1] == 0
    assert sum(result.n_computed for result in results) == 9


def test_a_worker_with_unreadable_and_silent_clips(paths: list[Path], tmp_path: Path) -> None:
    """The unreadable one is left to another run, the silent one is a reject of the file; each worker tells its own."""
    soundfile.write(paths[1], np.zeros(8000), 16_000)
    clips = list_clips(paths, tmp_path)
    kept = paths[2].read_bytes()
    paths[2].unlink()
    results = [run(tmp_path / "x.h5", clips, Share(index, 3)) for index in (1, 2, 3)]
    told = {path for result in results for path in result.rejects["path"]}
    assert told == {"f1/1.wav", "f1/2.wav"}
    with EmbeddingCache.open(tmp_path / "x.h5") as cache:
        assert len(cache) == 7
        assert cache.rejects["path"].tolist() == ["f1/1.wav"]
    paths[2].write_bytes(kept)
    mended = [run(tmp_path / "x.h5", clips, Share(index, 2)) for index in (1, 2)]
    assert sorted(result.n_computed for result in mended) == [0, 1]
    with EmbeddingCache.open(tmp_path / "x.h5") as cache:
        assert len(cache) == 8


def test_workers_side_by_side_make_the_same_file(clips: ClipList, tmp_path: Path) -> None:
    run(tmp_path / "whole.h5", clips)

    def work() -> None:
        print("ready", flush=True)
        while not (tmp_path / "go").exists():
            time.sleep(0.001)
        settings = replace(SETTINGS, workers=1, share=detect_share(None))
        (result,) = extract([CacheRequest(tiny(), tmp_path / "x.h5")], clips, settings)
        print(result.n_computed, result.n_missing)

    processes = [Forked(work, tmp_path, environment={"RANK": str(rank), "WORLD_SIZE": "3"}) for rank in (0, 2)]
    for process in processes:
        process.wait_for_output("ready")
    (tmp_path / "go").touch()
    here = run(tmp_path / "x.h5", clips, Share(2, 3))
    found = [(here.n_computed, here.n_missing)]
    for process in processes:
        assert process.wait() == 0, process.errors
        found.append(tuple(map(int, process.out.split()[1:])))
    assert sum(n_computed for n_computed, _ in found) == 9
    assert min(n_missing for _, n_missing in found) == 0, "the last one finishes the file"
    assert datasets(tmp_path / "x.h5") == datasets(tmp_path / "whole.h5")
    assert not shards_folder(tmp_path / "x.h5").exists()
