from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ser_probe.data.joining import JoinedManifests, join_manifests, relative_paths
from ser_probe.data.manifest import Manifest, read_manifest
from ser_probe.errors import ManifestError


def manifest(root: Path, name: str, **columns: object) -> Manifest:
    """Return a manifest of two speakers with two labels, written and read as a user's."""
    rows = {
        "path": [f"{name}/{speaker}-{label}.wav" for speaker in ("01", "02") for label in ("anger", "joy")],
        "label": ["anger", "joy"] * 2,
        "speaker": ["01", "01", "02", "02"],
        "sentence": ["b1", "b2"] * 2,
        "corpus": name,
    }
    root.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows | columns)
    table.drop(columns=[key for key, value in columns.items() if value is None]).to_csv(
        root / f"{name}.csv", index=False
    )
    return read_manifest(root / f"{name}.csv")


def said(joined: JoinedManifests) -> str:
    return "\n".join([*joined.notes, *(line for lines in joined.facts.values() for line in lines)])


def test_people_and_sentences_of_two_corpora_stay_apart(tmp_path: Path) -> None:
    joined = join_manifests([manifest(tmp_path, "a"), manifest(tmp_path, "b", sentence=["b01", "b02"] * 2)])
    assert set(joined.table["speaker"]) == {"a/01", "a/02", "b/01", "b/02"}
    assert set(joined.table["sentence"]) == {"a/b1", "a/b2", "b/b01", "b/b02"}
    assert joined.table["path"].tolist()[0] == str(tmp_path / "a" / "01-anger.wav")
    assert joined.table["label"].tolist() == ["anger", "happiness"] * 4
    assert joined.table["label_code"].tolist() == ["anger", "joy"] * 4


def test_a_text_is_the_same_sentence_in_all(tmp_path: Path) -> None:
    text = {"sentence": ["L’autunno prossimo", "Il gatto"] * 2}
    joined = join_manifests([manifest(tmp_path, "a", **text), manifest(tmp_path, "b", **text)])
    assert set(joined.table["sentence"]) == {"L’autunno prossimo", "Il gatto"}


def test_two_parts_of_one_corpus_have_the_same_people(tmp_path: Path) -> None:
    parts = [manifest(tmp_path / name, name, corpus="a", speaker=["x", "x", "y", "y"]) for name in ("one", "two")]
    joined = join_manifests(parts)
    assert set(joined.table["speaker"]) == {"x", "y"}
    assert set(joined.table["corpus"]) == {"a"}


def test_a_manifest_without_a_corpus_is_called_after_its_file(tmp_path: Path) -> None:
    joined = join_manifests([manifest(tmp_path, "mine", corpus=None), manifest(tmp_path, "b")])
    assert set(joined.table["corpus"]) == {"mine", "b"}
    assert "4 clips name no corpus and belong to one called 'mine'" in said(joined)
    twins = [manifest(tmp_path / folder, "m", corpus=None) for folder in ("x", "y")]
    assert set(join_manifests(twins).table["corpus"]) == {"x_m", "y_m"}


def test_a_clip_in_two_manifests_counts_once(tmp_path: Path) -> None:
    one = manifest(tmp_path, "a")
    joined = join_manifests([one, manifest(tmp_path, "b"), one])
    assert len(joined.table) == 8
    assert "4 clips are in several manifests and count once" in said(joined)


def test_ids_of_clips(tmp_path: Path) -> None:
    own = {"clip_id": ["1", "2", "3", "4"]}
    joined = join_manifests([manifest(tmp_path, "a", **own), manifest(tmp_path, "b", **own)])
    assert joined.table["clip_id"].tolist() == [f"{corpus}/{number}" for corpus in "ab" for number in range(1, 5)]
    assert "8 clips have an id that several corpora use, and are named as a/1" in said(joined)
    made = {"clip_id": [f"{number:032x}" for number in range(4)]}
    joined = join_manifests([manifest(tmp_path, "c", **made), manifest(tmp_path, "d", **made)])
    assert joined.table["clip_id"].tolist() == made["clip_id"] * 2
    assert "the same audio is in several corpora, 4 times" in said(joined)
    joined = join_manifests([manifest(tmp_path, "c", **made), manifest(tmp_path, "e")])
    assert "clip_id" not in joined.table
    assert "'clip_id' is dropped" in said(joined)


def test_splits_are_kept_where_all_have_them(tmp_path: Path) -> None:
    split = {"split": ["train", "train", "test", "test"]}
    both = [manifest(tmp_path, "a", **split), manifest(tmp_path, "b", **split)]
    assert join_manifests(both).table["split"].tolist() == split["split"] * 2
    assert "split" not in join_manifests(both, splits="drop").table
    one = [both[0], manifest(tmp_path, "c")]
    joined = join_manifests(one)
    assert "split" not in joined.table
    assert joined.facts["splits"] == ("dropped, because not every manifest has them",)
    with pytest.raises(ManifestError, match=r"cannot be kept that are not there\n  where: .*c.csv"):
        join_manifests(one, splits="keep")


def test_columns_that_one_lacks_are_empty_there(tmp_path: Path) -> None:
    joined = join_manifests([manifest(tmp_path, "a", arousal=[1.5, 2, 3, 5], level="high"), manifest(tmp_path, "b")])
    assert joined.table["arousal"].isna().sum() == 4
    assert joined.table["level"].tolist() == ["high"] * 4 + [""] * 4
    assert "columns that not every manifest has, with empty cells for the others: arousal, level" in said(joined)
    joined = join_manifests(
        [manifest(tmp_path, "a", arousal=[1.5, 2, 3, 5]), manifest(tmp_path, "b", arousal=[1, 4, 6, 7])]
    )
    assert "arousal is rated in several corpora, maybe on different scales: a 1.5 to 5, b 1 to 7" in said(joined)
    joined = join_manifests([manifest(tmp_path, "a"), manifest(tmp_path, "c", speaker=None)])
    assert "c.csv names no speakers: its clips cannot be split by speaker" in said(joined)


def test_what_cannot_be_joined(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"Two manifests or more are joined\n  found: 1"):
        join_manifests([manifest(tmp_path, "a")])
    with pytest.raises(
        ManifestError, match=r"without labels cannot be joined\n  where: .*c.csv\n  to do: .*--label-column"
    ):
        join_manifests([manifest(tmp_path, "a"), manifest(tmp_path, "c", label=None)])


def test_how_paths_are_written(tmp_path: Path) -> None:
    paths = [str(tmp_path / "data" / "a.wav"), str(tmp_path / "data" / "b" / "c.wav")]
    assert relative_paths(paths, None, tmp_path) == (["data/a.wav", "data/b/c.wav"], f"relative to {tmp_path}")
    assert relative_paths(paths, None, tmp_path / "lists") == (paths, "absolute")
    assert relative_paths(paths, tmp_path / "data", tmp_path / "lists")[0] == ["a.wav", "b/c.wav"]
    with pytest.raises(
        ManifestError, match=r"1 clips do not lie below the root(.|\n)*a folder around them, such as .*/data"
    ):
        relative_paths(paths, tmp_path / "data" / "b", tmp_path)
