from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.errors import CorpusError
from tests.conftest import SHARED_DATA
from tests.data.conftest import write_wavs
from tests.data.corpora.rows_of import notes_of, rows_of


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


SCORES = "Nr.\tSatz\terkannt\tnatuerlich\n1\xa0\xa0\t03a01Wa.wav\t65,00\xa0\xa0\xa0\xa0\xa0\t35,50\xa0\xa0\n"


def test_the_listeners_scores(emodb_tree: Path) -> None:
    assert "recognised_percent" not in rows_of("emodb", emodb_tree)
    (emodb_tree / "erkennung.txt").write_text(SCORES, encoding="latin-1")
    for root, name in ((emodb_tree, "wav/03a01Wa.wav"), (emodb_tree / "wav", "03a01Wa.wav")):
        scores = rows_of("emodb", root).set_index("path")[["recognised_percent", "natural_percent"]]
        assert scores.loc[name].tolist() == [65.0, 35.5]
        assert scores.drop(index=name).isna().all(axis=None)
    assert "55 clips have no scores in erkennung.txt: 03a01Ac.wav" in notes_of("emodb", emodb_tree)
    (emodb_tree / "erkennung.txt").write_text(SCORES.replace("65,00", "many"), encoding="latin-1")
    with pytest.raises(CorpusError, match="scores that are not numbers"):
        rows_of("emodb", emodb_tree)
    (emodb_tree / "erkennung.txt").write_text(SCORES.replace("erkannt", "known"), encoding="latin-1")
    with pytest.raises(CorpusError, match=r"lacks columns(.|\n)*erkannt"):
        rows_of("emodb", emodb_tree)


def test_the_real_scores() -> None:
    root = SHARED_DATA / "EMODB_original"
    if not root.is_dir():
        pytest.skip("EMO-DB as published is not at hand")
    table = rows_of("emodb", root).set_index("path")
    # The first published line of the file.
    assert table.loc["wav/03a01Fa.wav", ["recognised_percent", "natural_percent"]].tolist() == [90.0, 75.0]
    assert not table.isna().any(axis=None)
    # 42 of the published clips miss one of the thresholds that the corpus names, 80 and 60 %.
    assert ((table["recognised_percent"] < 80) | (table["natural_percent"] < 60)).sum() == 42


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
