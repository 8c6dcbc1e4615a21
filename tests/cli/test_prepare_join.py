"""prepare join and prepare --list as commands."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ser_probe.cli.main import app
from tests.data.corpora.trees_of_tables import write_emozionalmente
from tests.voices import write_corpus


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["prepare", *map(str, words)])
    return int(ended.value.code or 0)


@pytest.fixture
def lists(tmp_path: Path) -> tuple[Path, Path]:
    files = []
    for name in ("one", "two"):
        folder = write_corpus(tmp_path / name, n_speakers=2, n_takes=1)
        table = pd.read_csv(folder / "manifest.csv").assign(corpus=name)
        table.to_csv(folder / "manifest.csv", index=False)
        files.append(folder / "manifest.csv")
    return files[0], files[1]


def test_two_manifests_become_one(lists: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "both.csv"
    n_clips = sum(len(pd.read_csv(path)) for path in lists)
    assert run("join", *lists, "-o", output) == 0
    table = pd.read_csv(output)
    assert len(table) == n_clips
    assert all((tmp_path / path).is_file() for path in table["path"])
    said = capsys.readouterr()
    assert f"clips: {n_clips} of 2 corpora, 4 speakers" in said.out
    assert f"paths: relative to {tmp_path}" in said.out
    first = table["label"].iloc[0]
    assert run("join", *lists, "-o", output, "--labels", "all", "--map", f"{first}=-") == 0
    assert first not in set(pd.read_csv(output)["label"])
    assert f"{first} {len(pd.read_csv(tmp_path / 'both.left_out.csv'))}" not in capsys.readouterr().err
    assert set(pd.read_csv(tmp_path / "both.left_out.csv")["reason"]) == {"left out by the map"}


def test_faults_of_a_join(lists: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_csv(lists[1])
    table.assign(label="odd").to_csv(lists[1], index=False)
    assert run("join", *lists, "-o", tmp_path / "m.csv") == 1
    assert "The corpora share no label" in capsys.readouterr().err
    assert run("join", lists[0], "-o", tmp_path / "m.csv") == 1
    assert "Two manifests or more are joined" in capsys.readouterr().err
    assert run("join", *lists, "-o", tmp_path / "m.csv", "--splits", "both") == 2
    assert "expected auto or keep or drop, found 'both'" in capsys.readouterr().err
    assert run("join", *lists, "-o", tmp_path / "m.xlsx") == 1
    assert run("join", *lists, "-o", tmp_path / "m.csv", "--labels", "all", "--audio-root", tmp_path / "one") == 1
    assert "do not lie below the root" in capsys.readouterr().err
    assert not list(tmp_path.glob("m.*"))


def test_the_corpora_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    said = capsys.readouterr().out
    assert "\n\niemocap: IEMOCAP\n  holds    English" in said
    assert "  options  labels=4, part=both, votes=false\n" in said
    assert run("IEMOCAP", "--list") == 0
    said = capsys.readouterr().out
    assert "  layout   Session1/sentences/wav" in said
    assert "    part (both): improvised, scripted or both [both, improvised, scripted]\n" in said
    assert run("iemocup", "--list") == 1
    assert "did you mean 'iemocap'" in capsys.readouterr().err


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, name in (((), "CORPUS|table"), (("emovo",), "ROOT|FILE"), (("emovo", tmp_path), "--output")):
        assert run(*words) == 2
        assert f"Invalid value for {name}: missing (`ser-probe prepare --list`" in capsys.readouterr().err


def test_official_splits_are_kept_where_an_option_asks_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_emozionalmente(tmp_path / "emozionalmente")
    for clip, voice in zip(
        sorted(root.rglob("*.wav")), sorted(write_corpus(tmp_path / "voices").rglob("*.wav")), strict=False
    ):
        clip.write_bytes(voice.read_bytes())
    official = ("emozionalmente", root, "--option", "split=official", "-o", tmp_path / "m.csv")
    # Each label has one speaker in so small a tree, which is said, and no fault of the splits.
    assert run(*official) == 1
    said = capsys.readouterr().err
    assert "the corpus's own splits are kept, as its option asks for" in said
    assert run("emozionalmente", root, "-o", tmp_path / "m.csv") == 1
    assert "own splits are kept" not in capsys.readouterr().err
