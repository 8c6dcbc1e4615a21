"""prepare as a command, on the real EMOVO: what is written, what is left out, what the exit code says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from ser_probe.cli.main import app
from tests.voices import write_corpus


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
    assert "--option lables: no option of the importer" in capsys.readouterr().err


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table under names of its own, in a folder beside the audio."""
    clips = write_corpus(tmp_path / "audio", n_speakers=4, n_takes=1)
    frame = pd.read_csv(clips / "manifest.csv")
    frame["path"] = "../audio/" + frame["path"]
    frame = frame.rename(columns={"path": "file", "label": "emo", "speaker": "who", "gender": "sex"})
    (tmp_path / "lists").mkdir()
    frame.assign(remark="well, yes").to_csv(tmp_path / "lists" / "mine.tsv", sep="\t", index=False)
    return tmp_path / "lists" / "mine.tsv"


COLUMNS = ("--path-column", "file", "--label-column", "emo", "--speaker-column", "who", "--map", "sex=gender")


def test_a_table_of_ones_own_becomes_a_split_manifest(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "m.csv"
    assert run("table", table, "-o", output, *COLUMNS, "--audio-root", tmp_path, "--seed", "3") == 0
    found = pd.read_csv(output)
    assert {"path", "label", "speaker", "gender", "remark", "split", "clip_id", "duration_s"} == {*found.columns}
    assert found["path"].str.startswith("audio/").all()
    assert (found.groupby("speaker")["split"].nunique() == 1).all()
    assert set(found["split"]) == {"train", "validation", "test"}
    assert "No speaker is in two splits." in capsys.readouterr().out
    # A split column of the table stays, unless it is asked for another.
    found.drop(columns="clip_id").to_csv(tmp_path / "own.csv", index=False)
    assert run("table", tmp_path / "own.csv", "-o", tmp_path / "kept.csv") == 0
    assert pd.read_csv(tmp_path / "kept.csv")["split"].tolist() == found["split"].tolist()
    assert "the table's own splits are kept" in capsys.readouterr().err
    assert run("table", tmp_path / "own.csv", "-o", tmp_path / "new.csv", "--scheme", "loso", "--fold", "1") == 0
    assert set(pd.read_csv(tmp_path / "new.csv").query("split == 'test'")["speaker"]) == {"s1"}


def test_a_table_of_paths_alone_is_checked(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.read_csv(table, sep="\t")[["file"]].to_csv(tmp_path / "p.csv", index=False)
    root = ("--audio-root", tmp_path / "audio")
    assert run("table", tmp_path / "p.csv", "-o", tmp_path / "m.csv", "--path-column", "file", *root) == 0
    said = capsys.readouterr().err
    assert "no column 'label' and no 'speaker' (name it with --label-column and --speaker-column)" in said
    assert "no splits" in said
    assert "split" not in pd.read_csv(tmp_path / "m.csv")


def test_what_a_table_lacks_is_said(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("table", table, "-o", tmp_path / "m.csv") == 1
    assert "no column 'path'" in capsys.readouterr().err
    assert run("table", table, "-o", tmp_path / "m.csv", "--path-column", "fle") == 1
    assert "no column 'fle' to rename\n" in capsys.readouterr().err
    assert run("table", table, "-o", tmp_path / "m.csv", "--map", "file") == 1
    assert "--map file: expected NAME=VALUE, as in sex=gender" in capsys.readouterr().err
    assert run("table", table, "-o", tmp_path / "m.xlsx", *COLUMNS) == 1
    assert "is written in the format of its suffix" in capsys.readouterr().err
    assert run("emovo", tmp_path, "-o", tmp_path / "m.csv", "--path-column", "file") == 2
    assert "belongs to `prepare table FILE`" in capsys.readouterr().err
    # Without a root above both folders no clip may be reached, and the message names the root.
    assert run("table", table, "-o", tmp_path / "m.csv", *COLUMNS) == 1
    assert f"--audio-root {tmp_path}\n" in capsys.readouterr().err
