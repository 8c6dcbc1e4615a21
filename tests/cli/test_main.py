"""What a user sees when something is wrong: one message, the right stream, the right exit code."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ser_probe import __version__
from ser_probe.cli import main as command_line
from ser_probe.cli.main import app
from ser_probe.errors import SerProbeError

Captured = pytest.CaptureFixture[str]
LEAST = "name: least\ndata: {corpus: emovo, root: x}\nbackbone: {name: tiny-wavlm-base}\n"


def exit_code(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return int(ended.value.code or 0)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(LEAST)
    return path


def test_version(capsys: Captured) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"ser-probe {__version__}\n"


def test_a_fault_is_one_message_on_stderr(study: Path, capsys: Captured) -> None:
    assert exit_code("run", str(study), "--set", "sead=3") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: The configuration cannot be used: 1 fault\n  - sead (--set): unknown key")
    assert "Traceback" not in captured.err


def test_debug_shows_the_traceback(study: Path) -> None:
    with pytest.raises(SerProbeError, match="sead"):
        app(["--debug", "run", str(study), "--set", "sead=3"])


@pytest.mark.parametrize(
    "words",
    [["nothing-like-this"], ["run", "--no-such-flag"], ["run"], ["extract", "m.csv"], ["doctor", "too", "many"]],
)
def test_wrong_usage(words: list[str], capsys: Captured) -> None:
    assert exit_code(*words) == 2
    assert "Usage: " in capsys.readouterr().err


def test_print_config_resolves_and_runs_nothing(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code("run", str(study), "--set", "finetune.epochs=3", "--print-config") == 0
    assert "  epochs: 3" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [study]


def test_write_schema(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    assert exit_code("run", "--write-schema", str(path)) == 0
    assert "finetune" in json.loads(path.read_text())["properties"]


def test_text_from_files_is_only_text(tmp_path: Path, capsys: Captured) -> None:
    """Neither a terminal's escape codes nor markup in a key do anything."""
    path = tmp_path / "study.yaml"
    path.write_text(LEAST + '"[red]sead\\e[31m": 3\n')
    assert exit_code("run", str(path)) == 1
    error = capsys.readouterr().err
    assert "[red]sead\\x1b[31m (line 4): unknown key" in error
    assert "\x1b" not in error


def test_the_machines_refusals_are_messages(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    target = tmp_path / "file"
    target.write_text("")
    assert exit_code("run", "--write-schema", str(target / "schema.json")) == 1
    assert capsys.readouterr().err.startswith("error: ")

    message = command_line._describe_os_error(OSError(errno.ENOSPC, "No space left on device", "cache/x.h5"))
    assert message == (
        "No space left on device\n  where: cache/x.h5\n  to do: make space, then run the same command to go on"
    )
    assert command_line._describe_os_error(OSError("odd")) == "odd"


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [(signal.SIGINT, 130, command_line.INTERRUPTED), (signal.SIGTERM, 143, command_line.TERMINATED)],
)
def test_interruption(tmp_path: Path, asked: signal.Signals, code: int, said: str) -> None:
    """Ctrl-C, or a request to end, in a real process: its exit code and what to do, no traceback."""
    pipe = tmp_path / "study.yaml"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "ser_probe.cli.main", "run", str(pipe)], stderr=subprocess.PIPE, text=True
    )
    with pipe.open("w"):  # opens when the command has opened it too, and keeps it waiting for content
        process.send_signal(asked)
        _, error = process.communicate(timeout=30)
    assert process.returncode == code
    assert error.strip() == said


def test_a_closed_pipe_is_no_fault(tmp_path: Path) -> None:
    command = f"{sys.executable} -m ser_probe.cli.reference | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "# Commands\n"


def test_packages_that_are_absent_or_broken_are_messages(
    study: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that a command loads: no traceback, and no word of a file or clip."""
    monkeypatch.setitem(sys.modules, "ser_probe.config", None)
    with pytest.raises(ModuleNotFoundError):
        app(["run", str(study)])  # ser-probe's own fault: a traceback
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "yaml", None)
    for name in [name for name in sys.modules if name.startswith("ser_probe.config")]:
        monkeypatch.delitem(sys.modules, name)
    assert exit_code("run", str(study)) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: The package 'yaml' is not installed\n")
    assert "to do: pip install 'pyyaml" in captured.err
    assert command_line._message(ImportError("Missing optional dependency 'openpyxl'. Use pip")) is not None


def test_home_is_expanded_where_a_shell_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    words = ["extract", "~/m.csv", "--output=~/x.h5", "-o", "~", "--set", "seed=1", "a~b", "--name=~x~", "x=~/y"]
    assert command_line.expand_home(words) == [
        *("extract", "/home/someone/m.csv", "--output=/home/someone/x.h5", "-o", "/home/someone"),
        *("--set", "seed=1", "a~b", "--name=~x~", "x=~/y"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["prepare", "emovo", "nowhere", "-o", "pipe"],
        ["extract", "nowhere.csv", "--model", "tiny-wavlm-base", "-o", "pipe"],
        ["extract", "nowhere.csv", "--model", "tiny-wavlm-base", "-o", "folder.h5"],
        ["finetune", "nowhere.csv", "--model", "tiny-wavlm-base", "-o", "pipe"],
        ["evaluate", "nowhere", "nowhere.csv", "-o", "pipe"],
        ["compare", "nowhere", "nowhere", "-o", "pipe"],
        ["curves", "nowhere", "-o", "pipe"],
        ["classify", "nowhere", "nowhere.wav", "-o", "pipe"],
        ["export-onnx", "nowhere", "-o", "pipe"],
        *(["analyze", name, "nowhere.h5", "-o", "pipe"] for name in ("probe", "similarity", "geometry", "umap")),
        ["analyze", "drift", "nowhere.h5", "--reference", "nowhere.h5", "-o", "pipe"],
        ["analyze", "acoustics", "nowhere.h5", "--features", "nowhere.h5", "-o", "pipe"],
        ["analyze", "stats", "nowhere.csv", "--response", "value", "--factors", "layer", "-o", "pipe"],
        ["run", "--write-schema", "pipe"],
    ],
    ids=" ".join,
)
def test_no_command_writes_to_what_is_no_file(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """It is said first, before a missing input is."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("folder.h5").mkdir()
    assert exit_code(*words) == 1
    message = capsys.readouterr().err
    assert "the output is a pipe (FIFO)" in message or "there is something that is no file" in message
    assert Path("pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.h5", "pipe"]


def test_a_study_does_not_write_to_what_is_no_folder(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    os.mkfifo("runs/least")
    for command in ("run", "search"):
        assert exit_code(command, str(study)) == 1
        assert "the output is a pipe (FIFO)" in capsys.readouterr().err


def test_a_former_name_in_a_study_is_said_once(study: Path, capsys: Captured) -> None:
    study.write_text(LEAST + "analyze: {umap: {n_neighbors: 7}}\n")
    assert exit_code("run", str(study), "--print-config") == 0
    captured = capsys.readouterr()
    assert "    neighbours: 7\n" in captured.out
    assert captured.err.count("\n") == 1
    assert re.match(
        r"warning: analyze\.umap\.n_neighbors \(line \d+\) is called analyze\.umap\.neighbours now", captured.err
    )
