"""Several processes: the losses of one with the same global batches, and one result."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState

from ser_probe.errors import ConfigError
from ser_probe.models.heads import HeadSettings
from ser_probe.models.loading import load_backbone
from ser_probe.training.fine_tuning import TrainingTask, fine_tune
from ser_probe.training.processes import gather, is_first, n_processes, rank
from tests.forked import Forked
from tests.training.conftest import TARGETS, make_clips, make_settings

SAME_BATCHES = 1e-4
"""Relative, float32: sums over the clips of a batch in two parts, through nine steps of AdamW."""

SCRIPT = """
import sys
from pathlib import Path
from tests.training.test_processes import train

train(Path(sys.argv[1]))
"""


def train(folder: Path) -> None:
    """Train without anything random, as one of as many processes as the environment says."""
    backbone = load_backbone("tiny-wavlm-base")
    for name in ("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "layerdrop"):
        setattr(backbone.config, name, 0.0)
    for module in backbone.model.modules():
        if type(module).__name__ == "Dropout":
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    backbone.model.encoder.layerdrop = 0.0
    settings = make_settings(gradient_accumulation=2, max_steps=9, class_weights=True, head_l2=0.01)
    task = TrainingTask(make_clips(13, seed=1), make_clips(7, seed=2), TARGETS, HeadSettings())
    result = fine_tune(backbone, task, settings, folder / "run", cache_folder=folder / "cache", recipe={})
    print("done", result.best_step, len(result.table))


def start_forked(folder: Path, n: int) -> list[str]:
    """Train in several processes with the variables that torchrun sets; return what each printed."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}

    def work() -> None:
        # What an earlier training in the tests' own process left says that it is alone.
        AcceleratorState._reset_state(reset_partial_state=True)
        train(folder)
        if n > 1:
            torch.distributed.destroy_process_group()

    ranks = [{**together, "RANK": str(each), "LOCAL_RANK": str(each)} if n > 1 else {} for each in range(n)]
    processes = [Forked(work, folder, environment=environment) for environment in ranks]
    assert [process.wait(timeout_s=300) for process in processes] == [0] * n, [each.errors for each in processes]
    return [process.out for process in processes]


def start_by_torchrun(folder: Path, n: int) -> list[str]:
    """Train in several processes that torchrun starts; return what they printed."""
    folder.mkdir()
    script = folder / "train.py"
    script.write_text(SCRIPT)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n)]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    words = [sys.executable, *launcher, str(script), str(folder)]
    ended = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=folder, timeout=300)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return [ended.stdout]


def read_table(folder: Path) -> pd.DataFrame:
    import json

    from ser_probe.training.history import training_table

    states = sorted((folder / "run" / "checkpoints").glob("checkpoint-*/trainer_state.json"))
    newest = max(states, key=lambda path: int(path.parent.name.rpartition("-")[2]))
    return training_table(json.loads(newest.read_text())["log_history"], 0)


@pytest.mark.parametrize("start", [start_forked, pytest.param(start_by_torchrun, marks=pytest.mark.slow)])
def test_two_processes_give_the_losses_of_one_and_one_result(
    tmp_path: Path, start: Callable[[Path, int], list[str]]
) -> None:
    start_forked(tmp_path / "one", 1)
    assert "".join(start(tmp_path / "two", 2)).count("done") == 2
    ours, theirs = read_table(tmp_path / "one"), read_table(tmp_path / "two")
    assert ours.drop(columns="value").equals(theirs.drop(columns="value"))
    losses = (ours["measure"] == "loss").to_numpy()
    difference = (ours["value"] - theirs["value"]).abs()[losses] / ours["value"][losses]
    assert difference.max() < SAME_BATCHES
    assert losses.sum() == 9 + 6
    assert ours["value"][losses].iloc[-1] < ours["value"][losses].iloc[0], "something was learnt"
    names = [sorted(p.relative_to(tmp_path / run).as_posix() for p in (tmp_path / run / "run").rglob("*.json"))
             for run in ("one", "two")]  # fmt: skip
    assert names[0] == names[1]


def test_alone_nothing_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (n_processes(), rank(), is_first(), gather("x")) == (1, 0, True, ["x"])


@pytest.mark.parametrize(
    ("settings", "n", "message"),
    [
        ({"batch_size": 5}, 2, "cannot be shared evenly"),
        ({"precision": "fp16"}, 1, "CPU does not train in fp16"),
        ({"precision": "tf32"}, 1, "CPU does not train in tf32"),
    ],
)
def test_what_processes_and_devices_cannot_do_is_refused(
    settings: dict[str, object], n: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ser_probe.models.loading import load_backbone
    from ser_probe.training.fine_tuning import _refuse_processes

    monkeypatch.setenv("WORLD_SIZE", str(n))
    assert torch.distributed.is_available()
    with pytest.raises(ConfigError, match=message):
        _refuse_processes(load_backbone("tiny-hubert-base"), make_settings(**settings))
