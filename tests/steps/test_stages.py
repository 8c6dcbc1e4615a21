"""Stages: what is fresh is left alone, what is stale says which input changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ser_probe.errors import DamagedFileError
from ser_probe.files import content_id
from ser_probe.steps import stages as module
from ser_probe.steps.stages import Stages, file_state, file_states

from .conftest import Said

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
    assert run()[0] == f"stage: its stamp {stamp} is damaged; runs again"


def test_a_stamp_that_lost_an_output_is_damaged(run: Callable[..., Any], tmp_path: Path) -> None:
    run()
    stamp = tmp_path / ".stages" / "stage.json"
    known = json.loads(stamp.read_text())
    assert module.written_contents(tmp_path) == {"out.txt": content_id(tmp_path / "out.txt")}
    stamp.write_text(json.dumps({**known, "outputs": {}}))
    with pytest.raises(DamagedFileError, match=r"(?s)stage\.json was changed.*expected: \w{64}"):
        module._read_stamp(stamp)
    assert module.written_contents(tmp_path) == {}
    assert run()[0] == f"stage: its stamp {stamp} is damaged; runs again"
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
