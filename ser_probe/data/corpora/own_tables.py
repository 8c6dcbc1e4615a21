"""The tables that come with a corpus: label files, speakers, votes."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ser_probe.data.columns import name_columns, settle_cells
from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.identities import settle_identities
from ser_probe.errors import CorpusError, shorten

_WHOLE = "give the whole corpus as it was unpacked, not its audio folder alone"


def find_own_file(
    clips: FoundClips, names: Sequence[str], *, folders: Iterable[str] = (".",), fix: str = _WHOLE
) -> Path:
    """Return the first of some files that is there, in the folder that the user gave or below it.

    Args:
        clips: The clips that were found.
        names: What the file may be called.
        folders: Where it may lie, from the corpus's folder.
        fix: What to do where there is none.

    Raises:
        CorpusError: If there is none.
    """
    home, root = Path(os.path.abspath(clips.home)), Path(os.path.abspath(clips.root))
    places = [Path(os.path.normpath(home / folder)) for folder in folders]
    # Where the folder of the clips alone was given, what lies beside it is none of ours.
    places = [place for place in places if place.is_relative_to(root)]
    for place in places:
        for name in names:
            if (place / name).is_file():
                return place / name
    listed = [(place / name).relative_to(root).as_posix() for place in places for name in names]
    raise CorpusError(
        f"{clips.importer.title}'s {names[0]} is missing",
        where=places[0] / names[0] if places else root,
        expected=" or ".join(listed),
        fix=fix,
    )


def read_own_text(path: Path, encodings: Sequence[str] = ("utf-8-sig", "cp1252", "latin-1")) -> str:
    """Return a file's text in the first encoding that fits; a byte order mark goes before them all.

    Raises:
        CorpusError: If none fits.
    """
    content = path.read_bytes()
    marked = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}.get(content[:2])
    for encoding in [marked, *encodings] if marked else encodings:
        try:
            return content.decode(encoding)
        except UnicodeError:
            continue
    raise CorpusError(f"{path.name} is in no encoding that is known for it", where=path, expected=", ".join(encodings))


def read_own_table(
    path: Path,
    columns: Sequence[str],
    title: str,
    *,
    separator: str = ",",
    encoding: str = "utf-8-sig",
    quoted: bool = True,
    fix: str = _WHOLE,
) -> pd.DataFrame:
    """Read a table of a corpus as text; blanks around cells are removed.

    Args:
        path: The file.
        columns: The columns that it must have.
        title: The corpus's name.
        separator: What is between two cells.
        encoding: Of the file.
        quoted: Whether quotes around a cell are no part of it.
        fix: What to do where the file is missing.

    Raises:
        CorpusError: If it is missing, cannot be read, or lacks a column.
    """
    if not path.is_file():
        raise CorpusError(f"{title}'s {path.name} is missing", where=path, fix=fix)
    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, sep=separator, encoding=encoding,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        )  # fmt: skip
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


def settle_numbers(cells: pd.Series) -> pd.Series:
    """Return cells as whole numbers where all of them are; else as they are, since some corpora mask them."""
    return cells.astype(int) if len(cells) and cells.str.isdecimal().all() else cells
