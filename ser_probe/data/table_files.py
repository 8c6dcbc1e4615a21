"""A file of rows as a table: text with a delimiter, Parquet, or a workbook of Excel.

Errors say what the file is instead: another encoding, another format under this suffix, rows that do not fit the
header. What the cells mean is decided in `columns`.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd

from ser_probe.data.columns import ALIASES, NUMBER_COLUMNS, TEXT_COLUMNS, refuse_unusable
from ser_probe.errors import ManifestError, SerProbeError, collect, did_you_mean
from ser_probe.packages import require

T = TypeVar("T")
_Row = tuple[int, Sequence[object]]  # line and cells

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
PARQUET_SUFFIXES = (".parquet", ".pq")
WORKBOOK_SUFFIXES = (".xlsx", ".xlsm")

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SHOWN = 3
# Longer byte order marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_FORMATS = {
    b"PAR1": "a Parquet file: call it .parquet",
    b"PK\x03\x04": "a workbook of Excel or another archive: call it .xlsx if it is one",
    b"\xd0\xcf\x11\xe0": "an old workbook of Excel (.xls): save it as .xlsx or as CSV in UTF-8",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\x89HDF": "an HDF5 file, such as embeddings: give the manifest of its clips",
    b"RIFF": "an audio file: a manifest lists such files, one a row",
}


def read_table(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the cells of a file under its own column names, and a line for each remark on how it was read.

    Raises:
        ManifestError: If the file is missing, its suffix is not known, or it is no table.
        MissingExtraError: If it is a workbook and openpyxl is not installed.
    """
    if not path.is_file():
        raise ManifestError("The manifest does not exist or is no file", where=path, fix=_near_files(path))
    suffix = path.suffix.lower()
    notes: list[str] = []
    if suffix in PARQUET_SUFFIXES:
        table = _guarded(_read_parquet, path, "Parquet file")
    elif suffix in WORKBOOK_SUFFIXES:
        require("openpyxl", extra="excel", purpose="Reading a workbook of Excel")
        table, notes = _guarded(_read_workbook, path, "workbook of Excel")
    elif suffix in TEXT_SUFFIXES:
        table, notes = _read_text(path)
    else:
        hint = "save it as .xlsx, or as CSV in UTF-8" if suffix in (".xls", ".ods", ".numbers") else None
        raise ManifestError(
            "A manifest's format is told by its suffix, and this one is not known",
            where=path,
            expected=", ".join((*TEXT_SUFFIXES, *PARQUET_SUFFIXES, *WORKBOOK_SUFFIXES)),
            found=path.suffix or "no suffix",
            fix=hint,
        )
    refuse_unusable([str(name) for name in table.columns], path)
    if not len(table):
        raise ManifestError(
            "The manifest is empty: it names columns and no clip" if len(table.columns) else "The manifest is empty",
            where=path, expected="a line of column names and a line for each clip",
            found=", ".join(map(repr, map(str, table.columns[:8]))) or None,
        )  # fmt: skip
    return table, notes


def _near_files(path: Path) -> str:
    if path.is_dir():
        return "it is a folder: give the manifest file in it, or make one with `ser-probe prepare`"
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist"
    known = (*TEXT_SUFFIXES, *PARQUET_SUFFIXES, *WORKBOOK_SUFFIXES)
    tables = [file.name for file in path.parent.iterdir() if file.suffix.lower() in known]
    return (
        did_you_mean(path.name, tables) if tables else "its folder holds no manifest; make one with `ser-probe prepare`"
    )


def _guarded(read: Callable[[Path], T], path: Path, kind: str) -> T:
    """Read a file with a library that may raise anything when the file is damaged.

    Raises:
        ManifestError: If it raises.
    """
    try:
        return read(path)
    except SerProbeError:
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        with path.open("rb") as stream:
            start = stream.read(8)
        hint = next((hint for mark, hint in _FORMATS.items() if start.startswith(mark)), None)
        expected = {"Parquet file": b"PAR1", "workbook of Excel": b"PK\x03\x04"}[kind]
        damaged = hint is None or start.startswith(expected)
        fix = "write it again; it is damaged or no such file" if damaged else f"it is {hint}"
        raise ManifestError(f"The manifest is not a readable {kind}", where=path, found=found, fix=fix) from error


