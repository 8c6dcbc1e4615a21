from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.data.splits import check_splits
from ser_probe.errors import CorpusError, ManifestError
from tests.data.conftest import write_wavs
from tests.data.corpora.rows_of import notes_of, rows_of
from tests.data.corpora.trees_of_tables import MSP_ROWS, write_msp_podcast


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_msp_podcast(tmp_path / "MSP")


def test_numbers_stand_in_their_columns(tree: Path) -> None:
    row = rows_of("msp_podcast", tree).set_index("path").loc["Audios/MSP-PODCAST_0001_0008.wav"]
    assert row.to_dict() == {
        "label": "neutral", "label_code": "N", "arousal": 2.2, "valence": 4.0, "dominance": 2.6, "speaker": "30",
        "gender": "male", "official_split": "Test1", "language": "en", "corpus": "msp_podcast",
    }  # fmt: skip


def test_unknown_is_not_one_speaker(tree: Path) -> None:
    table = rows_of("msp_podcast", tree)
    unknown = table[table["speaker"].str.startswith("Unknown")]
    assert len(unknown) == unknown["speaker"].nunique() == 2
    assert set(unknown["gender"]) == {""}
    assert "2 clips of speakers who are Unknown: each counts as a speaker of its own" in notes_of("msp_podcast", tree)


def test_labels_that_are_no_emotion_are_counted(tree: Path) -> None:
    assert "2 clips left out by their label: O (other) 1, X (no_agreement) 1" in notes_of("msp_podcast", tree)
    assert len(rows_of("msp_podcast", tree)) == 6
    assert len(rows_of("msp_podcast", tree, labels="all")) == 8


def test_the_official_partition_can_be_used_as_splits(tree: Path) -> None:
    table = rows_of("msp_podcast", tree, split="official")
    check_splits(table)
    assert table["split"].tolist() == ["test", "train", "train", "train", "validation", "test"]
    assert "split" not in rows_of("msp_podcast", tree)


def test_old_releases(tree: Path) -> None:
    labels = tree / "Labels"
    new = rows_of("msp_podcast", tree)
    text = (labels / "labels_consensus.csv").read_text()
    (labels / "labels_consensus.csv").unlink()
    (labels / "labels_concensus.csv").write_text(text.replace("Development", "Validation"))
    (tree / "Audios").rename(tree / "Audio")
    old = rows_of("msp_podcast", tree, split="official")
    assert old["split"].tolist() == ["test", "train", "train", "train", "validation", "test"]
    (labels / "labels_concensus.csv").unlink()
    lines = []
    for row in MSP_ROWS:
        name, code, act, val, dom, *_ = row.split(",")
        lines += [f"{name}; {code}; A:{float(act):f}; V:{float(val):f}; D:{float(dom):f};", "WORKER1; Anger; A:1;", ""]
    (labels / "labels.txt").write_text("\n".join(lines))
    oldest = rows_of("msp_podcast", tree)
    columns = ["label", "arousal", "valence", "dominance"]
    assert oldest[columns].equals(new[columns])
    assert "speaker" not in oldest
    assert "labels.txt names no speakers" in notes_of("msp_podcast", tree)
    with pytest.raises(CorpusError, match=r"labels.txt names no partition"):
        rows_of("msp_podcast", tree, split="official")
    (labels / "labels.txt").write_text("WORKER1; Anger; A:1;")
    with pytest.raises(CorpusError, match=r"no line that is a clip's(.|\n)*A:2.200000; V:4.000000"):
        rows_of("msp_podcast", tree)


def test_the_folder_of_the_audio_alone_names_what_to_give(tree: Path) -> None:
    with pytest.raises(CorpusError, match="give the folder that holds Audios and Labels"):
        rows_of("msp_podcast", tree / "Audios")


def test_clips_and_rows_without_each_other(tree: Path) -> None:
    write_wavs(tree, ["Audios/MSP-PODCAST_9999_0001.wav"])
    (tree / "Audios/MSP-PODCAST_0001_0009.wav").unlink()
    notes = notes_of("msp_podcast", tree)
    assert "1 clip without a row in labels_consensus.csv, left out: Audios/MSP-PODCAST_9999_0001.wav" in notes
    assert "1 row of labels_consensus.csv without a clip: MSP-PODCAST_0001_0009.wav" in notes


@pytest.mark.parametrize(
    ("before", "after", "error", "message"),
    [
        ("EmoVal", "Val", CorpusError, r"lacks columns(.|\n)*EmoVal"),
        (",A,6.0,", ",B,6.0,", ManifestError, r"'B' \(1 clips\)"),
        (",A,6.0,", ",A,high,", CorpusError, r"values of EmoAct that are not numbers(.|\n)*'high'"),
        ("Female", "Woman", CorpusError, r"genders that are not known(.|\n)*woman"),
        ("Development", "Dev", CorpusError, r"Partitions of (.|\n)*'Dev': known: development"),
        ("0001_0009", "0001_0008", CorpusError, r"two rows for one clip(.|\n)*0001_0008"),
        ("MSP-PODCAST_", "MSP-PODCAST_7", CorpusError, r"No clip has a row(.|\n)*of this release"),
    ],
)
def test_broken_labels(tree: Path, before: str, after: str, error: type[Exception], message: str) -> None:
    path = tree / "Labels" / "labels_consensus.csv"
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(error, match=message):
        rows_of("msp_podcast", tree, split="official")


def test_a_missing_label_file(tree: Path) -> None:
    (tree / "Labels" / "labels_consensus.csv").unlink()
    with pytest.raises(CorpusError, match=r"labels_consensus.csv is missing(.|\n)*labels_concensus.csv(.|\n)*Audios"):
        rows_of("msp_podcast", tree)
