from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.data.manifest import Manifest, read_manifest, resolve_path, write_manifest
from ser_probe.errors import ManifestError

ROWS = [
    ["path", "label", "speaker", "arousal", "note"],
    ["a.wav", "NA", "01", "1.5", "x, y; z"],
    ["sub/b.wav", "None", "002", "", ""],
]


def write_rows(path: Path, delimiter: str = ",", rows: list[list[str]] = ROWS, start: str = "") -> Path:
    lines = [delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in row) for row in rows]
    path.write_text(start + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_delimiter_and_byte_order_mark_are_recognised(tmp_path: Path, delimiter: str, start: str) -> None:
    table = read_manifest(write_rows(tmp_path / "m.csv", delimiter, start=start)).table
    assert list(table.columns) == ROWS[0]
    assert table["note"].tolist() == ["x, y; z", ""]


def test_text_stays_text_and_targets_become_numbers(tmp_path: Path) -> None:
    table = read_manifest(write_rows(tmp_path / "m.csv")).table
    assert table["speaker"].tolist() == ["01", "002"]
    assert table["label"].tolist() == ["NA", "None"]
    assert table["arousal"][0] == 1.5
    assert np.isnan(table["arousal"][1])


def test_unknown_columns_are_numbers_only_where_nothing_is_lost(tmp_path: Path) -> None:
    rows = [
        ["path", "age", "code", "id", "word", ""],
        ["a.wav", "31", "007", "12345678901234567", "nan", "0"],
        ["b.wav", "-2.5e3", "8", "1", "inf", "1"],
    ]
    table = read_manifest(write_rows(tmp_path / "m.csv", rows=rows)).table
    assert table["age"].tolist() == [31, -2500]
    assert table["code"].tolist() == ["007", "8"]
    assert table["id"].tolist() == ["12345678901234567", "1"]
    assert table["word"].tolist() == ["nan", "inf"]
    assert table["column_6"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("path,class_id,actor", ["path", "label", "speaker"]),
        ("path,Emotion,SPEAKER", ["path", "label", "speaker"]),
        ("path,label,emotion,actor", ["path", "label", "emotion", "speaker"]),
    ],
)
def test_aliases(tmp_path: Path, header: str, expected: list[str]) -> None:
    path = tmp_path / "m.csv"
    path.write_text(header + "\n" + ",".join("abcd"[: len(expected)]) + "\n")
    assert list(read_manifest(path).table.columns) == expected


def test_words_for_genders_and_splits(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("path,gender,split\na,F,val\nb,Male,train\nc,other,DEV\nd,,\n")
    table = read_manifest(path).table
    assert table["gender"].tolist() == ["female", "male", "other", ""]
    assert table["split"].tolist() == ["validation", "train", "validation", ""]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("path,class_id,emotion", "'class_id', 'emotion' all mean 'label'"),
        ("path,label,Label", "'label', 'Label' all mean 'label'"),
        ("path,x,x", "'x', 'x' all mean 'x'"),
    ],
)
def test_columns_that_clash(tmp_path: Path, header: str, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(header + "\na,b,c\n")
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)


def test_missing_file_names_those_near(tmp_path: Path) -> None:
    write_rows(tmp_path / "manifest.csv")
    with pytest.raises(ManifestError, match=r"does not exist(.|\n)*did you mean 'manifest.csv'"):
        read_manifest(tmp_path / "manifset.csv")
    with pytest.raises(ManifestError, match=r"the folder .*nowhere does not exist"):
        read_manifest(tmp_path / "nowhere" / "m.csv")
    with pytest.raises(ManifestError, match="it is a folder"):
        read_manifest(tmp_path)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ManifestError, match="its folder holds no manifest"):
        read_manifest(tmp_path / "bare" / "m.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.ods", b"x", r"not known(.|\n)*expected: \.csv(.|\n)*found: \.ods(.|\n)*save it as \.xlsx"),
        ("m", b"x", "found: no suffix"),
        ("m.csv", b"path,label\na.wav,\xff\n", "not text in UTF-8"),
        ("m.csv", b"", "is empty"),
        ("m.csv", b"\n\n", "is empty"),
        ("m.csv", b'path,label\n"a.wav"x,b\n', "is not a table"),
        ("m.csv", b"path,label\na,b\nc\nd,e,f\n", r"2 columns, delimiter comma(.|\n)*line 3: 1 cells(.|\n)*line 4: 3"),
        ("m.parquet", b"path,label\n", "not a readable Parquet file"),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / name)


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.txt", "m.parquet"])
def test_written_manifest_reads_back(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame(
        {
            "path": ["a.wav", 'b "c", d.wav'],
            "label": ["NA", "joy; and | bar"],
            "speaker": ["01", "2"],
            "duration_s": [0.1 + 0.2, np.nan],
            "note": ["", "é\nnew line\ttab"],
        }
    )
    back = read_manifest(write_manifest(table, tmp_path / "new" / name)).table
    pd.testing.assert_frame_equal(back, table)
    assert [file.name for file in (tmp_path / "new").iterdir()] == [name]


def test_parquet_numbers_in_text_columns_become_text(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["a", "b"], "speaker": [1.0, np.nan], "age": [1, 2]})
    table["label"] = pd.Series(["x", pd.NA], dtype="string")
    table.to_parquet(tmp_path / "m.parquet")
    back = read_manifest(tmp_path / "m.parquet").table
    assert back["speaker"].tolist() == ["1", ""]
    assert back["label"].tolist() == ["x", ""]
    assert back["age"].tolist() == [1, 2]


