"""The manifest: one row per clip, read from and written to CSV, TSV or Parquet.

Text stays text: speaker '01' is not 1, and the label 'NA' is a label. Reading reports what makes the file
unreadable; what is wrong with its content is the work of `manifest_check`.
"""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser_probe.errors import ManifestError, collect, did_you_mean
from ser_probe.files import atomic_path

TEXT_COLUMNS = ("path", "label", "speaker", "gender", "sentence", "language", "corpus", "split", "clip_id")
NUMBER_COLUMNS = ("duration_s", "arousal", "valence", "dominance")
ALIASES = {"class_id": "label", "emotion": "label", "actor": "speaker"}
GENDERS = {"f": "female", "w": "female", "woman": "female", "m": "male", "man": "male"}
SPLIT_ALIASES = {
    "training": "train",
    "val": "validation", "valid": "validation", "dev": "validation", "development": "validation",
    "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
_PARQUET_SUFFIXES = (".parquet", ".pq")
# A number as a program writes it. '01' and 17-digit ids are names made of digits, 'nan' and 'inf' are words.
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,14})(\.\d+)?([eE][+-]?\d{1,3})?")


@dataclass(frozen=True, eq=False)
class Manifest:
    """A table of clips and the folder that its paths start from.

    Attributes:
        table: One row per clip; column `path` is relative to `audio_root`, or absolute.
        audio_root: The folder that relative paths start from.
        source: The file the table was read from, or None.
    """

    table: pd.DataFrame
    audio_root: Path
    source: Path | None = None

    def __len__(self) -> int:
        return len(self.table)

    def audio_paths(self) -> list[Path]:
        """Return where each clip lies, in the order of the rows.

        Raises:
            ManifestError: If a relative path climbs out of the audio root.
        """
        return [resolve_path(self.audio_root, written) for written in self.table["path"]]


def resolve_path(audio_root: Path, written: str) -> Path:
    """Return where a path of a manifest points.

    An absolute path (or one that starts with `~`) is a folder that the user named; a relative one stays below
    the audio root, so that a manifest from somewhere else cannot reach the user's other files.

    Raises:
        ManifestError: If the path climbs out of the audio root.
    """
    expanded = os.path.expanduser(written)
    if not os.path.isabs(expanded) and os.path.normpath(expanded).split(os.sep)[0] == os.pardir:
        raise ManifestError(
            f"The path {written!r} climbs out of the audio root",
            where=audio_root,
            fix="give a higher --audio-root, or write the path in full",
        )
    return audio_root / expanded


def read_manifest(path: str | Path, *, audio_root: str | Path | None = None) -> Manifest:
    """Read a manifest.

    The format follows the suffix: `.csv`, `.tsv` and `.txt` are text in UTF-8 whose delimiter (comma, semicolon,
    tab or bar) is detected, `.parquet` is Parquet. Aliases of column names, genders and splits are mapped to
    the names used here; unknown columns are kept.

    Args:
        path: The manifest file.
        audio_root: The folder that relative clip paths start from; the manifest's own folder if None.

    Raises:
        ManifestError: If the file is missing, is not a table, or two columns mean the same.
    """
    source = Path(path).expanduser()
    if not source.is_file():
        raise ManifestError("The manifest does not exist or is no file", where=source, fix=_near_files(source))
    root = source.parent if audio_root is None else Path(audio_root).expanduser()
    suffix = _known_suffix(source)
    table = _read_parquet(source) if suffix in _PARQUET_SUFFIXES else _read_text(source)
    return Manifest(table=_settle_columns(table, source), audio_root=root, source=source)


def write_manifest(manifest: Manifest | pd.DataFrame, path: str | Path) -> Path:
    """Write a manifest atomically, in the format of its suffix, and return where it was written.

    A `Manifest` is written so that it reads back without an audio root: paths become relative to the file's folder
    where the audio lies below it, and absolute elsewhere. A bare table is written as it is.

    Raises:
        ManifestError: If the suffix is not one of a manifest.
    """
    target = Path(path).expanduser()
    suffix = _known_suffix(target)
    table = _rebase(manifest, target.parent) if isinstance(manifest, Manifest) else manifest
    with atomic_path(target) as temporary:
        if suffix in _PARQUET_SUFFIXES:
            table.to_parquet(temporary, index=False)
        else:
            delimiter = "\t" if suffix == ".tsv" else ","
            table.to_csv(temporary, sep=delimiter, index=False, encoding="utf-8", lineterminator="\n")
    return target


def _rebase(manifest: Manifest, folder: Path) -> pd.DataFrame:
    """Return the table with paths that start from another folder."""
    home = Path(os.path.abspath(folder))
    moved = []
    for written, absolute in zip(manifest.table["path"], map(os.path.abspath, manifest.audio_paths()), strict=True):
        if os.path.isabs(os.path.expanduser(written)):
            moved.append(written)
        else:
            inside = Path(absolute).is_relative_to(home)
            moved.append(Path(absolute).relative_to(home).as_posix() if inside else absolute)
    return manifest.table.assign(path=moved)


