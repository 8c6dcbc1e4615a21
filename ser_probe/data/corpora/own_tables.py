"""The tables that come with a corpus: label files, speakers, votes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ser_probe.data.columns import name_columns, settle_cells
from ser_probe.data.identities import settle_identities
from ser_probe.errors import CorpusError, shorten


def read_own_table(
    path: Path,
    columns: Sequence[str],
    title: str,
    *,
    separator: str = ",",
    encoding: str = "utf-8-sig",
    fix: str = "give the whole corpus as it was unpacked, not its audio folder alone",
) -> pd.DataFrame:
    """Read a table of a corpus as text; blanks around cells are removed.

    Args:
        path: The file.
        columns: The columns that it must have.
        title: The corpus's name.
        separator: What is between two cells.
        encoding: Of the file.
        fix: What to do where the file is missing.

    Raises:
        CorpusError: If it is missing, cannot be read, or lacks a column.
    """
    if not path.is_file():
        raise CorpusError(f"{title}'s {path.name} is missing", where=path, fix=fix)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, sep=separator, encoding=encoding)
    except ValueError as error:  # pandas' parser errors and wrong encodings are kinds of ValueError
        raise CorpusError(f"{title}'s {path.name} is not a readable table", where=path, found=error) from error
    table.columns = table.columns.str.strip()
    if [name for name in columns if name not in table]:
        raise CorpusError(
            f"{title}'s {path.name} lacks columns", where=path, expected=shorten(columns), found=shorten(table.columns)
        )
    return table.apply(lambda cells: cells.str.strip())


def settle_as_manifest(table: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return a user's own table read as a manifest of the same cells is read, and what was changed, a line each.

    Raises:
        ManifestError: If two columns would have one name, or a cell holds what no text may.
    """
    table = table.set_axis(name_columns(list(map(str, table.columns)), root), axis=1)
    table, cell_notes = settle_cells(table, root)
    table, name_notes = settle_identities(table, root)
    return table, [*cell_notes, *name_notes]
