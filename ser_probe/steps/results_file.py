"""Tables of results that someone else may have made: CSV, TSV or Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ser_probe.data.parquet import read_parquet
from ser_probe.errors import AnalysisError, DamagedFileError

_DELIMITERS = ",;\t|"
_PARQUET = (".parquet", ".pq")


def read_results(path: Path) -> pd.DataFrame:
    """Read a table; of a text file the delimiter is found in its header.

    Only empty cells and `NaN` are missing: a level may well be called `none` or `NA`.

    Raises:
        AnalysisError: If the file is missing, empty, or no table.
    """
    if not path.is_file():
        near = sorted(str(file) for file in path.parent.glob("*.csv")) if path.parent.is_dir() else []
        listed = ", ".join(near[:5]) if near else None
        raise AnalysisError("There is no such table", where=path, found=listed, fix="give a CSV, TSV or Parquet file")
    try:
        if path.suffix.lower() in _PARQUET:
            return read_parquet(path)
        header = next((line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()), "")
        delimiter = max(_DELIMITERS, key=header.count)
        table = pd.read_csv(
            path, sep=delimiter, encoding="utf-8-sig", keep_default_na=False, na_values=["", "NaN", "nan"],
            skipinitialspace=True,
        )  # fmt: skip
    except (ValueError, OSError) as error:  # what pandas and the decoder raise are kinds of ValueError
        raise AnalysisError(
            "The table cannot be read",
            where=path,
            expected="CSV or TSV in UTF-8 with a line of column names, or Parquet",
            found=error.found if isinstance(error, DamagedFileError) else " ".join(str(error).split()),
        ) from error
    return table.rename(columns=lambda name: str(name).strip())
