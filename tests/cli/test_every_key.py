"""No key does nothing: each that `--set` takes changes what the command hands to the rooms below, or is refused.

The command runs in earnest up to the door of the room that does the long work: there what it was given is noted, and
compared with what it is given without the key.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer

from ser_probe.cli.main import app
from ser_probe.config.commands import COMMANDS
from ser_probe.errors import SerProbeError
from ser_probe.steps import extract as extract_step
from ser_probe.steps import finetune as finetune_step

from ..keys import ALONGSIDE, CHANGED, TOGETHER, walk_keys
from ..voices import write_corpus

Outcome = Callable[..., str]

KEYS = [key for key in walk_keys() if not key.startswith("analyze.")]
OF_THE_MACHINE = {"extract.device": "no CUDA device", "finetune.device": "no CUDA device"}
"""What a key that asks for another machine ends with on this one."""
IMPOSSIBLE = {"backbone.revision": "is built here and has no revision"}
"""Keys that the small model cannot have; see tests/models/test_hub.py."""
WRONG_CLIPS = {"data.audio_root": "no clip can be used", "data.strict": "broken.wav"}
"""Keys that show in what is wrong with the clips."""


SER_PROBE = typer.main.get_command(app)  # once: it takes longer than most of what is tried here


class AtTheDoor(SerProbeError):
    """Raised where the long work would begin."""


def noted(value: Any) -> Any:
    """Return what a room was given as JSON-like values."""
    if isinstance(value, np.ndarray):
        return [value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    if isinstance(value, pd.DataFrame):
        return value.to_csv(index=False)
    if isinstance(value, dict):
        return {str(key): noted(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [noted(below) for below in value]
    if hasattr(value, "__dict__") and not callable(value):
        return noted(vars(value))
    return str(value)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with clips of 0.5 to 0.9 s, one of them broken, and a manifest with all that keys ask for."""
    folder = write_corpus(tmp_path_factory.mktemp("keys"), n_takes=2)
    table = pd.read_csv(folder / "manifest.csv")
    row = np.arange(len(table))
    table = table.assign(
        split=table["speaker"].map({"s4": "validation", "s5": "test"}).fillna("train"),
        style=np.array(["read", "free"])[row % 2],
        language=np.array(["it", "de"])[row // 2 % 2],
        arousal=row % 5 / 4,
        valence=row % 7 / 6,
        anger=row % 3 + 1,
        joy=row % 4 + 1,
    )
    (folder / "broken.wav").write_bytes(b"RIFF")
    table.loc[len(table)] = table.iloc[0].replace({table.iloc[0]["path"]: "broken.wav"})
    table.to_csv(folder / "manifest.csv", index=False)
    (folder / "elsewhere").mkdir()
    return folder


@pytest.fixture
def outcome(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Outcome:
    """Return what a command does with overrides: what it hands to the room below, or its message."""
    monkeypatch.chdir(corpus)
    seen: list[Any] = []

    def fine_tune(backbone: Any, task: Any, settings: Any, folder: Path, **options: Any) -> None:
        first = {name: getattr(task, name).load(0) for name in ("train", "validation")}
        if task.train.augment is not None:
            first["augmented"] = task.train.augment(first["train"], 1)
        model = (backbone.name, backbone.weights_hash(), str(backbone.device))
        seen.append([model, first, task, settings, options])
        raise AtTheDoor("training begins")

    def extract(targets: Any, clips: Any, settings: Any, **options: Any) -> None:
        given = [(target.backbone.weights_hash(), target.path.name, target.pooling) for target in targets]
        seen.append([given, [target.attributes["model"] for target in targets], clips.table, settings])
        raise AtTheDoor("extraction begins")

    # Nothing trains, so that a model that was loaded once can serve again.
    load_once = functools.cache(finetune_step.load_backbone)
    monkeypatch.setattr(finetune_step, "load_backbone", load_once)
    monkeypatch.setattr(extract_step, "load_backbone", load_once)
    monkeypatch.setattr(finetune_step, "fine_tune", fine_tune)
    monkeypatch.setattr(extract_step, "extract", extract)

    def run(command: str, *overrides: str) -> str:
        words = {
            "finetune": ["finetune", "manifest.csv", "-m", "tiny-wavlm-base", "-o", str(tmp_path / "out")],
            "extract": ["extract", "manifest.csv", "-m", "tiny-wavlm-base", "-o", str(tmp_path / "out")],
            "prepare": ["prepare", "emodb", "berlin", "-o", str(tmp_path / "out.csv")],
        }[command]
        seen.clear()
        with pytest.raises(SystemExit) as ended:
            SER_PROBE([*words, *(word for override in overrides for word in ("--set", override))])
        if seen:
            return json.dumps(noted(seen))
        said = capsys.readouterr()
        if command == "prepare" and ended.value.code == 0:
            return (tmp_path / "out.csv").read_text()
        return said.err

    return run


def test_every_key_has_another_value_here() -> None:
    assert set(CHANGED) == set(KEYS), "a new key needs a row in tests/keys.py"


@pytest.mark.parametrize("command", ["extract", "finetune"])
def test_every_key_acts_or_is_refused(command: str, outcome: Outcome) -> None:
    without: dict[tuple[str, ...], str] = {}
    for key in KEYS:
        together = TOGETHER.get(key, ()) if COMMANDS[command].takes(key) else ()
        if together not in without:
            without[together] = outcome(command, *together)
            assert "train" in without[together], without[together]
        found = outcome(command, *together, *ALONGSIDE.get(key, ()), f"{key}={CHANGED[key]}")
        if not COMMANDS[command].takes(key):
            assert f"  - --set {key}: " in found, f"{key}: {found}"
        elif found.startswith("error"):
            assert {**OF_THE_MACHINE, **IMPOSSIBLE, **WRONG_CLIPS}.get(key, "?") in found, f"{key}: {found}"
        else:
            assert found != without[together], f"`{command} --set {key}={CHANGED[key]}` does nothing"