def _read_parquet(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    # A data frame's index is part of it where it has a name, as it is in CSV.
    named = [name for name in table.index.names if name is not None]
    return table.reset_index(level=named).reset_index(drop=True) if named else table.reset_index(drop=True)


def _read_workbook(path: Path) -> tuple[pd.DataFrame, list[str]]:
    with pd.ExcelFile(path, engine="openpyxl") as book:
        for name in book.sheet_names:
            sheet = book.parse(name, header=None, dtype=object, keep_default_na=False, na_filter=False)
            rows = [(number, list(cells)) for number, cells in enumerate(sheet.itertuples(index=False), start=1)]
            rows = [(number, cells) for number, cells in rows if any(not _is_blank(cell) for cell in cells)]
            if rows:
                others = [str(other) for other in book.sheet_names if other != name]
                notes = [f"the sheet {str(name)!r} is read; {', '.join(map(repr, others))} not"] if others else []
                return _from_rows(rows, path, "a workbook"), notes
    raise ManifestError("The manifest is empty", where=path, expected="a line of column names")


def _is_blank(cell: object) -> bool:
    return not cell.strip() if isinstance(cell, str) else cell is None or cell is pd.NA or bool(cell != cell)


def _read_text(path: Path) -> tuple[pd.DataFrame, list[str]]:
    text, notes = _decode(path.read_bytes(), path)
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ManifestError(
            "The manifest holds NUL characters, so it is damaged or no text", where=f"{path}, line {line}",
            found=f"{text.count(chr(0))} of them in {len(text)} characters", fix="write it again as CSV in UTF-8",
        )  # fmt: skip
    # A first line `sep=;` tells Excel the delimiter.
    stated = re.match(r"sep=([,;\t|])\s*\n", text, re.IGNORECASE)
    delimiter = stated[1] if stated else _detect_delimiter(text)
    skipped = stated.end() if stated else 0
    reader = csv.reader(io.StringIO(text[skipped:], newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num + bool(skipped), [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise ManifestError(
            "The manifest is not a table", where=f"{path}, line {reader.line_num + bool(skipped)}", found=error,
            fix='a quote (") inside a quoted text is written twice ("")',
        ) from error  # fmt: skip
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        raise ManifestError("The manifest is empty", where=path, expected="a line of column names")
    return _from_rows(rows, path, f"delimiter {_DELIMITERS[delimiter]}", delimiter), notes


def _from_rows(
    rows: Sequence[tuple[int, Sequence[object]]], path: Path, layout: str, delimiter: str = ""
) -> pd.DataFrame:
    """Return rows as a table: the first names the columns, the others must fit it."""
    (_, first), body = rows[0], rows[1:]
    header = ["" if _is_blank(name) else str(name).strip() for name in first]
    n = len(header)
    # Spreadsheets add delimiters, and so blank cells, beyond the header.
    body = [(line, cells[:n] if all(map(_is_blank, cells[n:])) else cells) for line, cells in body]
    wrong = [(line, len(cells)) for line, cells in body if len(cells) != n]
    if wrong:
        faults = [f"line {line}: {count} cells" for line, count in wrong]
        longer = any(count > n for _, count in wrong)
        name = _DELIMITERS.get(delimiter, "delimiter")
        fix = (
            f'a text that holds a {name} must stand in quotes, as in "well{delimiter} yes"; or save the table with '
            "another delimiter, such as tabs (.tsv)"
            if longer
            else "give every row a cell for each column, an empty one too"
        )
        what = f"The rows do not fit the header ({n} column{'s' * (n != 1)}, {layout})"
        raise collect(ManifestError, what, faults, where=path, fix=fix, shown=_SHOWN)
    named = [number for number, name in enumerate(header) if name]
    # Spreadsheets leave blank columns behind; data frames write their index as the first column.
    kept = [
        number for number in range(n)
        if header[number] or not (
            all(_is_blank(cells[number]) for _, cells in body) or (number == 0 and named and _counts_rows(body))
        )
    ]  # fmt: skip
    names = [header[number] or f"column_{number + 1}" for number in kept]
    return pd.DataFrame([[cells[number] for number in kept] for _, cells in body], columns=names, dtype=object)


def _counts_rows(body: Sequence[_Row]) -> bool:
    """Tell whether the first column holds distinct whole numbers, like the index of a data frame."""
    first = [str(cells[0]) for _, cells in body]
    return all(cell.isdecimal() for cell in first) and len({*first}) == len(first)


def _decode(data: bytes, path: Path) -> tuple[str, list[str]]:
    """Return the text of a file: UTF-8, or what its byte order mark says.

    Raises:
        ManifestError: If it is neither; the message names the encoding that it seems to be in.
    """
    for mark, hint in _FORMATS.items():
        if data.startswith(mark):
            raise ManifestError("The manifest is not text", where=path, found=hint)
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _wrong_encoding(data, error, path, encoding) from error
    if encoding == "utf-8" and (guess := _wide(data)):
        raise ManifestError(
            f"The manifest is in {guess}, without the mark that says so", where=path, expected="UTF-8",
            fix=f"save it again as CSV in UTF-8, or convert it: iconv -f {guess} -t UTF-8 {path.name} > utf8.csv",
        )  # fmt: skip
    return text, [] if encoding.startswith("utf-8") else [f"the file is read as {encoding.upper()}, as its mark says"]


def _wide(data: bytes) -> str | None:
    """Return which UTF-16 the data seem to be: letters whose high byte is zero; None if they are not."""
    even, odd = data[0:4000:2], data[1:4000:2]
    for name, zeros, letters in (("UTF-16LE", odd, even), ("UTF-16BE", even, odd)):
        if len(odd) > 1 and zeros.count(0) > 0.8 * len(zeros) and letters.count(0) < 0.1 * len(letters):
            return name
    return None


def _wrong_encoding(data: bytes, error: UnicodeDecodeError, path: Path, encoding: str) -> ManifestError:
    if encoding != "utf-8":
        return ManifestError(
            f"The manifest begins with the mark of {encoding.upper()}, and is not text in it", where=path, found=error,
            fix="save it again as CSV in UTF-8",
        )  # fmt: skip
    start, end = data.rfind(b"\n", 0, error.start) + 1, data.find(b"\n", error.start)
    line = data[start : end if end >= 0 else None]
    number = data.count(b"\n", 0, error.start) + 1
    where = f"{path}, line {number}"
    fix = "save it again as CSV in UTF-8 (Excel: 'CSV UTF-8')"
    guess = _wide(data)
    try:
        text = line.decode("cp1252")
        if guess is None and text.isprintable():
            guess = "cp1252"
    except UnicodeDecodeError:
        text = ""
    if guess is None:
        return ManifestError("The manifest is not text in UTF-8", where=where, found=error, fix=fix)
    shown = f"read as cp1252 (Windows, Latin-1) the line says {text[:80]!r}" if guess == "cp1252" else guess
    return ManifestError(
        "The manifest is not text in UTF-8", where=where, found=shown,
        fix=f"{fix}, or convert it: iconv -f {guess.upper()} -t UTF-8 {path.name} > utf8.csv",
    )  # fmt: skip


def _detect_delimiter(text: str) -> str:
    """Return the delimiter that splits the header into the most known names, of equals the most names."""
    header = next((line for line in text.splitlines() if line.strip()), "")

    def score(delimiter: str) -> tuple[int, int]:
        names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
        known = {*TEXT_COLUMNS, *NUMBER_COLUMNS, *ALIASES}
        return len(known.intersection(names)), len(names)

    return max(_DELIMITERS, key=score)
