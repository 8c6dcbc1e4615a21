from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.data.manifest import read_manifest
from ser_probe.data.table_files import read_table
from ser_probe.errors import ManifestError, MissingExtraError

FRAME = pd.DataFrame(
    {
        "path": ["a.wav", "b.wav", "c.wav", "d.wav"],
        "Emotion": ["joy", "Joy", "sad\u200b", "NA"],
        "actor": [1.0, 2.0, np.nan, 3.0],
        "gender": ["F", None, "m", "M"],
        "valence": [1.5, np.nan, 2.0, 3.0],
        "rating": pd.Series([1, None, 3, 4], dtype="Int64"),
        "acted": [True, False, True, True],
        "day": pd.to_datetime(["2020-01-01", "2020-01-02", None, "2020-01-03"]),
        "take": [1.0, 2.0, 3.0, 4.0],
        "pitch": np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32),
        "code": ["007", "008", "1", "2"],
        "kind": pd.Categorical(["x", "y", "x", None]),
        "age": ["31", "n/a", "29", "30"],
        "text": ["well, yes", ' "quoted"', "né", ""],
    }
)


def write_as(name: str, folder: Path) -> Path:
    path = folder / name
    if path.suffix == ".parquet":
        (FRAME.set_index("path") if name.startswith("index") else FRAME).to_parquet(path)
    elif path.suffix == ".xlsx":
        pytest.importorskip("openpyxl", reason="the extra excel is not installed")
        FRAME.to_excel(path, index=False)
    else:
        FRAME.to_csv(path, index=name.startswith("index"), sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("name", ["m.tsv", "m.parquet", "m.xlsx", "index.csv", "index.parquet"])
def test_one_data_frame_means_the_same_in_every_format(tmp_path: Path, name: str) -> None:
    one, other = read_manifest(write_as("m.csv", tmp_path)), read_manifest(write_as(name, tmp_path))
    pd.testing.assert_frame_equal(other.table, one.table)
    assert other.notes == one.notes
    assert one.table["speaker"].tolist() == ["1", "2", "", "3"]
    assert one.table["label"].tolist() == ["joy", "joy", "sad", "NA"]
    assert one.table["take"].tolist() == [1, 2, 3, 4]
    assert one.table["pitch"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert one.table["age"].tolist()[:1] == [31]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_workbook_is_read_by_its_first_sheet_that_holds_something(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl", reason="the extra excel is not installed")
    path = tmp_path / "m.xlsx"
    with pd.ExcelWriter(path) as book:
        pd.DataFrame().to_excel(book, sheet_name="empty", index=False)
        pd.DataFrame({"path": ["a.wav", None, "b.wav"], "speaker": ["01", None, 2]}).to_excel(
            book, sheet_name="clips", index=False
        )
        pd.DataFrame({"x": [1]}).to_excel(book, sheet_name="more", index=False)
    manifest = read_manifest(path)
    assert manifest.table["speaker"].tolist() == ["01", "2"]
    assert manifest.notes[0] == "the sheet 'clips' is read; 'empty', 'more' not"


def test_a_workbook_needs_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"workbook of Excel needs(.|\n)*pip install 'ser-probe\[excel\]'"):
        read_table(write(tmp_path / "m.xlsx", b"PK\x03\x04"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_says_how_to_read(tmp_path: Path, encoding: str) -> None:
    manifest = read_manifest(write(tmp_path / "m.csv", "path\tlabel\na.wav\tcolère\n".encode(encoding)))
    assert manifest.table["label"].tolist() == ["colère"]
    assert bool(manifest.notes) == (encoding != "utf-8-sig")


def test_excel_states_its_delimiter(tmp_path: Path) -> None:
    table, _ = read_table(write(tmp_path / "m.csv", "sep=;\npath;valence\na.wav;1,5\n"))
    assert table["valence"].tolist() == ["1,5"]


def test_blank_cells_beyond_the_header_and_blank_rows_are_no_data(tmp_path: Path) -> None:
    table, _ = read_table(write(tmp_path / "m.csv", "path,label,\na.wav,x,,,\n,,\n  ,\nb.wav,y,\n"))
    assert table.to_dict("list") == {"path": ["a.wav", "b.wav"], "label": ["x", "y"]}


def test_a_flood_of_faults_is_three_and_a_number(tmp_path: Path) -> None:
    rows = "".join(f"x{number}.wav,a,s,well, yes\n" for number in range(2000))
    path = write(tmp_path / "m.csv", "path,label,speaker,text\n" + rows)
    with pytest.raises(ManifestError, match=r"2000 faults(.|\n)*line 2: 5 cells(.|\n)*and 1997 more") as caught:
        read_table(path)
    assert 'must stand in quotes, as in "well, yes"' in str(caught.value)
    assert len(str(caught.value).splitlines()) == 7
    with pytest.raises(ManifestError, match="give every row a cell for each column"):
        read_table(write(tmp_path / "short.csv", "path,label\na.wav\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\na.wav,colère\n".encode("cp1252"), r"line 2(.|\n)*cp1252(.|\n)*colère(.|\n)*iconv -f CP1252"),
        ("path,label\na.wav,x\n".encode("utf-16-le"), r"in UTF-16LE, without the mark(.|\n)*iconv -f UTF-16LE"),
        ("path,label\na.wav,x\n".encode("utf-16-be"), "in UTF-16BE"),
        ("\ufeffpath,label\n".encode("utf-16") + b"x", "mark of UTF-16, and is not text in it"),
        (b"path,label\na.wav,\x81\x8d\xff\n", "not text in UTF-8"),
        (b"path,label\na.wav,x\nb\0.wav,y\n", r"NUL characters(.|\n)*line 3"),
        (b"path,label\n", r"is empty: it names columns and no clip(.|\n)*'path', 'label'"),
        (b"PAR1....", "a Parquet file: call it .parquet"),
        (b"PK\x03\x04....", r"call it \.xlsx"),
        (b"\x1f\x8b....", "unpack it first"),
        (b'path,label\n"a.wav,x\n', r"not a table(.|\n)*line 2(.|\n)*written twice"),
    ],
)
def test_what_is_no_text_in_utf_8_is_called_by_its_name(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(write(tmp_path / "m.csv", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path label speaker\na b c\n", r"no column 'path'(.|\n)*'path label speaker'(.|\n)*commas, semicolons"),
        ("file,label\na.wav,x\n", r"'file', 'label'(.|\n)*prepare table m.csv --path-column"),
        ("a.wav,anger,01\nb.wav,joy,02\n", r"'a.wav', 'anger', '01'(.|\n)*name the columns in the first line"),
        ('{"path": 1}\n{"path": 2}\n', "no column 'path'"),
    ],
)
def test_a_table_without_paths_is_no_manifest(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(write(tmp_path / "m.csv", content))


def test_columns_are_renamed_as_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "file,emo,sex\na.wav,x,F\n")
    table = read_manifest(path, rename={"file": "path", "emo": "label", "sex": "gender"}).table
    assert table.to_dict("list") == {"path": ["a.wav"], "label": ["x"], "gender": ["female"]}
    with pytest.raises(ManifestError, match=r"no column 'fil' to rename(.|\n)*did you mean 'file'"):
        read_manifest(path, rename={"fil": "path"})
    with pytest.raises(ManifestError, match="'emo', 'sex' all mean 'label'"):
        read_manifest(path, rename={"file": "path", "emo": "label", "sex": "label"})


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"not a readable Parquet file(.|\n)*it is a workbook"):
        read_table(write(tmp_path / "m.parquet", b"PK\x03\x04...."))
    pd.DataFrame({"path": []}).to_parquet(tmp_path / "none.parquet")
    with pytest.raises(ManifestError, match="names columns and no clip"):
        read_table(tmp_path / "none.parquet")
