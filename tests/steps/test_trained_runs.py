"""What a folder of fine-tuning holds: a checkpoint, a run, or runs of several seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ser_probe.audio.load import AudioSpec
from ser_probe.errors import CheckpointError
from ser_probe.steps.trained_runs import TrainedRun, find_runs, read_audio, training_clips, untrained_remarks


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def make_run(folder: Path, *, steps: tuple[int, ...] = (0, 50, 100), best: int | None = 50) -> Path:
    for step in steps:
        write_json(folder / "checkpoints" / f"checkpoint-{step}" / "head.json", {})
    write_json(folder / "training.json", {"ingredients": {"seed": 7}})
    if best is not None:
        write_json(folder / "best.json", {"step": best, "metric": "uar", "value": 0.5})
    return folder


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_is_its_best_checkpoint() -> None:
    run = make_run(Path("runs/x"))
    assert find_runs(run) == ([TrainedRun(run / "checkpoints/checkpoint-50", "x", 7, 50, run, run)], [])
    assert find_runs(run)[0][0].name == "step-50"


def test_a_checkpoint_is_itself() -> None:
    run = make_run(Path("runs/x"), best=None)
    (found,), _ = find_runs(run / "checkpoints/checkpoint-100")
    assert (found.model, found.run_seed, found.step, found.run) == ("x", 7, 100, run)


def test_a_checkpoint_that_lies_by_itself() -> None:
    write_json(Path("emotion-model/head.json"), {})
    (found,), _ = find_runs(Path("emotion-model"))
    assert (found.model, found.name, found.run_seed, found.step, found.run) == (
        "emotion-model", "emotion-model", None, None, None,
    )  # fmt: skip
    write_json(Path("emotion-model/checkpoint.json"), {"step": 30})
    assert find_runs(Path("emotion-model"))[0][0].name == "step-30"
    write_json(Path("elsewhere/checkpoint-20/head.json"), {})
    (found,), _ = find_runs(Path("elsewhere/checkpoint-20"))
    assert (found.name, found.run_seed) == ("step-20", None)


def test_seeds_are_runs_of_one_model_in_the_order_of_their_numbers() -> None:
    for seed, best in ((10, 100), (2, 50), (3, None)):
        make_run(Path(f"runs/many/seed-{seed}"), best=best)
    runs, notes = find_runs(Path("runs/many"))
    found = [(run.model, run.run_seed, run.step) for run in runs]
    assert found == [("many", 2, 50), ("many", 10, 100)]
    assert {run.model_path for run in runs} == {Path("runs/many")}
    assert notes == ["left out, because their training is not finished: seed-3"]
    assert find_runs(Path("runs/many/seed-2"))[0] == runs[:1], "the same name, however it is asked for"
    assert find_runs(Path("runs/many/seed-2/checkpoints/checkpoint-50"))[0] == runs[:1]


@pytest.mark.parametrize(
    ("best", "message"),
    [
        ({"step": 100, "metric": "uar", "value": 0.5}, "expected: uar 0.5 in .*\\n *found: 0.7"),
        ({"step": 50, "metric": "loss", "value": 0.5}, "found: no such measure"),
    ],
)
def test_a_best_step_that_the_history_does_not_confirm(best: dict[str, Any], message: str) -> None:
    run = make_run(Path("runs/x"))
    for step, value in ((50, 0.5), (100, 0.7)):
        history = [{"step": step, "eval_uar": value}]
        write_json(run / f"checkpoints/checkpoint-{step}/trainer_state.json", {"log_history": history})
    assert find_runs(run)[0][0].step == 50
    write_json(run / "best.json", best)
    with pytest.raises(CheckpointError, match=rf"not the one that its history says(.|\n)*{message}"):
        find_runs(run)


@pytest.mark.parametrize("text", ["", "[" * 9999, '{"step": "5"}', '{"step": NaN}', '{"step": 1.5}', "{}"])
def test_a_damaged_best_json_is_named(text: str) -> None:
    run = make_run(Path("runs/x"))
    (run / "best.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"does not say which checkpoint is its best(.|\n)*runs/x/best.json"):
        find_runs(run)


def test_nothing_to_evaluate() -> None:
    with pytest.raises(CheckpointError, match=r"There is no such folder(.|\n)*did you mean"):
        find_runs(make_run(Path("runs/x")).with_name("xx"))
    with pytest.raises(CheckpointError, match="There is no such folder"):
        find_runs(Path("nowhere/at/all"))
    Path("empty").mkdir()
    with pytest.raises(CheckpointError, match=r"There is nothing to evaluate(.|\n)*found: an empty folder"):
        find_runs(Path("empty"))
    make_run(Path("runs/many/seed-3"), best=None)
    with pytest.raises(CheckpointError, match=r"There is nothing to evaluate(.|\n)*1 runs, none of them finished"):
        find_runs(Path("runs/many"))
    with pytest.raises(CheckpointError, match=r"There is nothing to evaluate(.|\n)*found: checkpoints, training.json"):
        find_runs(make_run(Path("runs/y"), best=None))


@pytest.mark.parametrize("text", ["{}", "[", '{"step": "best"}'])
def test_a_broken_best(text: str) -> None:
    run = make_run(Path("runs/x"))
    (run / "best.json").write_text(text)
    with pytest.raises(CheckpointError, match="The run does not say which checkpoint is its best"):
        find_runs(run)


def test_audio_as_in_training() -> None:
    assert read_audio(Path("x")) is None
    write_json(Path("x/audio.json"), {"audio": {"loudness_lufs": -20.0, "max_duration_s": 9.0}})
    assert read_audio(Path("x")) == AudioSpec(loudness_lufs=-20.0, max_duration_s=9.0)
    for broken in ({}, {"audio": {"loudness": -20}}, {"audio": 3}):
        write_json(Path("x/audio.json"), broken)
        with pytest.raises(CheckpointError, match="The checkpoint does not say how its clips were decoded"):
            read_audio(Path("x"))


def test_clips_of_the_training() -> None:
    runs = []
    for seed in (1, 2):
        run = make_run(Path(f"runs/many/seed-{seed}"))
        (run / "manifest.csv").write_text("path,clip_id,split\na,1,train\nb,2,validation\nc,3,test\n")
        runs += find_runs(run)[0]
    assert sorted(training_clips(runs).itertuples(index=False, name=None)) == [("1", "train"), ("2", "validation")]
    (Path("runs/many/seed-1/manifest.csv")).write_text("path,label\na,joy\n")
    assert len(training_clips(runs[:1])) == 0
    write_json(Path("alone/head.json"), {})
    assert len(training_clips(find_runs(Path("alone"))[0])) == 0


def test_an_untrained_head_is_told_from_a_trained_one() -> None:
    runs, _ = find_runs(make_run(Path("runs/x")))
    assert untrained_remarks(runs) == []
    runs, _ = find_runs(make_run(Path("runs/y"), best=0))
    (best,) = untrained_remarks(runs)
    assert best.startswith("the best step of runs/y is 0: no evaluation after it was better by the metric")
    assert "its head is untrained, and its predictions are those of chance" in best
    runs, _ = find_runs(Path("runs/y/checkpoints/checkpoint-0"))
    (named,) = untrained_remarks(runs)
    assert named.startswith("runs/y/checkpoints/checkpoint-0 is from before training: its head is untrained")
