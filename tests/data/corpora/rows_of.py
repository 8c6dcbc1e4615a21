"""What an importer makes of a folder, as the tests of single corpora look at it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ser_probe.data.corpora import import_corpus


def rows_of(name: str, root: Path, **options: object) -> pd.DataFrame:
    """Return the table alone."""
    return import_corpus(name, root, **options).table


def notes_of(name: str, root: Path, **options: object) -> str:
    """Return what the user is told, in lines."""
    return "\n".join(import_corpus(name, root, **options).notes)
