from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from ser_probe.data.corpora import IMPORTERS
from ser_probe.errors import CorpusError, ManifestError
from tests.conftest import SHARED_DATA
from tests.data.corpora.rows_of import notes_of, rows_of
from tests.data.corpora.trees_of_tables import write_meld


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_meld(tmp_path / "MELD.Raw")


def test_numbers_of_dialogues_are_told_apart_by_their_part(tree: Path) -> None:
    table = rows_of("meld", tree)
    zero = table[table["path"].str.endswith("dia0_utt0.wav")].set_index("utterance")
    assert zero["label"].to_dict() == {
        "dev_dia0_utt0": "sadness", "test_dia0_utt0": "anger", "train_dia0_utt0": "neutral",
    }  # fmt: skip
    assert zero["official_split"].to_dict() == {
        "dev_dia0_utt0": "validation", "test_dia0_utt0": "test", "train_dia0_utt0": "train",
    }  # fmt: skip
    assert zero.loc["train_dia0_utt0", "sentence_text"] == "also I was the point person on my company’s transition"
    assert zero["gender"].tolist() == ["female", "male", "male"]


def test_defects_are_said(tree: Path) -> None:
    notes = notes_of("meld", tree)
    assert "1 row of *_sent_emo.csv without a clip: train_dia125_utt3" in notes
    assert "1 of 2 speakers of the official test part are in the training part too" in notes
    assert "hold much more than their utterance: test_dia38_utt4 (304 s)" in notes
    assert "1 clips are not of the six main characters" in notes


def test_video_alone(tree: Path) -> None:
    videos = [path.rename(path.with_suffix(".mp4")) for path in sorted(tree.rglob("*.wav"))]
    with pytest.raises(
        CorpusError, match=r"6 clips are video(.|\n)*to do: extract(.|\n)*cd .*MELD.Raw && find .*ffmpeg"
    ):
        rows_of("meld", tree)
    videos[0].rename(videos[0].with_suffix(".wav"))
    assert len(rows_of("meld", tree)) == 1
    assert "5 videos without a .wav beside them (dev/dev_splits_complete/dia0_utt1.mp4)" in notes_of("meld", tree)


def test_one_part_alone(tree: Path) -> None:
    with pytest.raises(CorpusError, match=r"dev_sent_emo\.csv is missing"):
        rows_of("meld", tree / "dev")
    shutil.copy(tree / "dev_sent_emo.csv", tree / "dev")
    assert set(rows_of("meld", tree / "dev")["label"]) == {"sadness", "surprise"}


@pytest.mark.parametrize(
    ("before", "after", "error", "message"),
    [
        (",joy,", ",glee,", ManifestError, r"'glee' \(1 clips\)"),
        ("Dialogue_ID", "Dialog", CorpusError, r"lacks columns(.|\n)*Dialogue_ID"),
        (",0,1,8", ",zero,1,8", CorpusError, "not whole numbers"),
    ],
)
def test_broken_labels(tree: Path, before: str, after: str, error: type[Exception], message: str) -> None:
    path = tree / "train_sent_emo.csv"
    path.write_text(path.read_text().replace(before, after))
    (tree / "train/train_splits/dia0_utt0.wav").rename(tree / "train/train_splits/dia125_utt3.wav")
    with pytest.raises(error, match=message):
        rows_of("meld", tree)


def test_a_missing_label_file(tree: Path) -> None:
    (tree / "dev_sent_emo.csv").unlink()
    with pytest.raises(CorpusError, match=r"dev_sent_emo.csv is missing"):
        rows_of("meld", tree)


@pytest.mark.parametrize("name", ["meld", "shemo", "emozionalmente"])
def test_every_name_of_the_full_list_is_a_clip(name: str) -> None:
    full = SHARED_DATA / "names" / f"{name}.tsv.gz"
    if not full.is_file():
        pytest.skip("the list of names is not at hand")
    with gzip.open(full, "rt", encoding="utf-8") as lines:
        rows = [line.split("\t") for line in lines][1:]
    pattern = IMPORTERS[name].pattern
    assert [path for path, *_ in rows if pattern.fullmatch(path) is None] == []
    published = IMPORTERS[name].published
    assert published is not None
    # The list of ShEMO is of a copy without the 162 clips that have no transcript.
    assert len(rows) == published.clips - (162 if name == "shemo" else 0)
    if name != "meld":
        assert len({speaker for _, speaker, *_ in rows}) == published.speakers
    if name != "shemo":
        codes = [emotion for _, _, emotion, *_ in rows]
        assert {code: codes.count(code) for code in set(codes)} == dict(published.labels)