def test_paths_start_from_the_manifest_or_the_audio_root(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "m.csv")
    assert read_manifest(path).audio_paths() == [tmp_path / "a.wav", tmp_path / "sub" / "b.wav"]
    assert read_manifest(path, audio_root="/data").audio_paths()[0] == Path("/data/a.wav")


def test_absolute_and_home_paths_are_the_users_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert resolve_path(Path("/data"), "/else/a.wav") == Path("/else/a.wav")
    assert resolve_path(Path("/data"), "~/a.wav") == Path("/home/someone/a.wav")
    assert resolve_path(Path("/data"), "sub/../a.wav") == Path("/data/a.wav")


@pytest.mark.parametrize("written", ["../a.wav", "sub/../../a.wav", ".."])
def test_relative_paths_stay_below_the_audio_root(written: str) -> None:
    with pytest.raises(ManifestError, match="climbs out of the audio root"):
        resolve_path(Path("/data"), written)


def test_a_path_that_climbs_needs_the_root_that_the_message_names(tmp_path: Path) -> None:
    path = tmp_path / "corpus" / "manifests" / "m.csv"
    path.parent.mkdir(parents=True)
    path.write_text("path\n../wav/x.wav\n")
    with pytest.raises(ManifestError, match="climbs out") as caught:
        read_manifest(path).audio_paths()
    named = str(caught.value.fix).split("--audio-root ")[1].split(" (")[0]
    assert named == str(tmp_path / "corpus")
    clip = tmp_path / "corpus" / "wav" / "x.wav"
    for root in (named, tmp_path / "corpus" / "wav", tmp_path):
        assert read_manifest(path, audio_root=root).audio_paths() == [clip]
    assert list(read_manifest(path).reachable_paths()) == []
    back = read_manifest(write_manifest(read_manifest(path, audio_root=named), tmp_path / "out.csv"))
    assert back.table["path"].tolist() == ["corpus/wav/x.wav"]


def test_a_link_does_not_lead_out_of_the_audio_root() -> None:
    # What is opened is what was looked at: the system would go up from where `link` leads to.
    assert resolve_path(Path("/data"), "link/../a.wav") == Path("/data/a.wav")


@pytest.mark.parametrize("place", ["m.csv", "below/m.csv", "audio/m.csv"])
def test_a_manifest_written_elsewhere_still_finds_its_audio(tmp_path: Path, place: str) -> None:
    table = pd.DataFrame({"path": ["sub/a.wav", "/else/b.wav"]})
    manifest = Manifest(table, audio_root=tmp_path / "audio")
    back = read_manifest(write_manifest(manifest, tmp_path / place))
    assert back.audio_paths() == manifest.audio_paths()
    assert table["path"].tolist() == ["sub/a.wav", "/else/b.wav"]
    # Below the manifest's folder, a path can move along with it.
    assert Path(back.table["path"][0]).is_absolute() == (place == "below/m.csv")


def test_writing_refuses_an_unknown_suffix_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"found: \.json"):
        write_manifest(pd.DataFrame({"path": ["a"]}), tmp_path / "m.json")
    assert list(tmp_path.iterdir()) == []
