"""evaluate as a command: what it prints, and what it exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from ser_probe.cli.evaluate import _print_headline
from ser_probe.cli.main import app

from ..classifiers import save_run
from ..steps.test_evaluate import write_manifest

Captured = pytest.CaptureFixture[str]


def exit_code(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["evaluate", *map(str, words)])
    return int(ended.value.code or 0)


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_run(Path("runs/x"))
    return write_manifest(Path("corpus"), corpus="voices", label=lambda t: t["label"].replace("anger", "rage"))


def test_a_table_and_the_files(manifest: Path, capsys: Captured) -> None:
    Path("map.yaml").write_text("rage: joy\n")
    options = [
        "--label-map",
        "map.yaml",
        "--map",
        "rage=anger",
        "--by",
        "gender,speaker",
        "--loudness-lufs",
        "off",
        "--no-figures",
    ]
    assert exit_code("runs/x", manifest, "-o", "out", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["corpus", "clips", "n", "speakers", "accuracy", "UAR", "macro", "F1", "ECE"]
    first = [line.split()[:4] for line in lines[1:8]]
    assert first == [
        ["voices", "all", "12", first[0][3]],
        *(["voices", "gender", name, "6"] for name in ("female", "male")),
        *(["voices", "speaker", f"s{k}", "3"] for k in range(4)),
    ]
    assert "[" in lines[1], "the interval over 4 speakers"
    assert "[" not in lines[2], "2 speakers have none"
    assert "clips: 12, 1 run" in lines
    assert lines[-1].startswith("wrote out/evaluation.json, ")
    options = json.loads(Path("out/evaluation.json").read_text())["options"]
    assert (options["label_map"], options["loudness_lufs"]) == ({"rage": "anger"}, None)


def test_json_and_rejects(manifest: Path, capsys: Captured) -> None:
    Path("corpus/s1-joy-0.wav").unlink()
    assert exit_code("runs/x", manifest, "-o", "out", "--map", "rage=anger", "--json", "--no-figures") == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [row["group"] for row in found["headline"]] == ["all", "female", "male"]
    assert found["headline"][0]["n"] == 11
    assert 0 <= found["headline"][0]["uar"] <= 1
    assert found["headline"][1]["uar_low"] is None, "not NaN, which is no JSON"
    assert (found["n_rejected"], "out/evaluation.json" in found["files"]) == (1, True)
    assert captured.err.splitlines()[-1] == "1 clip was left out as unusable; the reasons are in out/rejects.csv"


def test_faults_are_messages(manifest: Path, capsys: Captured) -> None:
    assert exit_code("runs/x", manifest, "-o", "out", "--map", "rage=angre") == 1
    assert "rage -> angre: did you mean 'anger'" in capsys.readouterr().err
    assert exit_code("runs/x", manifest, "-o", "out", "--splits", "tset") == 1
    assert "--splits: expected" in capsys.readouterr().err
    assert exit_code("runs/x", manifest, "-o", "out", "--truth", "valence") == 1
    assert "--truth valence: expected NAME=VALUE" in capsys.readouterr().err
    assert exit_code("runs/none", manifest, "-o", "out") == 1
    assert "There is no such folder" in capsys.readouterr().err
    assert exit_code("runs/x", "-o", "out") == 2
    assert not Path("out").exists()


def test_many_groups_are_left_to_the_table(capsys: Captured) -> None:
    rows = [("overall", "all", 0.5, 0.1), *(("speaker", f"s{k}", 0.4, 0.2) for k in range(13))]
    headline = pd.DataFrame(rows, columns=["group_by", "group", "uar", "uar_std"]).assign(corpus="x", n=9)
    _print_headline(headline)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1].split() == ["x", "all", "9", "0.500", "±", "0.100"]
    assert lines[2:] == ["by speaker: in the table scores", ""]
