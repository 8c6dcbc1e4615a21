from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.errors import CorpusError, ManifestError
from tests.data.corpora.rows_of import notes_of, rows_of
from tests.data.corpora.trees_of_tables import write_shemo


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_shemo(tmp_path / "ShEMO")


def test_names_are_read(tree: Path) -> None:
    row = rows_of("shemo", tree).set_index("path").loc["male/M36S10.wav"]
    assert row.to_dict() == {
        "label": "sadness", "label_code": "S", "speaker": "M36", "gender": "male", "language": "fa", "corpus": "shemo",
        "sentence_text": "سلام M36S10",
    }  # fmt: skip


def test_labels_of_the_json_file(tree: Path) -> None:
    by_name = rows_of("shemo", tree).set_index("path")["label"]
    by_json = rows_of("shemo", tree, labels="json").set_index("path")["label"]
    assert by_name[by_name != by_json].to_dict() == {"female/F01A00.wav": "anger"}
    assert by_json["female/F01A00.wav"] == "neutral"
    notes = notes_of("shemo", tree, labels="json")
    assert "1 clips are not in shemo.json and are labelled by their names" in notes
    assert "1 clips have another label in shemo.json than in their names, such as F01A00" in notes
    # The corrected copies have nouns, and names with their endings.
    path = tree / "shemo.json"
    path.write_text(path.read_text().replace("angry", "anger").replace('": {"speaker', '.wav": {"speaker'))
    assert rows_of("shemo", tree, labels="json").set_index("path")["label"].equals(by_json)
    path.write_text(path.read_text().replace("happy", "joyous"))
    with pytest.raises(ManifestError, match=r"'joyous' \(2 clips\)"):
        rows_of("shemo", tree, labels="json")


def test_transcripts_in_files_of_their_own(tree: Path) -> None:
    (tree / "shemo.json").unlink()
    assert "sentence_text" not in rows_of("shemo", tree)
    (tree / "transcript" / "final text").mkdir(parents=True)
    (tree / "transcript" / "final text" / "F01F01.ort").write_text("سلام\n", encoding="utf-8-sig")
    assert [text for text in rows_of("shemo", tree)["sentence_text"] if text] == ["سلام"]
    with pytest.raises(CorpusError, match=r"shemo\.json is missing"):
        rows_of("shemo", tree, labels="json")


@pytest.mark.parametrize(("content", "message"), [("{", "is not readable"), ("[1]", "is not as expected")])
def test_a_broken_json_file(tree: Path, content: str, message: str) -> None:
    (tree / "shemo.json").write_text(content)
    with pytest.raises(CorpusError, match=message):
        rows_of("shemo", tree)
