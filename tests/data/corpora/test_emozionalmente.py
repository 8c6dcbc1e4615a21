from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.data.splits import check_splits
from ser_probe.errors import CorpusError, ManifestError
from tests.data.conftest import write_wavs
from tests.data.corpora.rows_of import notes_of, rows_of
from tests.data.corpora.trees_of_tables import EMOZIONALMENTE_ROWS, write_emozionalmente


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_emozionalmente(tmp_path / "emozionalmente")


def test_names_are_looked_up(tree: Path) -> None:
    row = rows_of("emozionalmente", tree).set_index("path").loc["audio/1613655062438.wav"]
    assert row.to_dict() == {
        "label": "neutral", "label_code": "neutrality", "speaker": "bb" * 32, "gender": "male",
        "sentence": "L’autunno prossimo", "age": 31, "mother_tongue": "Italian", "intended": "neutral",
        "language": "it", "corpus": "emozionalmente",
    }  # fmt: skip


def test_genders_that_are_not_known_are_said(tree: Path) -> None:
    assert rows_of("emozionalmente", tree)["gender"].tolist() == ["female"] * 2 + ["male"] * 2 + [""] * 2
    assert "genders that are left empty: 'other'" in notes_of("emozionalmente", tree)


def test_the_listeners_vote_as_label(tree: Path) -> None:
    table = rows_of("emozionalmente", tree, labels="perceived")
    assert table["label"].tolist() == ["happiness", "neutral", "anger", "fear", "sadness"]
    assert table["label_code"].tolist() == ["joy", "neutrality", "anger", "fear", "sadness"]
    assert table["intended"].tolist() == ["happiness", "neutral", "disgust", "fear", "sadness"]
    assert "1 clips are left out, because the listeners' vote is a tie (1) or missing (0)" in notes_of(
        "emozionalmente", tree, labels="perceived"
    )


def test_clips_nobody_judged(tree: Path) -> None:
    path = tree / "metadata" / "evaluations.csv"
    path.write_text("".join(line for line in path.open() if "62441" not in line))
    assert "a tie (1) or missing (1)" in notes_of("emozionalmente", tree, labels="perceived")


def test_votes_are_columns(tree: Path) -> None:
    votes = rows_of("emozionalmente", tree, votes=True).filter(like="votes_")
    assert votes.iloc[0].to_dict() == {
        "votes_anger": 0, "votes_disgust": 0, "votes_fear": 0, "votes_happiness": 3, "votes_neutral": 1,
        "votes_sadness": 0, "votes_surprise": 1,
    }  # fmt: skip
    assert (votes.sum(axis=1) == 5).all()


def test_the_official_splits(tree: Path) -> None:
    table = rows_of("emozionalmente", tree, split="official")
    check_splits(table)
    assert table["split"].tolist() == ["train", "train", "validation", "validation", "test", "test"]
    (tree / "metadata/split/test.csv").write_text("file_name\n1613655062440.wav\n")
    assert "1 clips are left out, because the official splits lack them" in notes_of(
        "emozionalmente", tree, split="official"
    )
    (tree / "metadata/split/test.csv").write_text("file_name\n1613655062436.wav\n")
    with pytest.raises(CorpusError, match=r"splits share clips(.|\n)*1613655062436"):
        rows_of("emozionalmente", tree, split="official")
    for name in ("train", "dev", "test"):
        (tree / f"metadata/split/{name}.csv").write_text("file_name\n")
    with pytest.raises(CorpusError, match="hold none of the clips"):
        rows_of("emozionalmente", tree, split="official")
    (tree / "metadata/split/dev.csv").unlink()
    with pytest.raises(CorpusError, match=r"dev\.csv is missing"):
        rows_of("emozionalmente", tree, split="official")


def test_the_published_pipelines_names_need_no_tables(tree: Path, tmp_path: Path) -> None:
    expected = rows_of("emozionalmente", tree)
    renamed = [
        f"{gender or 'other'}____{speaker}____{code}____{Path(path).name}"
        for path, speaker, gender, code in expected[["path", "speaker", "gender", "label_code"]].itertuples(index=False)
    ]
    write_wavs(tmp_path / "renamed", [f"clips/{name}" for name in renamed])
    table = rows_of("emozionalmente", tmp_path / "renamed").sort_values("path", key=lambda paths: paths.str[-17:])
    for column in ("label", "label_code", "speaker", "gender", "intended"):
        assert table[column].tolist() == expected[column].tolist()
    with pytest.raises(CorpusError, match=r"evaluations.csv is missing(.|\n)*audio and metadata"):
        rows_of("emozionalmente", tmp_path / "renamed", votes=True)
    write_wavs(tmp_path / "renamed", ["clips/1613655062499.wav"])
    with pytest.raises(CorpusError, match="two kinds of names"):
        rows_of("emozionalmente", tmp_path / "renamed")


def test_clips_and_rows_without_each_other(tree: Path) -> None:
    write_wavs(tree, ["audio/1700000000000.wav"])
    (tree / "audio/1613655062437.wav").unlink()
    notes = notes_of("emozionalmente", tree)
    assert "1 clip without a row in samples.csv, left out: audio/1700000000000.wav" in notes
    assert "1 row of samples.csv without a clip: 1613655062437.wav" in notes
    assert f"{len(EMOZIONALMENTE_ROWS) - 1} clips of 6902 published" in notes


@pytest.mark.parametrize(
    ("name", "before", "after", "error", "message"),
    [
        ("samples", ",joy,", ",gioia,", ManifestError, r"'gioia' \(1 clips\)"),
        ("evaluations", ",joy,", ",gioia,", ManifestError, r"'gioia' \(3 clips\)"),
        ("users", "aaaa", "dddd", CorpusError, r"users.csv lacks actors(.|\n)*aaaa"),
        ("users", "username", "name", CorpusError, r"lacks columns(.|\n)*username"),
    ],
)
def test_broken_tables(tree: Path, name: str, before: str, after: str, error: type[Exception], message: str) -> None:
    path = tree / "metadata" / f"{name}.csv"
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(error, match=message):
        rows_of("emozionalmente", tree, votes=True)


def test_the_audio_folder_alone(tree: Path) -> None:
    (tree / "metadata").rename(tree.parent / "elsewhere")
    with pytest.raises(CorpusError, match=r"samples.csv is missing(.|\n)*holds audio and metadata"):
        rows_of("emozionalmente", tree / "audio")
