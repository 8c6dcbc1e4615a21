"""The manifest: one row per clip, read from CSV, TSV, Parquet or Excel, and written.

What its columns and cells mean is decided here, once for all commands: `table_files` reads a file's rows, `columns`
its names and cells, `identities` merges spellings of one name. Text stays text: the label 'NA' is a label, and speaker
'01' is not the number 1. Reading refuses an unreadable file; `manifest_check` looks for faults of the content.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ser_probe.data.columns import find_column, name_columns, settle_cells
from ser_probe.data.identities import settle_identities
from ser_probe.data.table_files import PARQUET_SUFFIXES, TEXT_SUFFIXES, read_table
from ser_probe.errors import ManifestError, did_you_mean, shorten
from ser_probe.files import atomic_path, fingerprint

_SHOWN = 8


@dataclass(frozen=True, eq=False, repr=False)
class Manifest:
    """A table of clips and the folder that its paths start from.

    Attributes:
        table: One row per clip; column `path` is relative to `audio_root`, or absolute.
        audio_root: The folder that relative paths start from.
        source: The file the table was read from, or None.
        notes: What was changed in reading, a line each.
    """

    table: pd.DataFrame
    audio_root: Path
    source: Path | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        named = {"speaker": "speakers", "label": "labels"}
        counts = [f"{self.table[column].nunique()} {name}" for column, name in named.items() if column in self.table]
        return f"<Manifest {self.source or self.audio_root}: {', '.join([f'{len(self)} clips', *counts])}>"

    def fingerprint(self) -> str:
        """Return 64 hex digits over all columns of prepared clips but their paths.

        `clip_id` is the hash of a file's bytes: a corpus in another folder is the same corpus.
        """
        return fingerprint(self.table.drop(columns="path").to_json())

    def audio_paths(self) -> list[Path]:
        """Return where each clip lies, in the order of the rows.

        Raises:
            ManifestError: If a relative path climbs out of the audio root.
        """
        return [self.resolve(written) for written in self.table["path"]]

    def reachable_paths(self) -> Iterator[Path]:
        """Yield where those clips lie whose path does not climb out of the audio root."""
        for written in self.table["path"]:
            try:
                yield self.resolve(written)
            except ManifestError:  # the check lists it among the rejects
                continue

    def resolve(self, written: str) -> Path:
        """Return where a path of this manifest points; see `resolve_path`."""
        return resolve_path(self.audio_root, written, None if self.source is None else self.source.parent)


def resolve_path(audio_root: Path, written: str, folder: Path | None = None) -> Path:
    """Return where a path of a manifest points.

    An absolute path (or one that starts with `~`) is a folder that the user named; a relative one stays below the audio
    root, so that a manifest from somewhere else cannot reach the user's other files. One that climbs (`../wav/a.wav`)
    starts from the audio root or, where that leads out of it, from the manifest's folder.

    Args:
        audio_root: The folder that relative paths start from.
        written: The path as the manifest has it.
        folder: The manifest's own folder.

    Raises:
        ManifestError: If the path climbs out of the audio root.
    """
    expanded = os.path.expanduser(written)
    if os.path.isabs(expanded) or os.pardir not in Path(expanded).parts:
        return audio_root / expanded
    root = os.path.abspath(audio_root)
    starts = [root] if folder is None else [root, os.path.abspath(folder)]
    targets = [os.path.normpath(os.path.join(start, expanded)) for start in starts]
    for target in targets:
        if Path(target).is_relative_to(root):
            return Path(target)
    # From the last start, which is the manifest's folder where that is known.
    parent = os.path.commonpath([root, os.path.dirname(targets[-1])])
    raise ManifestError(
        f"The path {written!r} climbs out of the audio root",
        where=audio_root,
        fix=f"if the clip is {targets[-1]}, allow it with --audio-root {parent} (in a study: data.audio_root)",
    )


def read_manifest(
    path: str | Path,
    *,
    audio_root: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
    needs: str | None = "path",
) -> Manifest:
    """Read a manifest.

    The format follows the suffix: `.csv`, `.tsv` and `.txt` are text in UTF-8 whose delimiter (comma, semicolon, tab or
    bar) is detected, `.parquet` is Parquet, `.xlsx` a workbook of Excel; one table means the same in each. Aliases of
    column names, genders and splits are mapped to the names used here; unknown columns are kept.

    Args:
        path: The manifest file.
        audio_root: The folder that relative clip paths start from; the manifest's own folder if None.
        rename: New names of columns, by their names in the file.
        needs: A column without which the file is no manifest; None: any table will do.

    Raises:
        ManifestError: If the file is missing, is not a table, lacks the column, or two columns mean the same.
        MissingExtraError: If it is a workbook and openpyxl is not installed.
    """
    source = Path(path).expanduser()
    root = source.parent if audio_root is None else Path(audio_root).expanduser()
    table, notes = read_table(source)
    written = [str(name) for name in table.columns]
    names = name_columns(_renamed(written, rename or {}, source), source, written=written)
    table.columns = pd.Index(names, dtype=object)
    if needs is not None and needs not in table:
        raise _no_such_column(needs, written, source)
    table, cell_notes = settle_cells(table, source)
    table, name_notes = settle_identities(table, source)
    return Manifest(table, root, source, tuple(dict.fromkeys([*notes, *cell_notes, *name_notes])))


def _renamed(columns: list[str], rename: Mapping[str, str], source: Path) -> list[str]:
    for old in rename:
        if old not in columns:
            raise ManifestError(
                f"The file has no column {old!r} to rename", where=source, fix=did_you_mean(old, columns)
            )
    return [rename.get(name, name) for name in columns]


def _no_such_column(name: str, columns: list[str], source: Path) -> ManifestError:
    near = did_you_mean(name, columns)
    if name == "path":
        near = (
            f"{near + ' ' if near.startswith('did') else ''}name the columns in the first line, told apart by commas, "
            "semicolons, tabs or bars; a table under other names is read by "
            f"`ser-probe prepare table {source.name} --path-column NAME`"
        )
    found = shorten((repr(column[:60]) for column in columns), _SHOWN)
    return ManifestError(f"The manifest has no column {name!r}", where=source, found=found, fix=near)


def require_column(table: pd.DataFrame, name: str, where: object) -> str:
    """Return the column of a table that a name or an alias stands for.

    Raises:
        ManifestError: If there is none.
    """
    column = find_column(name, table.columns)
    if column is None:
        raise ManifestError(
            f"The manifest has no column {name!r}", where=where, fix=did_you_mean(name, map(str, table.columns))
        )
    return column


def check_suffix(path: Path) -> str:
    """Return the suffix of a manifest that is to be written.

    Raises:
        ManifestError: If it is not one of a format that is written.
    """
    suffix = path.suffix.lower()
    if suffix not in TEXT_SUFFIXES + PARQUET_SUFFIXES:
        raise ManifestError(
            "A manifest is written in the format of its suffix, and this is none of them",
            where=path,
            expected=", ".join(TEXT_SUFFIXES + PARQUET_SUFFIXES),
            found=path.suffix or "no suffix",
        )
    return suffix


def write_manifest(manifest: Manifest | pd.DataFrame, path: str | Path) -> Path:
    """Write a manifest atomically, in the format of its suffix, and return where it was written.

    A `Manifest` is written so that it reads back without an audio root: paths become relative to the file's folder
    where the audio lies below it, and absolute elsewhere. A bare table is written as it is.

    Raises:
        ManifestError: If the suffix is not one that is written.
    """
    target = Path(path).expanduser()
    suffix = check_suffix(target)
    table = _rebase(manifest, target.parent) if isinstance(manifest, Manifest) else manifest
    with atomic_path(target) as temporary:
        if suffix in PARQUET_SUFFIXES:
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
