from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.errors import ManifestError
from tests.data.conftest import EMOVO_CLIPS, write_wavs
from tests.data.corpora.rows_of import rows_of


def test_names_are_read(emovo_tree: Path) -> None:
    row = rows_of("emovo", emovo_tree).set_index("path").loc["m2/gio-m2-n3.wav"]
    assert row.to_dict() == {
        "label": "happiness", "label_code": "gio", "speaker": "m2", "gender": "male", "sentence": "n3",
        "language": "it", "corpus": "emovo",
    }  # fmt: skip


def test_flat_folder_and_capitals(tmp_path: Path) -> None:
    write_wavs(tmp_path, [path.split("/")[1].upper() for path in EMOVO_CLIPS])
    table = rows_of("emovo", tmp_path)
    assert len(table) == len(EMOVO_CLIPS)
    assert set(table["speaker"]) == {"f1", "f2", "f3", "m1", "m2", "m3"}


def test_unknown_emotion(emovo_tree: Path) -> None:
    write_wavs(emovo_tree, ["f1/rob-f1-b1.wav"])
    with pytest.raises(ManifestError, match=r"'rob' \(1 clips\): did you mean 'rab'"):
        rows_of("emovo", emovo_tree)


def test_the_real_corpus(emovo_root: Path) -> None:
    table = rows_of("emovo", emovo_root)
    assert len(table) == 588
    # Every actor speaks every sentence in every state once.
    assert (table.groupby(["speaker", "sentence", "label"]).size() == 1).all()
    assert table[["speaker", "sentence", "label"]].nunique().tolist() == [6, 14, 7]
