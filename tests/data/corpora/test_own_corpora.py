"""Corpora of one's own: folders that mean something, and a metadata file beside the audio."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from ser_probe.errors import CorpusError, DamagedFileError
from tests.data.conftest import write_wavs
from tests.data.corpora.rows_of import notes_of, rows_of


def test_a_folder_a_class(tmp_path: Path) -> None:
    write_wavs(tmp_path, ["Anger/a.wav", "anger/deep/b.wav", "joy/c.wav", "joy/._c.wav"])
    (tmp_path / "joy/notes.txt").write_text("no audio")
    table = rows_of("folders", tmp_path)
    assert table["path"].tolist() == ["Anger/a.wav", "anger/deep/b.wav", "joy/c.wav"]
    assert table["label"].nunique() == 2, "one label in two spellings"
    assert "speaker" not in table
    notes = notes_of("folders", tmp_path)
    assert "cannot be split by speaker" in notes
    assert "Anger" in notes, "the other spelling is said"


def test_folders_in_folders(tmp_path: Path) -> None:
    write_wavs(tmp_path, ["x/Val/01/anger/a.wav", "x/train/02/joy/b.wav"])
    table = rows_of("folders", tmp_path, levels="-/split/speaker/label")
    assert table[["split", "speaker", "label"]].to_numpy().tolist() == [
        ["validation", "01", "anger"], ["train", "02", "joy"],
    ]  # fmt: skip
    assert notes_of("folders", tmp_path, levels="-/split/speaker/label") == ""
    write_wavs(tmp_path, ["top.wav"])
    with pytest.raises(CorpusError, match=r"do not lie in folders label/speaker(.|\n)*found: top\.wav"):
        rows_of("folders", tmp_path, levels="label/speaker")


@pytest.mark.parametrize("levels", ["emotion", "label/label", "", "label//speaker"])
def test_levels_that_are_none(tmp_path: Path, levels: str) -> None:
    with pytest.raises(CorpusError, match=r"level(.|\n)*expected: label, speaker(.|\n)*levels=label/speaker"):
        rows_of("folders", tmp_path, levels=levels)


def test_metadata_of_each_split(tmp_path: Path) -> None:
    write_wavs(tmp_path, ["train/a.wav", "train/sub/b.wav", "test/c.wav"])
    (tmp_path / "train/metadata.csv").write_text(
        "file_name,emotion,speaker_id,age\na.wav,joy,01,30\nsub/b.wav,anger,02,41\n"
    )
    line = {"file_name": "c.wav", "emotion": "joy", "speaker_id": "03", "age": 22}
    (tmp_path / "test/metadata.jsonl").write_text(json.dumps(line) + "\n\n")
    table = rows_of("audiofolder", tmp_path)
    assert table.set_index("path")[["label", "speaker", "split", "age"]].T.to_dict("list") == {
        "test/c.wav": ["joy", "03", "test", 22], "train/a.wav": ["joy", "01", "train", 30],
        "train/sub/b.wav": ["anger", "02", "train", 41],
    }  # fmt: skip


def test_columns_by_name(tmp_path: Path) -> None:
    write_wavs(tmp_path, ["a.wav"])
    rows = pd.DataFrame({"file_name": ["a.wav"], "mood": ["calm"], "who": ["7"]})
    rows.to_parquet(tmp_path / "metadata.parquet")
    row = rows_of("audiofolder", tmp_path, label_column="mood", speaker_column="who").iloc[0]
    assert (row["label"], row["label_code"], row["speaker"]) == ("calm", "calm", "7")
    with pytest.raises(CorpusError, match=r"no column 'moot'(.|\n)*did you mean 'mood'"):
        rows_of("audiofolder", tmp_path, label_column="moot")


def test_metadata_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no metadata file(.|\n)*importer 'folders'"):
        rows_of("audiofolder", tmp_path)
    for name, content, message in (
        ("metadata.parquet", b"PAR1", "cannot be read"),
        ("metadata.jsonl", b'{"file_name": "a"}\n[1]\n', "JSON object a line"),
        ("metadata.jsonl", b'{"path": "a"}\n', "no column file_name"),
        ("metadata.csv", b"path\na.wav\n", "lacks columns"),
    ):
        for old in tmp_path.iterdir():
            old.unlink()
        (tmp_path / name).write_bytes(content)
        with pytest.raises((CorpusError, DamagedFileError), match=message):
            rows_of("audiofolder", tmp_path)
