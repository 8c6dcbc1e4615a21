from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.errors import CorpusError, ManifestError
from tests.data.corpora.rows_of import notes_of, rows_of
from tests.data.corpora.trees_of_tables import write_nemo


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_nemo(tmp_path / "nEMO")


def test_blanks_before_the_speaker_are_no_part_of_the_name(tree: Path) -> None:
    row = rows_of("nemo", tree).set_index("path").loc["samples/WR0_surprised_6.wav"]
    assert row.to_dict() == {
        "label": "surprise", "label_code": "surprised", "speaker": "WR0", "gender": "male", "sentence": "6",
        "sentence_text": 'Ucho wykrywa "dźwięki.', "age": 30, "language": "pl", "corpus": "nemo",
    }  # fmt: skip


def test_masked_ages_stay_as_they_are(tree: Path) -> None:
    path = tree / "data.tsv"
    path.write_text(path.read_text().replace("\t30", "\t-"))
    assert set(rows_of("nemo", tree)["age"]) == {"-"}


def test_faults(tree: Path) -> None:
    (tree / "samples/WR0_anger_1.wav").unlink()
    assert "1 row of data.tsv without a clip: WR0_anger_1.wav" in notes_of("nemo", tree)
    path = tree / "data.tsv"
    path.write_text(path.read_text().replace("\tfear\t", "\tfright\t"))
    with pytest.raises(ManifestError, match=r"'fright' \(2 clips\)"):
        rows_of("nemo", tree)
    path.unlink()
    with pytest.raises(CorpusError, match=r"data.tsv is missing(.|\n)*samples and data.tsv"):
        rows_of("nemo", tree)
