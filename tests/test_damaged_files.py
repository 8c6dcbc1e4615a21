"""Damaged and foreign files through the command line and the readers: a message or the right answer, never a traceback.

Manifests, checkpoints and the files of a study have such tests in their own rooms.
"""

from __future__ import annotations

import collections
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.cli.main import app
from ser_probe.config import StatsConfig, StudyConfig, check_options, load_study
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import ConfigError, SerProbeError
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.stats import run
from ser_probe.steps.results_file import read_results

from .mutation import mutate

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
N_CLIPS, WIDTH = 24, 6
ROW = np.arange(N_CLIPS)
CLIPS = pd.DataFrame({
    "clip_id": [f"{number:032x}" for number in ROW],
    "path": [f"{number}.wav" for number in ROW],
    "label": np.array(["anger", "joy", "sadness"])[ROW // 4 % 3],
    "speaker": [f"s{number}" for number in ROW % 4],
    "arousal": np.linspace(-1, 1, N_CLIPS),
})  # fmt: skip
# Other values of the right kind, which no reader can tell from what was written.
LEGITIMATE = re.compile(r"value: |record@|attribute /@(layer_names|aliases)")


def write_cache(path: Path, step: int) -> Path:
    """Write a finished embedding file of two layers."""
    values = np.random.default_rng(step).standard_normal((2, N_CLIPS, WIDTH)).astype(np.float32)
    key = CacheKey("embeddings", f"{step:064x}", {}, {}, {}, "mean", "fp32", 1)
    with ShardWriter(path, key, Layout(("0", "1"), WIDTH, {"final": "1"})) as writer:
        writer.add(Rows(CLIPS["clip_id"].tolist(), values, np.full(N_CLIPS, 50), np.ones(N_CLIPS)))
        writer.reject("f" * 32, "silent.wav", "only zeros")
    seal(path, key, CLIPS, {"model": "tiny", "checkpoint": f"step-{step}", "step": step, "pooling": "mean"})
    return path


COMMANDS: dict[str, Callable[[Path, Path, Path], tuple[object, ...]]] = {
    "info": lambda file, other, out: ("cache", "info", file, "--json"),
    "ls": lambda file, other, out: ("cache", "ls", file.parent),
    "verify": lambda file, other, out: ("cache", "verify", file),
    "export": lambda file, other, out: ("cache", "export", file, "-o", out / "npy"),
    "tables": lambda file, other, out: ("cache", "export", file, "-o", out / "csv", "--format", "csv"),
    "prune": lambda file, other, out: ("cache", "prune", file.parent, "--dry-run", "--model", "tiny"),
    "why": lambda file, other, out: ("cache", "why", file, other),
    "merge": lambda file, other, out: ("cache", "merge", file),
    "similarity": lambda file, other, out: ("analyze", "similarity", file, other, "-o", out / "t"),
    "drift": lambda file, other, out: ("analyze", "drift", other, "--reference", file, "-o", out / "t"),
}


def run_command(words: tuple[object, ...]) -> int:
    with pytest.raises(SystemExit) as ended:
        app([*map(str, words)], prog_name="ser-probe")
    return int(ended.value.code or 0)


def answer(out: Path) -> dict[str, bytes]:
    """Return the tables and arrays that a command wrote."""
    found = sorted(path for path in out.rglob("*") if path.suffix in (".csv", ".npy"))
    return {path.name: path.read_bytes() for path in found}


def try_commands(folder: Path, seeds: range, commands: list[str]) -> collections.Counter[str]:
    """Change a file once for each seed, and run a command on it."""
    whole = write_cache(folder / "whole.h5", 0)
    other, file, out = write_cache(folder / "other.h5", 50), folder / "work" / "a.h5", folder / "out"
    file.parent.mkdir()
    right: dict[str, dict[str, bytes]] = {}
    count: collections.Counter[str] = collections.Counter()
    for seed in [None, *seeds] if seeds else []:
        for name in commands if seed is None else [commands[seed % len(commands)]]:
            shutil.rmtree(out, ignore_errors=True)
            shutil.copy(whole, file)
            what = f"{name}, " + ("unchanged" if seed is None else mutate(file, seed))
            try:
                code = run_command(COMMANDS[name](file, other, out))
            except BaseException as error:
                raise AssertionError(what) from error
            assert code in ((0,) if seed is None else (0, 1)), what
            if seed is None:
                right[name] = answer(out)
                continue
            assert code or LEGITIMATE.search(what) or answer(out) == right[name], what
            count[f"exit {code}"] += 1
    return count


def test_no_command_on_a_changed_cache_ends_in_a_traceback(tmp_path: Path) -> None:
    # An analysis draws, which takes seconds: one in seven.
    count = try_commands(tmp_path, range(49), ["info", "ls", "verify", "export", "tables", "similarity", "why"])
    assert count["exit 1"] > 20


@pytest.mark.slow
def test_no_command_of_thousands(tmp_path: Path) -> None:
    assert try_commands(tmp_path, range(1000, 3000), sorted(COMMANDS))["exit 1"] > 500


def try_configs(folder: Path, seeds: range) -> None:
    files = sorted(CONFIGS.glob("*.yaml"))
    for seed in seeds:
        path = folder / "study.yaml"
        shutil.copy(files[seed % len(files)], path)
        what = mutate(path, seed)
        try:
            assert isinstance(load_study(path), StudyConfig)
        except ConfigError as error:
            assert error.where == path, what  # noqa: PT017 - either is right, by what was changed
        except Exception as error:
            raise AssertionError(what) from error


def test_no_config_ends_in_a_traceback(tmp_path: Path) -> None:
    try_configs(tmp_path, range(150))


@pytest.mark.slow
def test_no_config_of_thousands(tmp_path: Path) -> None:
    try_configs(tmp_path, range(1000, 4000))


def try_tables(folder: Path, seeds: range) -> collections.Counter[str]:
    """Read a changed table of results, and analyse every fifth of those that can be read."""
    table = pd.DataFrame({
        "speaker": CLIPS["speaker"], "label": CLIPS["label"], "model": np.array(["a", "b"])[ROW % 2],
        "value": np.random.default_rng(1).standard_normal(N_CLIPS),
    })  # fmt: skip
    config = check_options(StatsConfig, {"response": "value", "factors": ["model"]}, ["unit=null", "random=null"])
    count: collections.Counter[str] = collections.Counter()
    for seed in seeds:
        path = folder / ("results.csv" if seed % 2 else "results.parquet")
        table.to_csv(path, index=False) if seed % 2 else table.to_parquet(path, index=False)
        what = mutate(path, seed)
        try:
            read = read_results(path)
            assert all(isinstance(name, str) for name in read.columns), what
            count["read"] += 1
            if seed % 5 == 0:
                run(Inputs(folder / "out", table=path), config)
                count["analysed"] += 1
        except SerProbeError:
            count["refused"] += 1
        except Exception as error:
            raise AssertionError(what) from error
    return count


def test_no_table_of_results_ends_in_a_traceback(tmp_path: Path) -> None:
    pytest.importorskip("statsmodels")
    count = try_tables(tmp_path, range(150))
    assert count["refused"] > 20
    assert count["read"] > 20


@pytest.mark.slow
def test_no_table_of_thousands(tmp_path: Path) -> None:
    pytest.importorskip("statsmodels")
    count = try_tables(tmp_path, range(1000, 3000))
    assert min(count["refused"], count["read"]) > 200
