"""Parquet files, read so that an error names the file and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ser_probe.errors import DamagedFileError


def read_parquet(path: Path, *, fix: str | None = None) -> pd.DataFrame:
    """Return the table of a Parquet file.

    Args:
        path: The file.
        fix: What to do about one that cannot be read.

    Raises:
        DamagedFileError: If it is no Parquet, is damaged, or has columns without a name of their own.
        OSError: If it is not there, or the disk does not give it.
    """
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # what pandas and pyarrow raise on damaged bytes has no class in common
        if isinstance(error, OSError) and error.errno is not None:
            raise
        fault = " ".join(str(error).split()) or type(error).__name__
    else:
        names = list(table.columns)
        if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
            return table
        fault = f"the columns {', '.join(map(str, names))}"
    expected = "Parquet, with a name of its own for each column"
    raise DamagedFileError("The table cannot be read", where=path, expected=expected, found=fault, fix=fix)
