"""ser-probe classify and export-onnx: a table for people, JSON for scripts, a file, and a message for each fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from ser_probe.cli.main import app
from ser_probe.models.checkpoint import save_classifier
from ser_probe.models.heads import HeadSettings, SerClassifier
from ser_probe.models.loading import load_backbone
from ser_probe.models.targets import Targets

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run") / "checkpoint-4"
    targets = Targets("classes", ("joy", "sad\x1b[31mness"))
    backbone = load_backbone("tiny-hubert-base")
    backbone.config.num_hidden_layers = 1
    backbone.model.encoder.layers = backbone.model.encoder.layers[:1]
    save_classifier(folder, SerClassifier(backbone, targets, HeadSettings()))
    return folder


@pytest.fixture
def files(write_clip: Callable[..., Path]) -> list[str]:
    return [str(write_clip("a.wav", 0.5)), str(write_clip("b.wav", 0.3, 220.0))]


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words])
    return int(ended.value.code or 0)


def test_a_table_for_people(checkpoint: Path, files: list[str], capsys: Captured) -> None:
    assert run("classify", checkpoint, *files, "--device", "cpu") == 0
    captured = capsys.readouterr()
    head, *rows = captured.out.splitlines()
    assert head.split() == ["path", "duration_s", "predicted", "p(joy)", r"p(sad\x1b[31mness)"]
    assert [row.split()[:2] for row in rows] == [[files[0], "0.500"], [files[1], "0.300"]]
    assert "\x1b" not in captured.out
    assert "no audio.json" in captured.err


def test_json_for_scripts(checkpoint: Path, files: list[str], capsys: Captured) -> None:
    assert run("classify", checkpoint, *files, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in rows] == files
    assert all(abs(row["p(joy)"] + row["p(sad\x1b[31mness)"] - 1) < 1e-9 for row in rows)


def test_a_file(checkpoint: Path, files: list[str], tmp_path: Path, capsys: Captured) -> None:
    output = tmp_path / "table.csv"
    assert run("classify", checkpoint, *files, "-o", output) == 0
    assert capsys.readouterr().out == f"wrote {output}\n"
    assert pd.read_csv(output)["path"].tolist() == files


def test_a_bad_file_is_one_message(checkpoint: Path, files: list[str], capsys: Captured) -> None:
    assert run("classify", checkpoint, *files, "nothing.wav") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: The clip does not exist\n  where: nothing.wav" in captured.err


def test_files_are_asked_for(checkpoint: Path, capsys: Captured) -> None:
    assert run("classify", checkpoint) == 2
    assert "FILE" in capsys.readouterr().err


def test_export(checkpoint: Path, tmp_path: Path, capsys: Captured) -> None:
    pytest.importorskip("onnxruntime")
    output = tmp_path / "model.onnx"
    assert run("export-onnx", checkpoint, "-o", output) == 0
    printed = capsys.readouterr().out
    assert "largest relative difference from torch: " in printed
    assert printed.endswith(f"wrote {output}\n")
    assert output.is_file()
