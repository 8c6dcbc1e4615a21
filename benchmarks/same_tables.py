"""Do two studies hold the same tables?

Question: after a change that is meant to change no result, is every table of a study equal, column by column and value
by value? Run the study before and after, into two folders, and compare them. Parquet tables are compared exactly
(a missing value equals a missing value); other files among the tables byte by byte.

Command:  python benchmarks/same_tables.py runs/before runs/after
Result:   benchmarks/results/same_tables.md; exit code 1 where anything differs
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

_MOST_SHOWN = 3


def differences(before: Path, after: Path) -> Iterator[str]:
    """Yield a line for each difference between the tables of two studies, or between two tables."""
    names = {path.name for path in before.iterdir()} | {path.name for path in after.iterdir()}
    for name in sorted(names):
        missing = [folder for folder in (before, after) if not (folder / name).is_file()]
        if missing:
            yield f"{name}: not in {missing[0]}"
        elif name.endswith(".parquet"):
            yield from _table_differences(name, pd.read_parquet(before / name), pd.read_parquet(after / name))
        elif (before / name).read_bytes() != (after / name).read_bytes():
            yield f"{name}: other bytes"


def _table_differences(name: str, before: pd.DataFrame, after: pd.DataFrame) -> Iterator[str]:
    if list(before.columns) != list(after.columns):
        only = sorted({*before.columns} ^ {*after.columns})
        yield f"{name}: other columns{': ' + ', '.join(only) if only else ' (order)'}"
        return
    if len(before) != len(after):
        yield f"{name}: {len(before)} rows before, {len(after)} after"
        return
    for column in before.columns:
        if before[column].dtype != after[column].dtype:
            yield f"{name}, {column}: {before[column].dtype} before, {after[column].dtype} after"
            continue
        left, right = before[column].astype(object), after[column].astype(object)
        unequal = [
            row
            for row, (old, new) in enumerate(zip(left, right, strict=True))
            if not (_is_missing(old) and _is_missing(new)) and not _equal(old, new)
        ]
        shown = [f"row {row}: {left.iloc[row]!r} before, {right.iloc[row]!r} after" for row in unequal[:_MOST_SHOWN]]
        if unequal:
            yield f"{name}, {column}: {len(unequal)} of {len(before)} values differ ({'; '.join(shown)})"


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _equal(old: object, new: object) -> bool:
    return type(old) is type(new) and repr(old) == repr(new)


def main() -> None:
    """Compare, print, and end with 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="Folder of a study (runs/<study>).")
    parser.add_argument("after", type=Path, help="The same study, run again.")
    chosen = parser.parse_args()
    folders = [folder / "tables" for folder in (chosen.before, chosen.after)]
    found = list(differences(*folders))
    tables = [pd.read_parquet(path) for path in sorted(folders[0].glob("*.parquet"))]
    values = sum(table.size for table in tables)
    print(f"{len(tables)} tables, {values:,} values, {len(list(folders[0].iterdir()))} files compared")
    print("\n".join(found) if found else "all equal: every file, column and value")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
