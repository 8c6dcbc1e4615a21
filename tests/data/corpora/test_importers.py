"""One contract for every importer there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ser_probe.data.corpora import IMPORTERS, import_corpus
from ser_probe.data.labels import EMOTIONS
from ser_probe.data.manifest import Manifest, read_manifest, write_manifest
from ser_probe.data.manifest_check import check_manifest
from ser_probe.errors import CorpusError
from tests.data.conftest import look_at_wav, write_wavs
from tests.data.corpora.rows_of import notes_of, rows_of
from tests.data.corpora.trees import TREES, Tree, grow_tree
from tests.data.corpora.trees_of_tables import TREES_OF_TABLES

COLUMNS = ["path", "label", "speaker", "gender", "sentence", "language", "corpus"]
PAGE = Path(__file__).resolve().parents[3] / "docs" / "corpora.md"
# What lies in tables has a contract of its own; corpora of one's own and the sample have tests of their own.
WITH_TREE = sorted({name for name, importer in IMPORTERS.items() if importer.clip} - {*TREES_OF_TABLES})


@pytest.fixture(params=WITH_TREE)
def imported(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, pd.DataFrame]:
    root = grow_tree(request.param, request, tmp_path)
    return request.param, root, rows_of(request.param, root)


def test_rows_keep_the_contract(imported: tuple[str, Path, pd.DataFrame]) -> None:
    name, root, table = imported
    tree = TREES.get(name, Tree([]))
    assert [column for column in COLUMNS if column not in table] == [name for name in COLUMNS if name in tree.lacks]
    assert not table.isna().any(axis=None)
    blanks = (table == "").sum()
    assert set(blanks[blanks > 0].index) <= {*tree.blanks, "version"}
    assert (blanks < len(table)).all(), "a column that is never filled is not there"
    assert set(table["label"]) <= set(EMOTIONS)
    assert set(table.get("gender", [])) == tree.genders
    assert set(table["corpus"]) == {name}
    assert table["label_code"].groupby(table["label"]).nunique().eq(1).all()
    assert table["path"].is_monotonic_increasing
    assert table["path"].is_unique
    assert table.index.equals(pd.RangeIndex(len(table)))
    assert all((root / path).is_file() for path in table["path"])
    clips = [path for path in root.rglob("*") if path.name.lower().endswith(IMPORTERS[name].suffixes)]
    assert sorted(clips) == sorted(root / path for path in table["path"])


def test_rows_pass_the_check_and_survive_a_file(imported: tuple[str, Path, pd.DataFrame], tmp_path: Path) -> None:
    _, root, table = imported
    report = check_manifest(Manifest(table, root), look_at_wav, for_learning="speaker" in table)
    assert report.faults == report.warnings == []
    back = read_manifest(write_manifest(table, tmp_path / "m.csv"), audio_root=root).table
    pd.testing.assert_frame_equal(back, table, check_dtype=False)


@pytest.mark.parametrize("name", sorted(name for name, tree in TREES.items() if tree.left_out))
def test_clips_that_are_left_out_are_mentioned(name: str, tmp_path: Path) -> None:
    tree = TREES[name]
    before = rows_of(name, write_wavs(tmp_path, tree.names))
    silent = notes_of(name, tmp_path)
    write_wavs(tmp_path, list(tree.left_out))
    pd.testing.assert_frame_equal(rows_of(name, tmp_path), before)
    assert len(set(notes_of(name, tmp_path).splitlines()) - set(silent.splitlines())) > 0


@pytest.mark.parametrize("name", WITH_TREE)
def test_a_home_relative_root_is_expanded(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = grow_tree(name, request, tmp_path)
    monkeypatch.setenv("HOME", str(root.parent))
    pd.testing.assert_frame_equal(rows_of(name, Path(f"~/{root.name}")), rows_of(name, root))


@pytest.mark.parametrize("name", sorted(IMPORTERS))
def test_entries_are_described(name: str) -> None:
    importer = IMPORTERS[name]
    assert importer.name == name
    assert all([importer.title, importer.holds, importer.paper, importer.licence, importer.layout])
    assert (importer.rows is None) != (importer.read is None), "one way to make rows"
    assert bool(importer.clip) == (importer.rows is not None)
    for option in importer.options.values():
        assert option.text
        assert not option.choices or option.default in option.choices
    with pytest.raises(CorpusError, match="has no option 'colour'"):
        import_corpus(name, "anywhere", colour="red")


@pytest.mark.parametrize("name", sorted(IMPORTERS))
def test_the_page_of_corpora_has_each_with_its_counts_and_choices(name: str) -> None:
    importer = IMPORTERS[name]
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    [line] = [line for line in lines if f"| `{name}` |" in line]
    assert [option for option in importer.options if f"`{option}`" not in line] == []
    if importer.published is not None:
        _, title, _, clips, speakers, *_ = line.split("|")
        assert importer.title in title
        assert str(importer.published.clips) in clips
        assert importer.published.speakers is None or int(speakers) >= importer.published.speakers


def test_unknown_importer() -> None:
    with pytest.raises(CorpusError, match=r"no importer of that name(.|\n)*did you mean 'emovo'"):
        import_corpus("emowo", "anywhere")


def test_listing_the_importers_loads_no_pandas() -> None:
    load = "import sys; from ser_probe.data.corpora import IMPORTERS; [*IMPORTERS.values()]"
    code = f"{load}; print('pandas' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_the_sample_is_handed_its_folder_and_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # What it makes is the matter of its own test; here only the way there.
    sample = pytest.importorskip("ser_probe.data.sample")
    calls: list[tuple[Path, dict[str, object]]] = []

    def write(root: Path, **options: object) -> pd.DataFrame:
        calls.append((root, options))
        return pd.DataFrame({"label": ["anger"]})

    monkeypatch.setattr(sample, "write_sample_corpus", write)
    monkeypatch.setenv("HOME", str(tmp_path))
    import_corpus("sample", "~/made", seed=3)
    assert calls == [(tmp_path / "made", {"seed": 3, "n_speakers": 16, "n_sentences": 6})]
    with pytest.raises(CorpusError, match=r"'n_speakers' cannot be 'many'(.|\n)*expected: int"):
        import_corpus("sample", "~/made", n_speakers="many")