def _known_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _TEXT_SUFFIXES + _PARQUET_SUFFIXES:
        raise ManifestError(
            "A manifest's format is told by its suffix, and this one is not known",
            where=path,
            expected=", ".join(_TEXT_SUFFIXES + _PARQUET_SUFFIXES),
            found=path.suffix or "no suffix",
        )
    return suffix


def _near_files(path: Path) -> str:
    if path.is_dir():
        return "it is a folder: give the manifest file in it, or make one with `ser-probe prepare`"
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist"
    tables = [file.name for file in path.parent.iterdir() if file.suffix.lower() in _TEXT_SUFFIXES + _PARQUET_SUFFIXES]
    return (
        did_you_mean(path.name, tables) if tables else "its folder holds no manifest; make one with `ser-probe prepare`"
    )


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except (OSError, ValueError) as error:  # pyarrow's errors are kinds of ValueError
        raise ManifestError("The manifest is not a readable Parquet file", where=path, found=error) from error


def _read_text(path: Path) -> pd.DataFrame:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(
            "The manifest is not text in UTF-8", where=path, found=error, fix="save it again as CSV in UTF-8"
        ) from error
    delimiter = _detect_delimiter(text)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise ManifestError("The manifest is not a table", where=path, found=error) from error
    if not rows:
        raise ManifestError("The manifest is empty", where=path, expected="a line of column names")
    (_, header), body = rows[0], rows[1:]
    faults = [f"line {line}: {len(cells)} cells" for line, cells in body if len(cells) != len(header)]
    if faults:
        what = f"The rows do not fit the header ({len(header)} columns, delimiter {_DELIMITERS[delimiter]})"
        raise collect(ManifestError, what, faults, where=path)
    # Spreadsheets and data frames write an index under an empty name.
    names = [name or f"column_{position}" for position, name in enumerate(header, start=1)]
    return pd.DataFrame([cells for _, cells in body], columns=names, dtype=object)


def _detect_delimiter(text: str) -> str:
    """Return the delimiter under which the header holds most names known here, then most names at all."""
    header = next((line for line in text.splitlines() if line.strip()), "")

    def score(delimiter: str) -> tuple[int, int]:
        names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
        known = {*TEXT_COLUMNS, *NUMBER_COLUMNS, *ALIASES}
        return len(known.intersection(names)), len(names)

    return max(_DELIMITERS, key=score)


def _settle_columns(table: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Give columns the names and types that the rest of the project relies on."""
    table = table.rename(columns=_column_names([str(name) for name in table.columns], source))
    settled = {
        name: _as_text(column) if name in TEXT_COLUMNS else _as_numbers(column) for name, column in table.items()
    }
    for name, words in (("gender", GENDERS), ("split", SPLIT_ALIASES)):
        if name in settled:
            settled[name] = settled[name].str.lower().map(lambda word, words=words: words.get(word, word))
    return pd.DataFrame(settled, columns=table.columns)


def _column_names(columns: list[str], source: Path) -> dict[str, str]:
    """Return the new name of each column: aliases and known names whatever their case."""
    known = {*TEXT_COLUMNS, *NUMBER_COLUMNS}
    plain = {name: name.lower() if name.lower() in known else name for name in columns}
    names = dict(plain)
    for name in columns:
        meant = ALIASES.get(name.lower())
        if meant and meant not in plain.values():  # a column of the true name makes the alias an extra one
            names[name] = meant
    faults = []
    for meant in dict.fromkeys(names.values()):
        rivals = [name for name in columns if names[name] == meant]
        if len(rivals) > 1:
            faults.append(f"{', '.join(map(repr, rivals))} all mean {meant!r}: keep one, or rename the others")
    if faults:
        raise collect(ManifestError, "Columns of the manifest clash", faults, where=source)
    return names


def _as_text(column: pd.Series) -> pd.Series:
    """Return a column as text; a missing cell becomes the empty text, and 3.0 becomes '3'."""

    def text(cell: object) -> str:
        if cell is None or cell is pd.NA:
            return ""
        if isinstance(cell, (float, np.floating)):
            return "" if np.isnan(cell) else str(int(cell) if cell.is_integer() else cell)
        return str(cell)

    return pd.Series([text(cell) for cell in column], index=column.index, dtype=str)


def _as_numbers(column: pd.Series) -> pd.Series:
    """Return a text column as numbers if every filled cell is one, else as it is."""
    if pd.api.types.is_numeric_dtype(column) or not all(isinstance(cell, str) for cell in column):
        return column
    filled = [cell for cell in column if cell]
    if filled and all(_NUMBER.fullmatch(cell) for cell in filled):
        return pd.to_numeric(column.where(column != ""))
    return column.astype(str)
