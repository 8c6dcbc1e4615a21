"""ser-probe audit: what it prints, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ser_probe.cli.main import app


@pytest.fixture
def manifest(tmp_path: Path, write_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a manifest in which one recording has two labels."""
    monkeypatch.chdir(tmp_path)
    write_clip("a.wav", pitch_hz=120)
    Path("b.wav").write_bytes(Path("a.wav").read_bytes())
    pd.DataFrame({"path": ["a.wav", "b.wav"], "label": ["joy", "fear"]}).to_csv("m.csv", index=False)
    return tmp_path / "m.csv"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["audit", *map(str, words)])
    return int(ended.value.code or 0)


def test_findings_are_printed_and_fail_only_when_asked(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(manifest, "-o", "out", "--no-figures") == 0
    printed = capsys.readouterr().out
    assert "error, leak: 1 group of clips with identical files" in printed
    assert "a.wav (joy) = b.wav (fear)" in printed
    assert run(manifest, "-o", "out", "--no-figures", "--fail-on", "health") == 0
    assert run(manifest, "-o", "out", "--no-figures", "--fail-on", "health,leaks") == 1
    assert "--fail-on: label_conflict" in capsys.readouterr().err


def test_findings_as_json(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(manifest, "-o", "out", "--no-figures", "--json") == 0
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["check"], finding["n_clips"]) == ("label_conflict", 2)


def test_bad_input_has_no_traceback(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(manifest, "-o", "out", "--fail-on", "leeks") == 1
    assert "--fail-on" in capsys.readouterr().err
    assert run("none.csv", "-o", "out") == 1
    assert run(manifest, "-o", "out", "--splits", "nowhere") == 1
    assert "neither a column of the manifest nor a file" in capsys.readouterr().err
