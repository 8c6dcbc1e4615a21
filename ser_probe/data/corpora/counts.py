"""How many clips a corpus folder holds, beside what was published."""

from __future__ import annotations

from itertools import product

import pandas as pd

from ser_probe.data.corpora.importer import Published
from ser_probe.errors import shorten

_SHOWN = 5


def describe_labels(table: pd.DataFrame, rule: str) -> str:
    """Return the number of clips of each label, and which labels these are."""
    counts = table["label"].value_counts().sort_index()
    return f"labels ({rule}): " + ", ".join(f"{label} {count}" for label, count in counts.items())


def compare_counts(table: pd.DataFrame, published: Published) -> list[str]:
    """Return what differs from the published corpus, a line each; none where all is there.

    Args:
        table: Rows of the corpus.
        published: What it should hold.
    """
    lines = []
    if len(table) != published.clips:
        lines.append(f"{len(table)} clips of {published.clips} published ({_difference(len(table), published.clips)})")
    n_speakers = table["speaker"].nunique() if "speaker" in table else None
    if published.speakers is not None and n_speakers != published.speakers:
        lines.append(f"{n_speakers} speakers of {published.speakers} published")
    counts = table["label_code"].value_counts()
    odd = [
        f"{code} {counts.get(code, 0)} of {expected}"
        for code, expected in published.labels.items()
        if counts.get(code, 0) != expected
    ]
    if odd and len(odd) < len(published.labels):
        lines.append(f"labels that differ from the published counts: {shorten(odd, _SHOWN)}")
    if lines and published.every:
        missing = _missing(table, published.every)
        if 0 < len(missing) < len(table):
            lines.append(f"not there, by {' / '.join(published.every)}: {shorten(missing, _SHOWN)}")
    return lines


def _difference(found: int, expected: int) -> str:
    return f"{expected - found} missing" if found < expected else f"{found - expected} more"


def _missing(table: pd.DataFrame, columns: tuple[str, ...]) -> list[str]:
    """Return the combinations of values of which there is no clip."""
    there = set(table[list(columns)].itertuples(index=False, name=None))
    values = [sorted(table[column].unique()) for column in columns]
    return [" / ".join(map(str, cell)) for cell in product(*values) if cell not in there]
