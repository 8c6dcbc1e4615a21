from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_probe import runtime
from ser_probe.errors import SerProbeError
from ser_probe.runtime import SILENT, derive_seed, package_versions, pick_device, run_record, seed_everything


def test_derived_seeds_are_stable_and_depend_on_every_part() -> None:
    # Pinned: another value would change the splits and probes of every study that was ever run.
    assert derive_seed("split", 0) == 50_412_771
    assert (
        len({derive_seed("split", 0), derive_seed("split", 1), derive_seed("probe", 0), derive_seed("spli", "t0")}) == 4
    )
    assert 0 <= derive_seed() < 2**31


def test_seeding_seeds_all_three_generators() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    seed_everything(7)
    first = draw()
    assert draw() != first
    seed_everything(7)
    assert draw() == first


def test_devices_by_name() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(SerProbeError, match="not known to torch"):
        pick_device("abacus")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_refused() -> None:
    with pytest.raises(SerProbeError, match="torch sees no CUDA device"):
        pick_device("cuda")


def test_a_record_holds_what_repeats_a_run(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    record = run_record("cpu")
    assert record["packages"]["torch"] == package_versions()["torch"] == torch.__version__.split("+")[0]
    assert record["device"] == "cpu"
    assert record["time_utc"].endswith("+00:00")
    monkeypatch.chdir(tmp_path)
    assert run_record()["git_commit"] is None
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"], check=True
    )
    commit = run_record()["git_commit"]
    assert commit is not None
    assert len(commit) == 40


FREE = """
import resource, sys
import numpy as np
from ser_probe.runtime import keep_freed_memory, return_freed_memory

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

if sys.argv[1] == "limited":
    resource.setrlimit(resource.RLIMIT_DATA, (16 << 30, 16 << 30))
keep_freed_memory()
before = resident_mib()
array = np.ones(100 << 17)
del array
freed = resident_mib()
return_freed_memory()
print(freed - before, resident_mib() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="how much memory is held is read as Linux tells it")
@pytest.mark.parametrize("memory", ["free", "limited"])
def test_freed_memory_is_kept_where_there_is_no_limit_and_returned_on_request(memory: str) -> None:
    done = subprocess.run([sys.executable, "-c", FREE, memory], capture_output=True, text=True, check=True)
    kept_mib, returned_mib = map(float, done.stdout.split())
    assert (kept_mib > 90) == (memory == "free")
    assert returned_mib < 10


def test_silence_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    SILENT.start("work", 3, "clips")
    SILENT.advance(1, loss=0.1)
    SILENT.say("hello")
    SILENT.finish()
    assert capsys.readouterr() == ("", "")


def test_memory_is_that_of_the_machine_or_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, none = tmp_path / "limit", tmp_path / "none"
    none.write_text("max\n")
    monkeypatch.setattr(runtime, "_CONTAINER_LIMITS", (none, tmp_path / "missing"))
    machine = runtime.memory_bytes()
    assert machine is not None
    assert machine > 1 << 28
    limit.write_text(f"{1 << 27}\n")
    monkeypatch.setattr(runtime, "_CONTAINER_LIMITS", (limit,))
    assert runtime.memory_bytes() == 1 << 27


def test_processors_are_those_that_the_process_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(runtime, "_CPU_QUOTA", quota)
    assert runtime.usable_cpus() == 6
    for text, expected in (
        ("250000 100000", 3),
        ("max 100000", 6),
        ("10000 100000", 1),
        ("9000000 100000", 6),
        ("", 6),
    ):
        quota.write_text(text)
        assert runtime.usable_cpus() == expected


def test_available_memory_is_what_machine_and_container_have_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, limit, used = tmp_path / "meminfo", tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(runtime, "_MEMORY_FACTS", facts)
    monkeypatch.setattr(runtime, "_CONTAINER_USE", ((limit, used, "inactive_file"),))
    assert runtime.available_memory_bytes() == runtime.memory_bytes(), "where nobody tells what is free"
    facts.write_text("MemTotal:  9000 kB\nMemFree:  1000 kB\nMemAvailable:  4000 kB\n")
    assert runtime.available_memory_bytes() == 4000 << 10
    limit.write_text("3000000\n")
    used.write_text("2500000\n")
    (tmp_path / "memory.stat").write_text("anon 1500000\ninactive_file 1000000\n")
    assert runtime.available_memory_bytes() == 1_500_000, "the cache of files can be given up"
    used.write_text("9000000\n")
    assert runtime.available_memory_bytes() == 0
    limit.write_text("max\n")
    assert runtime.available_memory_bytes() == 4000 << 10
