"""Stages: what is fresh is left alone, what is stale says which input changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ser_probe.errors import DamagedFileError
from ser_probe.files import content_id, fingerprint
from ser_probe.steps.study import stages as module
from ser_probe.steps.study.stages import Stages, file_state, file_states

from ..conftest import Said

INPUTS = {"finetune": {"epochs": 3, "early_stopping": {"patience": 5}}, "clips": "a" * 64}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[str, list[Path]]]:
    """Run one stage that writes `out.txt`; return what was said and its outputs."""

    def one(inputs: dict[str, Any] | None = None, force: tuple[str, ...] = ()) -> tuple[str, list[Path]]:
        said = Said()

        def work() -> list[Path]:
            (tmp_path / "out.txt").write_text("done")
            return [tmp_path / "out.txt"]

        outputs = Stages(tmp_path, said, force=force).run("stage", INPUTS if inputs is None else inputs, work)
        assert outputs == [tmp_path / "out.txt"]
        return said.lines[0], outputs

    return one


def test_fresh_is_left_alone(run: Callable[..., Any], tmp_path: Path) -> None:
    assert run()[0] == "stage: not done yet"
    before = file_state(tmp_path / "out.txt")
    assert run()[0] == "stage: fresh, nothing to do"
    assert file_state(tmp_path / "out.txt") == before


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({**INPUTS, "finetune": {"epochs": 4, "early_stopping": {"patience": 5}}}, "finetune.epochs (3 -> 4)"),
        (
            {**INPUTS, "finetune": {"epochs": 3, "early_stopping": None}},
            "finetune.early_stopping.patience (5 -> null)",
        ),
        ({**INPUTS, "clips": "b" * 64}, "clips"),
        ({**INPUTS, "seed": 1}, "seed (null -> 1)"),
        (
            {**INPUTS, **{str(key): key for key in range(7)}},
            "0 (null -> 0), 1 (null -> 1), 2 (null -> 2), 3 (null -> 3), 4 (null -> 4) and 2 more",
        ),
    ],
)
def test_changed_inputs_are_named(run: Callable[..., Any], inputs: dict[str, Any], reason: str) -> None:
    run()
    assert run(inputs)[0] == f"stage: stale, because changed: {reason}"
    assert run(inputs)[0] == "stage: fresh, nothing to do"


def test_another_version_is_another_stage(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr(module, "__version__", "99.0")
    assert run()[0].startswith("stage: stale, because changed: version of ser-probe (")


def test_outputs_that_are_gone_or_changed(run: Callable[..., Any], tmp_path: Path) -> None:
    run()
    (tmp_path / "out.txt").unlink()
    assert run()[0] == "stage: stale, because out.txt is gone or was changed"
    (tmp_path / "out.txt").write_text("edited by hand")
    assert run()[0] == "stage: stale, because out.txt is gone or was changed"
    assert (tmp_path / "out.txt").read_text() == "done"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"inputs": 3, "outputs": {}}', '{"inputs": {}, "outputs"'])
def test_a_damaged_stamp(run: Callable[..., Any], tmp_path: Path, content: str) -> None:
    run()
    stamp = tmp_path / ".stages" / "stage.json"
    stamp.write_text(content)
    assert run()[0] == f"stage: its stamp {stamp} is damaged or of an earlier version; runs again"


def test_a_stamp_that_lost_an_output_is_damaged(run: Callable[..., Any], tmp_path: Path) -> None:
    run()
    stamp = tmp_path / ".stages" / "stage.json"
    known = json.loads(stamp.read_text())
    assert module.written_contents(tmp_path) == {"out.txt": content_id(tmp_path / "out.txt")}
    stamp.write_text(json.dumps({**known, "outputs": {}}))
    with pytest.raises(DamagedFileError, match=r"(?s)stage\.json was changed.*expected: \w{64}"):
        module._read_stamp(stamp)
    assert module.written_contents(tmp_path) == {}
    assert run()[0] == f"stage: its stamp {stamp} is damaged or of an earlier version; runs again"
    assert run()[0] == "stage: fresh, nothing to do"


@pytest.mark.parametrize("force", [("stage",), ("all",)])
def test_force(run: Callable[..., Any], force: tuple[str, ...]) -> None:
    run()
    assert run(force=force)[0] == "stage: runs again, as asked"
    assert run(force=("another",))[0] == "stage: fresh, nothing to do"


def test_work_that_fails_leaves_no_stamp(tmp_path: Path) -> None:
    stages = Stages(tmp_path, Said())
    stages.run("stage", INPUTS, list)
    assert stages.has_run("stage")

    def fail() -> list[Path]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path, Said(), force=["stage"]).run("stage", INPUTS, fail)
    assert not stages.has_run("stage")


def test_file_states(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert file_state(path) is None
    absent = file_states([path])
    path.write_text("x")
    assert file_states([path]) not in (absent, file_states([]))


def one_stage(folder: Path, cache: Path, outputs: dict[Path, str], *, small: bool = True) -> str:
    """Run a stage that writes some files, if it is stale; return what was said."""
    said = Said()

    def work() -> list[Path]:
        for path, text in outputs.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return list(outputs)

    with pytest.MonkeyPatch.context() as patch:
        if not small:
            patch.setattr(module, "_LARGEST_HASHED_BYTES", 0)
        assert Stages(folder, said, cache=cache).run("stage", INPUTS, work) == list(outputs)
    return said.lines[0]


@pytest.mark.parametrize("keep_times", [True, False])
def test_a_copied_study_is_that_of_its_own_folder(tmp_path: Path, keep_times: bool) -> None:
    """As `cp -a` and `cp -r` copy."""
    first, other, cache = tmp_path / "first", tmp_path / "other", tmp_path / "cache"

    def run(folder: Path) -> str:
        return one_stage(folder, cache, {folder / "tables" / "a.csv": "1", cache / "x.h5": "2"})

    assert run(first) == "stage: not done yet"
    shutil.copytree(first, other, copy_function=shutil.copy2 if keep_times else shutil.copyfile)
    if not keep_times:
        os.utime(other / "tables" / "a.csv", (1e9, 1e9))
    assert run(other) == "stage: fresh, nothing to do"
    (first / "tables" / "a.csv").write_text("changed in the first")
    assert run(other) == "stage: fresh, nothing to do"
    (other / "tables" / "a.csv").unlink()
    assert run(other) == "stage: stale, because a.csv is gone or was changed"
    assert (other / "tables" / "a.csv").read_text() == "1"
    assert (first / "tables" / "a.csv").read_text() == "changed in the first"
    first.rename(tmp_path / "moved")
    assert run(tmp_path / "moved") == "stage: stale, because a.csv is gone or was changed"
    assert run(tmp_path / "moved") == "stage: fresh, nothing to do"
    assert not first.exists()


def test_what_is_too_large_to_hash_is_known_by_its_time(tmp_path: Path) -> None:
    path = tmp_path / "study" / "weights"
    one_stage(tmp_path / "study", tmp_path / "cache", {path: "1"}, small=False)
    os.utime(path, (1e9, 1e9))
    said = one_stage(tmp_path / "study", tmp_path / "cache", {path: "1"}, small=False)
    assert said == "stage: stale, because weights is gone or was changed"


def test_files_of_another_cache_are_not_the_studys(tmp_path: Path) -> None:
    files = {tmp_path / "cache" / "x.h5": "1"}
    one_stage(tmp_path / "study", tmp_path / "cache", files)
    other = {tmp_path / "elsewhere" / "x.h5": "1"}
    said = one_stage(tmp_path / "study", tmp_path / "elsewhere", other)
    assert (
        said
        == f"stage: stale, because {tmp_path}/cache/x.h5 lies in another folder than the study's {tmp_path}/elsewhere"
    )


def test_a_stamp_of_an_earlier_version_is_not_believed(run: Callable[..., Any], tmp_path: Path) -> None:
    """It names files by the folder that they were in."""
    run()
    stamp = tmp_path / ".stages" / "stage.json"
    known = {name: value for name, value in json.loads(stamp.read_text()).items() if name not in ("paths", "checksum")}
    known["outputs"] = {str(tmp_path / "out.txt"): file_state(tmp_path / "out.txt")}
    stamp.write_text(json.dumps({**known, "checksum": fingerprint(known)}))
    assert run()[0] == f"stage: its stamp {stamp} is damaged or of an earlier version; runs again"


def test_a_key_that_is_called_otherwise_now_has_not_changed(run: Callable[..., Any]) -> None:
    run({"analyze.probe": {"seeds": 3, "splits": "study"}, "analyze.splits": ["test"]})
    now = {"analyze.probe": {"initialisations": 3, "division": "study"}, "analyze.splits": ["test"]}
    assert run(now)[0] == "stage: fresh, nothing to do"
    other = {**now, "analyze.probe": {"initialisations": 4, "division": "study"}}
    assert run(other)[0] == "stage: stale, because changed: analyze.probe.initialisations (3 -> 4)"
