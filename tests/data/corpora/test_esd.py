from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.errors import CorpusError
from tests.data.conftest import write_wavs
from tests.data.corpora.rows_of import notes_of, rows_of
from tests.data.corpora.trees_of_tables import write_esd


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_esd(tmp_path / "ESD")


def test_folders_and_texts_are_read(tree: Path) -> None:
    table = rows_of("esd", tree).set_index("path")
    assert table.loc["0002/Angry/test/0002_000370.wav"].to_dict() == {
        "label": "anger", "label_code": "Angry", "speaker": "0002", "gender": "female", "sentence": "zh020",
        "language": "zh", "corpus": "esd", "official_split": "test", "sentence_text": "打远一看，",
    }  # fmt: skip
    # In UTF-16 without a mark, and with blanks in place of tabs.
    assert table.loc["0004/Sad/train/0004_001051.wav", ["sentence_text", "gender"]].tolist() == ["打远一看，", "male"]
    assert table.loc["0011/Surprise/train/0011_001401.wav", "sentence_text"] == "The nine the eggs."
    # The same sentence in every state.
    assert set(table.loc[table.index.str.contains("0011/.*/train"), "sentence"]) == {"en001"}


def test_flat_folders_and_texts_that_are_missing(tree: Path, tmp_path: Path) -> None:
    write_wavs(tmp_path / "flat", ["0011/Angry/0011_000351.wav", "0012/Happy/0012_000701.wav"])
    table = rows_of("esd", tmp_path / "flat")
    assert "official_split" not in table
    assert "sentence_text" not in table
    assert "text files that are not there: 0011.txt, 0012.txt" in notes_of("esd", tmp_path / "flat")
    assert len(rows_of("esd", tree / "0011")) == 10
    assert "text files" not in notes_of("esd", tree / "0011")


def test_labels_that_disagree_are_said(tree: Path) -> None:
    path = tree / "0011" / "0011.txt"
    path.write_text(path.read_text().replace("0011_000351 The nine the eggs. Angry", "0011_000351 The nine. Sad"))
    notes = notes_of("esd", tree)
    assert "1 clips lie in the folder of another emotion than their text file says, such as 0011_000351" in notes
    assert rows_of("esd", tree).set_index("path").loc["0011/Angry/train/0011_000351.wav", "label"] == "anger"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    assert "1 clips without a line in a text file: 0011_001420" in notes_of("esd", tree)


def test_faults(tree: Path) -> None:
    write_wavs(tree, ["0025/Angry/0025_000351.wav"])
    with pytest.raises(CorpusError, match=r"not in ESD(.|\n)*found: 0025"):
        rows_of("esd", tree)
    (tree / "0025/Angry/0025_000351.wav").unlink()
    (tree / "0002" / "0002.txt").write_bytes(b"\xff\xff\xff")
    with pytest.raises(CorpusError, match=r"in no encoding that is known(.|\n)*gb18030"):
        rows_of("esd", tree)
