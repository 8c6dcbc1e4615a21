"""What the columns of a manifest are called and what their cells mean, whatever file they came from.

A table means the same as CSV, TSV, Parquet or Excel: cells are read as the text that CSV would hold, and a column
holds numbers where every filled cell is one. Each change that reading makes is reported in a line.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from ser_probe.errors import ManifestError, collect, shorten

TEXT_COLUMNS = (
    "path", "label", "label_code", "speaker", "gender", "sentence", "language", "corpus", "split", "clip_id",
)  # fmt: skip
NUMBER_COLUMNS = ("duration_s", "arousal", "valence", "dominance")
ALIASES = {"class_id": "label", "emotion": "label", "actor": "speaker"}
GENDERS = {"f": "female", "w": "female", "woman": "female", "m": "male", "man": "male"}
SPLIT_ALIASES = {
    "training": "train",
    "val": "validation", "valid": "validation", "dev": "validation", "development": "validation",
    "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
BLANK_WORDS = {
    "nan", "-nan", "na", "n/a", "n.a.", "<na>", "#n/a", "#na", "#value!", "none", "null", "nil", "nat",
    "missing", "unknown", "unspecified", "-", "--", "?", ".",
}  # fmt: skip
"""What programs and people write into a cell that has no value, in small letters."""

# A number as a program writes it. '01' and 17-digit ids are names made of digits.
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d{0,14})(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_COMMA_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,14})(,\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3},\d{3}")
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_WHOLE_FLOAT = re.compile(r"([+-]?\d{1,15})\.0+")
_MOST_DIGITS = 10**15  # larger numbers are ids, and a float no longer tells neighbours apart
_MOSTLY = 0.75  # share of numbers from which the cells that make a column text are reported
# NUL cannot be part of a path or of a text in HDF5; half a surrogate pair cannot be written at all.
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
# Joiners distinguish words in Persian and Indic scripts; the other format characters are invisible and mean nothing.
_JOINERS = "\u200c\u200d"
_SHOWN = 3


def find_column(name: str, columns: Iterable[object]) -> str | None:
    """Return the column that a name stands for: the exact name, else a known name in any case, else an alias."""
    known = [str(column) for column in columns]
    plain = name.strip().lower()
    for meant in (name, plain if plain in (*TEXT_COLUMNS, *NUMBER_COLUMNS) else name, ALIASES.get(plain, name)):
        if meant in known:
            return meant
    return None


def name_columns(columns: Sequence[str], where: object, *, written: Sequence[str] | None = None) -> list[str]:
    """Return the new name of each column: aliases and known names whatever their case.

    Args:
        columns: Their names.
        where: The file, for messages.
        written: What the file calls them, where they were renamed.

    Raises:
        ManifestError: If two columns would have one name.
    """
    known = {*TEXT_COLUMNS, *NUMBER_COLUMNS}
    cleaned = [clean_text(name) for name in columns]
    plain = [name.lower() if name.lower() in known else name for name in cleaned]
    # Beside a column of the standard name, its alias stays an extra column.
    names = [
        standard if (standard := ALIASES.get(written_name.lower())) and standard not in plain else written_name
        for written_name in plain
    ]  # fmt: skip
    faults = []
    for standard in dict.fromkeys(names):
        rivals = [old for old, new in zip(written or columns, names, strict=True) if new == standard]
        if len(rivals) > 1:
            faults.append(f"{', '.join(map(repr, rivals))} all mean {standard!r}: keep one, or rename the others")
    if faults:
        fix = "`ser-probe prepare table FILE --map OLD=NEW` renames a column"
        raise collect(ManifestError, "Columns of the manifest clash", faults, where=where, fix=fix)
    return names


def clean_text(text: str) -> str:
    """Return a text without invisible characters: NFC, single plain blanks, no format or control characters."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    letters = (
        " " if unicodedata.category(letter) == "Cc" else letter
        for letter in unicodedata.normalize("NFC", text)
        if letter in _JOINERS or unicodedata.category(letter) != "Cf"
    )
    return " ".join("".join(letters).split()).strip(_JOINERS)


