"""The contract of importers whose labels lie in tables: every row keeps it, under every value of every option."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ser_probe.data.corpora import IMPORTERS, import_corpus
from ser_probe.data.labels import EMOTIONS
from ser_probe.data.manifest import Manifest, read_manifest, write_manifest
from ser_probe.data.manifest_check import check_manifest
from ser_probe.data.schemes import SPLITS
from ser_probe.errors import CorpusError
from tests.data.conftest import look_at_wav, write_wavs
from tests.data.corpora.rows_of import rows_of
from tests.data.corpora.trees_of_tables import TREES_OF_TABLES

FILLED = ["path", "label", "label_code", "speaker", "language", "corpus"]
NUMBERS = ("arousal", "valence", "dominance")


def _options(name: str) -> list[dict[str, object]]:
    """Return one set of options for every value of every option, and the default."""
    options = IMPORTERS[name].options
    return [{}] + [
        {key: value}
        for key, option in options.items()
        for value in (option.choices or ((True, False) if isinstance(option.default, bool) else ()))
        if value != option.default
    ]


CASES = [(name, options) for name in TREES_OF_TABLES for options in _options(name)]


@pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{options}" for name, options in CASES])
def test_rows_keep_the_contract(name: str, options: dict[str, object], tmp_path: Path) -> None:
    root = TREES_OF_TABLES[name](tmp_path / "corpus")
    imported = import_corpus(name, root, **options)
    table = imported.table
    assert len(table) > 0
    assert [column for column in FILLED if column not in table] == []
    assert not table.isna().any(axis=None)
    assert not (table[FILLED] == "").any(axis=None)
    assert set(table["label"]) <= set(EMOTIONS)
    assert set(table.get("gender", pd.Series(["female"]))) <= {"female", "male", ""}
    assert set(table["corpus"]) == {name}
    assert table["path"].is_monotonic_increasing
    assert table["path"].is_unique
    assert table.index.equals(pd.RangeIndex(len(table)))
    assert all((root / path).is_file() for path in table["path"])
    assert all(pd.api.types.is_float_dtype(table[column]) for column in NUMBERS if column in table)
    assert all(pd.api.types.is_integer_dtype(table[column]) for column in table.filter(like="votes_"))
    assert set(table.get("split", pd.Series(["train"]))) <= set(SPLITS)
    assert imported.facts[0].startswith("labels (")


@pytest.mark.parametrize("name", TREES_OF_TABLES)
def test_rows_pass_the_check_and_survive_a_file(name: str, tmp_path: Path) -> None:
    root = TREES_OF_TABLES[name](tmp_path / "corpus")
    table = rows_of(name, root)
    report = check_manifest(Manifest(table, root), look_at_wav, for_learning=False)
    assert report.faults == []
    back = read_manifest(write_manifest(table, tmp_path / "m.csv"), audio_root=root)
    assert back.notes == ()
    pd.testing.assert_frame_equal(back.table, table, check_dtype=False)


@pytest.mark.parametrize("name", TREES_OF_TABLES)
def test_the_corpus_is_found_below_another_folder(name: str, tmp_path: Path) -> None:
    TREES_OF_TABLES[name](tmp_path / "data" / "corpora" / "x")
    table = rows_of(name, tmp_path / "data")
    assert table["path"].str.startswith("corpora/x/").all()


@pytest.mark.parametrize("name", TREES_OF_TABLES)
def test_another_corpus_is_named(name: str, tmp_path: Path) -> None:
    write_wavs(tmp_path, ["f1/dis-f1-b1.wav", "f1/gio-f1-b1.wav", "f1/neu-f1-b1.wav"])
    with pytest.raises(CorpusError, match="its files are named like EMOVO's"):
        rows_of(name, tmp_path)


@pytest.mark.parametrize("name", TREES_OF_TABLES)
def test_the_corpus_twice_in_one_folder_is_refused(name: str, tmp_path: Path) -> None:
    for copy in ("one", "two"):
        TREES_OF_TABLES[name](tmp_path / copy)
    with pytest.raises(CorpusError, match=r"more than once(.|\n)*give one of them as the folder, such as"):
        rows_of(name, tmp_path)


def test_tables_beside_the_folder_that_was_given_are_not_read(tmp_path: Path) -> None:
    """No file outside the folder that the user named is opened, though the corpus has it there."""
    root = TREES_OF_TABLES["nemo"](tmp_path / "corpus")
    assert len(rows_of("nemo", root))
    with pytest.raises(CorpusError, match=r"nEMO's data\.tsv is missing(.|\n)*give the folder that holds samples"):
        rows_of("nemo", root / "samples")
