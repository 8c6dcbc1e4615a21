"""prepare as a command, on the real EMOVO: what is written, what is left out, what the exit code says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from ser_probe.cli.main import app


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["prepare", *map(str, words)])
    return int(ended.value.code or 0)


def test_a_corpus_becomes_a_split_manifest(
    emovo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "manifest.csv"
    assert run("emovo", emovo_root, "-o", output, "--labels", "anger,sadness", "--scheme", "study_b") == 0
    table = pd.read_csv(output)
    assert set(table["label"]) == {"anger", "sadness"}
    assert (table.groupby("speaker")["split"].nunique() == 1).all()
    assert (table.groupby("split")["gender"].nunique() == 2).all()
    assert f"wrote {output}" in capsys.readouterr().out


def test_a_bad_clip_is_left_out_and_the_exit_code_says_so(
    emovo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "EMOVO"
    shutil.copytree(emovo_root, root)
    broken = sorted(root.rglob("*.wav"))[0]
    broken.write_bytes(b"")
    output = tmp_path / "manifest.csv"
    assert run("emovo", root, "-o", output) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("1 clip was left out as unusable; the reasons are in ")
    assert len(pd.read_csv(output)) == 587
    assert run("emovo", root, "-o", tmp_path / "strict.csv", "--strict") == 1
    assert broken.name in capsys.readouterr().err
    assert not (tmp_path / "strict.csv").exists()


def test_options_reach_the_importer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("crema_d", tmp_path, "-o", tmp_path / "m.csv", "--option", "lables=intended") == 1
    assert "data.options.lables (--set): no option of the importer" in capsys.readouterr().err