def settle_cells(table: pd.DataFrame, where: object) -> tuple[pd.DataFrame, list[str]]:
    """Return a table whose columns are text or numbers, and a line for each change.

    Args:
        table: Columns under their standard names, of any type that a file may hold.
        where: The file, for messages.

    Raises:
        ManifestError: If a cell holds what no text may.
    """
    settled: dict[str, pd.Series] = {}
    notes: list[str] = []
    for name, column in table.items():
        cells, changes = _settle_column(str(name), column, where)
        notes += changes
        if cells is not None and cells.dtype.kind == "f" and (infinite := int(np.isinf(cells).sum())):
            notes.append(f"column {str(name)!r}: {_count(infinite, 'number')} not finite")
        if cells is not None:
            settled[str(name)] = cells
    return pd.DataFrame(settled, index=table.index, columns=list(settled)), notes


def _settle_column(name: str, column: pd.Series, where: object) -> tuple[pd.Series | None, list[str]]:
    if name not in TEXT_COLUMNS:
        if _is_numeric(column):
            return _plain_numbers(name, column), []
        if (nested := next((cell for cell in column if _is_nested(cell)), None)) is not None:
            return None, [f"column {name!r} holds values of the kind {type(nested).__name__} and is left out"]
    cells = [cell.strip() for cell in _as_text(column)]
    refuse_unusable(cells, where, name)
    if name not in TEXT_COLUMNS:
        return _numbers_of(name, pd.Series(cells, index=column.index, dtype=object))
    if name == "path":  # a file may be called anything
        return pd.Series(cells, index=column.index, dtype=str), []
    cleaned = [clean_text(cell) for cell in cells]
    changed = [old for old, new in zip(cells, cleaned, strict=True) if old != new]
    notes = []
    if changed:
        notes.append(
            f"column {name!r}: invisible characters or blanks are taken out of {_count(len(changed), 'cell')}, "
            f"such as {ascii(changed[0])[:60]}"
        )
    # Whole numbers with an empty cell among them become a column of floats.
    cleaned = [match[1] if (match := _WHOLE_FLOAT.fullmatch(cell)) else cell for cell in cleaned]
    if name == "gender":
        if blank := [cell for cell in cleaned if cell.lower() in BLANK_WORDS]:
            notes.append(f"column 'gender': {_list(blank)} in {_count(len(blank), 'cell')} counts as empty")
        words = {**GENDERS, **dict.fromkeys(BLANK_WORDS, "")}
        cleaned = [words.get(cell.lower(), cell.lower()) for cell in cleaned]
    if name == "split":
        cleaned = [SPLIT_ALIASES.get(cell.lower(), cell.lower()) for cell in cleaned]
    return pd.Series(cleaned, index=column.index, dtype=str), notes


def refuse_unusable(cells: Sequence[str], where: object, column: str | None = None) -> None:
    """Refuse text that no path and no text file can hold.

    Args:
        cells: The texts: the cells of a column, or the names of all columns.
        where: The file.
        column: Their column; None for the names.

    Raises:
        ManifestError: If one holds NUL or half of a surrogate pair.
    """
    for row, cell in enumerate(cells, start=2):
        if _UNUSABLE.search(cell):
            raise ManifestError(
                "The manifest holds characters that no text may hold (NUL, or half of a surrogate pair)",
                where=f"{where}, " + ("the names of the columns" if column is None else f"row {row}, {column!r}"),
                found=ascii(cell)[:80],
                fix="the file is damaged, or is not in the encoding it is read in: write it again",
            )


