from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.data.labels import EMOTIONS
from ser_probe.errors import CorpusError, ManifestError
from tests.data.conftest import write_wavs
from tests.data.corpora.rows_of import notes_of, rows_of
from tests.data.corpora.trees_of_tables import write_iemocap

IMPRO = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_iemocap(tmp_path / "IEMOCAP_full_release")


def test_the_speaker_is_who_speaks_and_numbers_stand_in_their_columns(tree: Path) -> None:
    row = rows_of("iemocap", tree).set_index("path").loc[
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M001.wav"
    ]  # fmt: skip
    assert row.to_dict() == {
        "label": "anger", "label_code": "ang", "speaker": "Ses01M", "gender": "male", "valence": 1.5, "arousal": 4.0,
        "dominance": 4.5, "session": 1, "part": "improvised", "dialog": "Ses01F_impro01", "language": "en",
        "corpus": "iemocap", "sentence_text": "Excuse me 1.",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (4, {"anger", "happiness", "neutral", "sadness"}),
        (5, {"anger", "happiness", "neutral", "sadness", "frustration"}),
        (6, {"anger", "happiness", "neutral", "sadness", "frustration", "excitement"}),
        ("all", {"anger", "happiness", "neutral", "sadness", "frustration", "excitement", "no_agreement", "surprise"}),
    ],
)
def test_the_sets_of_labels(tree: Path, labels: object, expected: set[str]) -> None:
    table = rows_of("iemocap", tree, labels=labels)
    assert set(table["label"]) == expected <= {*EMOTIONS}
    excited = table[table["label_code"] == "exc"]["label"]
    assert excited.tolist() == ["happiness" if labels in (4, 5) else "excitement"]


def test_what_is_left_out_is_counted(tree: Path) -> None:
    notes = notes_of("iemocap", tree)
    assert "3 turns left out by their label: fru 1, sur 1, xxx 1 (the option labels=all keeps them)" in notes
    # What the corpus lacks is said of all its turns, whatever labels are kept.
    assert "9 clips of 10039 published (10030 missing)" in notes
    assert "2 turns left out, because they are not improvised" in notes_of("iemocap", tree, part="improvised")
    assert set(rows_of("iemocap", tree, part="scripted")["part"]) == {"scripted"}


def test_votes_are_those_of_the_listeners(tree: Path) -> None:
    table = rows_of("iemocap", tree, labels=5, votes=True).set_index("label_code")
    assert list(table.filter(like="votes_")) == [
        f"votes_{name}" for name in ("anger", "frustration", "happiness", "neutral", "sadness")
    ]
    # Two chose anger, one of them also neutral, one frustration; what the speaker says of himself does not count.
    assert table.loc["ang"].filter(like="votes_").tolist() == [2, 1, 0, 1, 0]
    assert table.loc["exc", "votes_happiness"] == 2, "excitement counts as happiness in five labels"


def test_turns_and_clips_without_each_other(tree: Path) -> None:
    write_wavs(tree, ["Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M099.wav"])
    (tree / "Session2/sentences/wav/Ses02M_impro03/Ses02M_impro03_M000.wav").unlink()
    notes = notes_of("iemocap", tree)
    assert "1 clip without a row in EmoEvaluation, left out: Session1/sentences/wav/Ses01F_impro01/Ses01F_imp" in notes
    assert "1 row of EmoEvaluation without a clip: Ses02M_impro03_M000" in notes


def test_a_session_alone_will_do(tree: Path) -> None:
    assert set(rows_of("iemocap", tree / "Session2", labels="all")["speaker"]) == {"Ses02F", "Ses02M"}


def test_missing_files(tree: Path) -> None:
    with pytest.raises(CorpusError, match=r"label files are missing(.|\n)*for each of 2 dialogs"):
        rows_of("iemocap", tree / "Session1" / "sentences")
    (tree / "Session2/dialog/EmoEvaluation/Ses02M_impro03.txt").unlink()
    assert "label files that are missing: Ses02M_impro03.txt" in notes_of("iemocap", tree)
    for path in tree.rglob("transcriptions/*"):
        path.unlink()
    assert "no transcripts" in notes_of("iemocap", tree)
    assert "sentence_text" not in rows_of("iemocap", tree)


@pytest.mark.parametrize(
    ("before", "after", "error", "message"),
    [
        ("neu\t[2.5000", "neu [2.5000", None, ""),
        ("[2.5000, 2.0000, 3.0000]", "[2.5000, 2.0000]", CorpusError, r"not as the others\n  where: .*, line 3\n"),
        ("\tang\t", "\trag\t", ManifestError, r"'rag' \(1 clips\)"),
        ("C-E2:\tAnger;", "C-E2:\tRage;", ManifestError, r"'rage' \(1 clips\)"),
    ],
)
def test_lines_of_another_form(
    tree: Path, before: str, after: str, error: type[Exception] | None, message: str
) -> None:
    path = tree / IMPRO
    path.write_text(path.read_text().replace(before, after))
    if error is None:
        assert len(rows_of("iemocap", tree, labels="all")) == 9
    else:
        with pytest.raises(error, match=message):
            rows_of("iemocap", tree, votes=True)
