"""Tidy tables on disk: each is written as Parquet (types kept) and CSV (opens anywhere), atomically."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from ser_probe.data.parquet import read_parquet
from ser_probe.errors import AnalysisError
from ser_probe.files import atomic_path, write_text

KEY_COLUMNS = (
    *("corpus", "model", "run_seed", "checkpoint", "step", "layer", "pooling"),
    *("feature", "measure", "value", "ci_low", "ci_high", "n"),
)
"""The columns that all tables share, in their order; a table holds those that it has, then its own."""


def write_table(table: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Write `<name>.parquet` and `<name>.csv` into a folder, shared key columns first.

    Returns:
        Both paths.
    """
    first = [column for column in KEY_COLUMNS if column in table.columns]
    table = table[[*first, *(column for column in table.columns if column not in first)]]
    paths = [folder / f"{name}.parquet", folder / f"{name}.csv"]
    with atomic_path(paths[0]) as temporary:
        table.to_parquet(temporary, index=False)
    write_csv(table, paths[1])
    return paths


def replace_tables(tables: Mapping[str, pd.DataFrame], folder: Path, names: Iterable[str]) -> list[Path]:
    """Write those of the named tables that there are, and remove the others, which an earlier run wrote."""
    files: list[Path] = []
    for name in names:
        if name in tables:
            files += write_table(tables[name], folder, name)
        else:
            for suffix in (".parquet", ".csv"):
                (folder / f"{name}{suffix}").unlink(missing_ok=True)
    return files


def replace_text(path: Path, text: str | None) -> list[Path]:
    """Write a text file and return its path; without a text, remove that of an earlier run."""
    if text is None:
        path.unlink(missing_ok=True)
        return []
    write_text(path, text)
    return [path]


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, atomically."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def write_rejects(rejects: pd.DataFrame, path: Path) -> Path | None:
    """Write the table of unusable clips and return its path; without any, delete the table of an earlier run."""
    path.unlink(missing_ok=True)
    if not len(rejects):
        return None
    write_csv(rejects, path)
    return path


def read_tables(files: Iterable[Path]) -> dict[str, pd.DataFrame]:
    """Return the tables among what a step has written, by name."""
    return {path.stem: pd.read_parquet(path) for path in files if path.suffix == ".parquet"}


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read a table by name from its Parquet file.

    Raises:
        AnalysisError: If it is not there.
        DamagedFileError: If it cannot be read.
    """
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise AnalysisError("A table is missing", where=path, fix="run the analysis that writes it first")
    return read_parquet(path, fix="run the analysis that writes it again")