def _numbers_of(name: str, cells: pd.Series) -> tuple[pd.Series, list[str]]:
    """Return text cells as numbers if every filled cell is a number or a word for a missing value, else as they are."""

    def fits(pattern: re.Pattern[str]) -> np.ndarray:
        return np.array([pattern.fullmatch(cell) is not None for cell in cells], dtype=bool)

    filled = (cells != "").to_numpy()
    blank = filled & np.array([cell.lower() in BLANK_WORDS for cell in cells], dtype=bool)
    number, infinite = fits(_NUMBER), fits(_INFINITE)
    odd = filled & ~blank & ~number & ~infinite
    notes, written = [], cells
    if odd.any() or not number.any():
        comma = fits(_COMMA_NUMBER)
        decimals = cells[comma & np.array(["," in cell for cell in cells], dtype=bool)]
        if (filled & ~blank & ~comma).any() or all(_THOUSANDS.fullmatch(cell) for cell in decimals):
            if not (name in NUMBER_COLUMNS and filled.any() and not (filled & ~blank).any()):
                return cells.astype(str), _why_text(name, cells, odd, number)
        else:
            written, number, infinite = cells.str.replace(",", ".", regex=False), comma, infinite & False
            notes.append(f"column {name!r}: numbers with a decimal comma, such as {decimals.iloc[0]}")
    if blank.any():
        rest = "; the others are numbers" if number.any() else ""
        notes.append(f"column {name!r}: {_list(cells[blank])} in {_count(blank.sum(), 'cell')} counts as empty{rest}")
    values = [float(cell) if keep else np.nan for cell, keep in zip(written, number | infinite, strict=True)]
    return _plain_numbers(name, pd.Series(values, index=cells.index, dtype=float)), notes


def _why_text(name: str, cells: pd.Series, odd: np.ndarray, number: np.ndarray) -> list[str]:
    """Report the few cells that make a column of numbers text; names made of digits are not worth a line."""
    words = cells[odd]
    if (
        not odd.any()
        or number.sum() < _MOSTLY * (number.sum() + odd.sum())
        or any(re.fullmatch(r"[\d.]*", word) for word in words)
    ):
        return []
    rows = ", ".join(str(row + 2) for row in np.flatnonzero(odd)[:_SHOWN])
    plural = "s" * bool(odd.sum() > 1)
    return [f"column {name!r} counts as text: {_list(words)} in row{plural} {rows} is no number, as the others are"]


def _is_numeric(column: pd.Series) -> bool:
    kind = column.dtype
    return (
        pd.api.types.is_numeric_dtype(kind)
        and not pd.api.types.is_bool_dtype(kind)
        and not pd.api.types.is_complex_dtype(kind)
    )


def _plain_numbers(name: str, column: pd.Series) -> pd.Series:
    """Return numbers as int64 where all are whole, else as float64; those with the digits of an id as text."""
    if isinstance(column.dtype, np.dtype) and column.dtype.itemsize < 8 and column.dtype.kind == "f":
        column = column.astype(str)  # 0.1 in float32 means 0.1, not the float64 nearest to its bits
    if pd.api.types.is_integer_dtype(column.dtype) and name not in NUMBER_COLUMNS:
        filled = column.dropna()
        if len(filled) and max(abs(int(filled.max())), abs(int(filled.min()))) >= _MOST_DIGITS:
            return pd.Series(_as_text(column), index=column.index, dtype=str)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    numbers = pd.Series(values, index=column.index)
    all_whole = len(values) and np.isfinite(values).all() and (np.abs(values) < _MOST_DIGITS).all()
    if all_whole and name not in NUMBER_COLUMNS and (values == np.round(values)).all():
        return numbers.astype(np.int64)
    return numbers


def _is_nested(cell: object) -> bool:
    return isinstance(cell, (list, tuple, dict, set, np.ndarray))


def _as_text(column: pd.Series) -> list[str]:
    """Return a column's cells as the text that CSV would hold; missing cells become the empty text."""
    dates = [cell for cell in column if isinstance(cell, datetime.datetime) and not pd.isna(cell)]
    days = all(cell.time() == datetime.time() for cell in dates)

    def text(cell: object) -> str:
        if isinstance(cell, str):
            return cell
        if cell is None or cell is pd.NA or cell is pd.NaT:
            return ""
        if isinstance(cell, bytes):
            return cell.decode("utf-8", errors="replace")
        if isinstance(cell, (float, np.floating)):
            return "" if np.isnan(cell) else str(int(cell) if float(cell).is_integer() else cell)
        if isinstance(cell, datetime.datetime):
            return str(cell.date() if days else cell)
        return str(cell)

    return [text(cell) for cell in column]


def _count(number: int | np.integer, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _list(cells: Iterable[str]) -> str:
    return shorten((repr(str(cell))[:60] for cell in dict.fromkeys(cells)), _SHOWN)
