from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.errors import CorpusError
from tests.conftest import SHARED_DATA
from tests.data.conftest import write_wavs
from tests.data.corpora.rows_of import rows_of


def test_names_are_read(emodb_tree: Path) -> None:
    row = rows_of("emodb", emodb_tree).set_index("path").loc["wav/09b10Ac.wav"]
    assert row.to_dict() == {
        "label": "fear", "label_code": "A", "speaker": "09", "gender": "female", "sentence": "b10", "version": "c",
        "language": "de", "corpus": "emodb",
    }  # fmt: skip


def test_the_folder_of_the_clips_will_do(emodb_tree: Path) -> None:
    assert rows_of("emodb", emodb_tree / "wav")["path"][0] == "03a01Ac.wav"


def test_a_speaker_who_is_not_in_the_corpus(emodb_tree: Path) -> None:
    write_wavs(emodb_tree, ["wav/99a01Wa.wav"])
    with pytest.raises(CorpusError, match=r"not in EMO-DB(.|\n)*found: 99"):
        rows_of("emodb", emodb_tree)


def test_the_real_corpus() -> None:
    root = SHARED_DATA / "EMODB"
    if not root.is_dir():
        pytest.skip("EMO-DB is not at hand")
    table = rows_of("emodb", root)
    assert len(table) == 535
    # The numbers of Burkhardt et al.'s published database.
    assert table["label"].value_counts().to_dict() == {
        "anger": 127, "boredom": 81, "disgust": 46, "fear": 69, "happiness": 71, "neutral": 79, "sadness": 62,
    }  # fmt: skip
    assert table.drop_duplicates("speaker")["gender"].value_counts().to_dict() == {"female": 5, "male": 5}
