from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ser_probe.data.splits import audit_splits, split_speakers
from ser_probe.errors import CorpusError, ManifestError
from tests.conftest import SHARED_DATA
from tests.data.conftest import write_wavs
from tests.data.corpora.rows_of import notes_of, rows_of

Turn = Callable[[list[Path]], None]


def test_names_and_demographics_are_read(crema_d_tree: Path) -> None:
    row = rows_of("crema_d", crema_d_tree).set_index("path").loc["AudioWAV/1003_IEO_HAP_HI.wav"]
    assert row.to_dict() == {
        "label": "happiness", "label_code": "HAP", "speaker": "1003", "sentence": "IEO",
        "sentence_text": "It's eleven o'clock", "level": "high", "intended": "happiness", "language": "en",
        "corpus": "crema_d", "gender": "female", "age": 38, "race": "African American", "ethnicity": "Hispanic",
    }  # fmt: skip


def test_votes_replace_labels_and_ties_are_left_out(crema_d_tree: Path) -> None:
    table = rows_of("crema_d", crema_d_tree, labels="voice_vote").set_index("path")
    notes = notes_of("crema_d", crema_d_tree, labels="voice_vote")
    assert "3 clips are left out, because their vote is a tie (3) or missing (0)" in notes
    assert len(table) == 36 - 3
    assert not table.index.str.contains("DFA_ANG").any()
    heard = table.loc["AudioWAV/1001_IEO_FEA_HI.wav"]
    assert (heard["label"], heard["label_code"], heard["intended"]) == ("sadness", "S", "fear")


def test_votes_by_face_and_by_both(crema_d_tree: Path) -> None:
    path = crema_d_tree / "processedResults" / "summaryTable.csv"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join([lines[0] + ',"FaceVote","MultiModalVote"', *(line + ',"A","D:F"' for line in lines[1:])])
    )
    assert set(rows_of("crema_d", crema_d_tree, labels="face_vote")["label"]) == {"anger"}
    with pytest.raises(CorpusError, match=r"No clip of CREMA-D is left(.|\n)*36 clips .* vote is a tie \(36\)"):
        rows_of("crema_d", crema_d_tree, labels="both_vote")


def test_a_clip_without_sound_is_said(crema_d_tree: Path) -> None:
    assert "no sound" not in notes_of("crema_d", crema_d_tree)
    write_wavs(crema_d_tree, ["AudioWAV/1076_MTI_SAD_XX.wav"])
    demographics = crema_d_tree / "VideoDemographics.csv"
    demographics.write_text(demographics.read_text() + '1076,25,"Female","",""\n')
    assert "1076_MTI_SAD_XX holds no sound" in notes_of("crema_d", crema_d_tree)


def test_a_clip_without_a_vote_is_left_out(crema_d_tree: Path) -> None:
    votes = crema_d_tree / "processedResults" / "summaryTable.csv"
    votes.write_text("".join(line for line in votes.open() if "1002_IEO_SAD" not in line))
    assert len(rows_of("crema_d", crema_d_tree, labels="voice_vote")) == 36 - 4
    assert "a tie (3) or missing (1)" in notes_of("crema_d", crema_d_tree, labels="voice_vote")


def test_an_unknown_vote(crema_d_tree: Path) -> None:
    votes = crema_d_tree / "processedResults" / "summaryTable.csv"
    votes.write_text(votes.read_text().replace('"H"', '"Q"'))
    with pytest.raises(ManifestError, match=r"'Q' \(6 clips\)"):
        rows_of("crema_d", crema_d_tree, labels="voice_vote")


def test_pointers_only(crema_d_tree: Path, turn_to_pointers: Turn) -> None:
    turn_to_pointers(sorted(crema_d_tree.rglob("*.wav")))
    with pytest.raises(CorpusError, match=r"All 36 clips of CREMA-D are Git LFS pointers(.|\n)*git lfs pull"):
        rows_of("crema_d", crema_d_tree)
    assert len(rows_of("crema_d", crema_d_tree, allow_pointers=True)) == 36


def test_some_pointers(crema_d_tree: Path, turn_to_pointers: Turn) -> None:
    turn_to_pointers(sorted(crema_d_tree.rglob("*.wav"))[:5])
    assert len(rows_of("crema_d", crema_d_tree)) == 36
    assert "5 of 36 clips are Git LFS pointers" in notes_of("crema_d", crema_d_tree)


def test_one_letter_levels_are_read(crema_d_tree: Path) -> None:
    write_wavs(crema_d_tree, ["AudioWAV/1001_ITH_SAD_X.wav"])
    table = rows_of("crema_d", crema_d_tree).set_index("path")
    assert table.loc["AudioWAV/1001_ITH_SAD_X.wav", "level"] == "unspecified"


def test_unknown_labels_option(crema_d_tree: Path) -> None:
    with pytest.raises(CorpusError, match=r"'labels' cannot be 'voice'(.|\n)*did you mean 'voice_vote'"):
        rows_of("crema_d", crema_d_tree, labels="voice")


