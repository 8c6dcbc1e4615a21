"""Several processes: the losses of one with the same global batches, and one result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from ser_probe.errors import ConfigError
from ser_probe.training.processes import gather, is_first, n_processes, rank
from tests.training.conftest import make_settings

SAME_BATCHES = 1e-4
"""Relative, float32: sums over the clips of a batch in two parts, through nine steps of AdamW."""

SCRIPT = """
import sys
from pathlib import Path
from ser_probe.models.heads import HeadSettings
from ser_probe.models.loading import load_backbone
from ser_probe.training.fine_tuning import TrainingTask, fine_tune
from tests.training.conftest import TARGETS, make_clips, make_settings

folder = Path(sys.argv[1])
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
result = fine_tune(
    backbone, TrainingTask(make_clips(13, seed=1), make_clips(7, seed=2), TARGETS, HeadSettings()), settings,
    folder / "run", cache_folder=folder / "cache", recipe={},
)
print("done", result.best_step, len(result.table))
"""


def start(folder: Path, n: int) -> subprocess.CompletedProcess[str]:
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "train.py"
    script.write_text(SCRIPT)
    launcher = [] if n == 1 else ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n)]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    words = [sys.executable, *launcher, str(script), str(folder)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, cwd=folder, timeout=300)


def read_table(folder: Path) -> pd.DataFrame:
    import json

    from ser_probe.training.history import training_table

    states = sorted((folder / "run" / "checkpoints").glob("checkpoint-*/trainer_state.json"))
    newest = max(states, key=lambda path: int(path.parent.name.rpartition("-")[2]))
    return training_table(json.loads(newest.read_text())["log_history"], 0)


def test_two_processes_give_the_losses_of_one_and_one_result(tmp_path: Path) -> None:
    one, two = start(tmp_path / "one", 1), start(tmp_path / "two", 2)
    assert one.returncode == 0, one.stderr[-2000:]
    assert two.returncode == 0, two.stderr[-4000:]
    assert two.stdout.count("done") == 2
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
