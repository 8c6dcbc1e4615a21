"""Tables: twice on disk with the same content, key columns first, whole or not there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ser_probe.errors import AnalysisError
from ser_probe.steps.tables import KEY_COLUMNS, read_table, write_table


def test_two_formats_and_the_shared_columns_first(tmp_path: Path) -> None:
    table = pd.DataFrame({"own": [1, 2], "n": [3, 4], "step": [0, 50], "model": ["a", "b"], "corpus": "c"})
    parquet, csv = write_table(table, tmp_path / "tables", "probe")
    assert [parquet.name, csv.name] == ["probe.parquet", "probe.csv"]
    expected = ["corpus", "model", "step", "n", "own"]
    assert list(pd.read_csv(csv).columns) == expected
    read = read_table(tmp_path / "tables", "probe")
    assert list(read.columns) == expected
    pd.testing.assert_frame_equal(read, table[expected])


def test_the_key_columns_are_those_of_the_contract() -> None:
    assert " ".join(KEY_COLUMNS) == (
        "corpus model run_seed checkpoint step layer pooling feature measure value ci_low ci_high n"
    )


def test_a_write_that_fails_leaves_the_table_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(pd.DataFrame({"n": [1]}), tmp_path, "t")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(self: pd.DataFrame, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", fail)
    with pytest.raises(OSError, match="No space left"):
        write_table(pd.DataFrame({"n": [2]}), tmp_path, "t")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="A table is missing"):
        read_table(tmp_path, "probe")