def test_missing_tables(crema_d_tree: Path) -> None:
    (crema_d_tree / "processedResults" / "summaryTable.csv").unlink()
    with pytest.raises(CorpusError, match=r"summaryTable\.csv is missing"):
        rows_of("crema_d", crema_d_tree, labels="voice_vote")
    with pytest.raises(CorpusError, match=r"VideoDemographics.csv is missing(.|\n)*not its audio folder alone"):
        rows_of("crema_d", crema_d_tree / "AudioWAV")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'"ActorID","Age"\n1001,51\n', r"VideoDemographics.csv lacks columns(.|\n)*Sex(.|\n)*found: ActorID, Age"),
        (b'"ActorID","Age","Sex","Race","Ethnicity"\n1001,51,"Male","",""\n', r"lack actors(.|\n)*1002, 1003"),
        (b"\xff\xfe\x00", "not a readable table"),
        (b"", "not a readable table"),
    ],
)
def test_broken_demographics(crema_d_tree: Path, content: bytes, message: str) -> None:
    (crema_d_tree / "VideoDemographics.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        rows_of("crema_d", crema_d_tree)


def test_an_age_that_is_no_number(crema_d_tree: Path) -> None:
    path = crema_d_tree / "VideoDemographics.csv"
    path.write_text(path.read_text().replace("1002,21", "1002,young"))
    with pytest.raises(CorpusError, match=r"ages that are not numbers(.|\n)*found: young"):
        rows_of("crema_d", crema_d_tree)


@pytest.fixture(scope="module")
def real_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = SHARED_DATA / "CREMA-D-lfs-tree.tar.gz"
    if not archive.is_file():
        pytest.skip("the CREMA-D tree is not at hand")
    root = tmp_path_factory.mktemp("crema-d")
    with tarfile.open(archive) as packed:
        packed.extractall(root, filter="data")
    return root


def test_the_real_metadata(real_tree: Path) -> None:
    with pytest.raises(CorpusError, match="All 7442 clips of CREMA-D are Git LFS pointers"):
        rows_of("crema_d", real_tree)
    table = rows_of("crema_d", real_tree, allow_pointers=True)
    assert len(table) == 7442
    assert (table["sentence_text"] != "").all()
    actors = table.drop_duplicates("speaker")
    assert actors["gender"].value_counts().to_dict() == {"male": 48, "female": 43}
    assert (actors["age"].min(), actors["age"].max()) == (20, 74)
    assert table["label"].value_counts().to_dict() == {
        **dict.fromkeys(("anger", "disgust", "fear", "happiness", "sadness"), 1271),
        "neutral": 1087,
    }
    audit = audit_splits(table.assign(split=split_speakers(table, scheme="study_e")))
    speakers = audit[audit["measure"] == "speakers"].set_index("split")["value"].to_dict()
    assert speakers == {"train": 58, "validation": 18, "test": 15}
    assert (audit.loc[audit["measure"] == "shared_speakers", "value"] == 0).all()


def test_the_real_votes(real_tree: Path) -> None:
    table = rows_of("crema_d", real_tree, allow_pointers=True, labels="voice_vote")
    # Counted from summaryTable.csv: 644 of the 7442 votes are ties.
    assert table["label"].value_counts().to_dict() == {
        "neutral": 3897, "anger": 986, "fear": 645, "disgust": 547, "sadness": 370, "happiness": 353,
    }  # fmt: skip


def test_votes_are_counted_by_emotion(crema_d_tree: Path) -> None:
    table = rows_of("crema_d", crema_d_tree, vote_counts=True).set_index("path")
    votes = table.filter(like="votes_")
    assert list(votes) == [f"votes_{name}" for name in ("anger", "disgust", "fear", "happiness", "neutral", "sadness")]
    assert votes.loc["AudioWAV/1003_IEO_HAP_HI.wav"].tolist() == [0, 0, 3, 7, 0, 0]
    assert (votes.sum(axis=1) == 10).all()
    assert "votes_anger" not in rows_of("crema_d", crema_d_tree)
    by_face = rows_of("crema_d", crema_d_tree, vote_counts=True, votes_of="face").set_index("path")
    assert by_face.loc["AudioWAV/1003_IEO_HAP_HI.wav"].filter(like="votes_").tolist() == [0, 0, 0, 10, 0, 0]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"1003_IEO_HAP_HI"', '"other"', r"lacks votes of clips(.|\n)*1003_IEO_HAP_HI"),
        (",7,", ",many,", "counts that are not whole numbers"),
        ('"fileName"', '"name"', "lacks columns"),
    ],
)
def test_broken_vote_counts(crema_d_tree: Path, before: str, after: str, message: str) -> None:
    path = crema_d_tree / "processedResults" / "tabulatedVotes.csv"
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(CorpusError, match=message):
        rows_of("crema_d", crema_d_tree, vote_counts=True)


@pytest.mark.parametrize(("shown", "n_ties"), [("voice", 644), ("both", 420)])
def test_the_real_vote_counts(real_tree: Path, shown: str, n_ties: int) -> None:
    options = {"labels": f"{shown}_vote", "vote_counts": True, "votes_of": shown}
    table = rows_of("crema_d", real_tree, allow_pointers=True, **options)
    assert len(table) == 7442 - n_ties
    winners = table.filter(like="votes_").idxmax(axis=1).str.removeprefix("votes_")
    assert (winners == table["label"]).all(), "clips without a tie are labelled by their most frequent vote"
    assert table.filter(like="votes_").sum(axis=1).between(4, 15).all()
