"""The figures of a comparison of models on disk: one per corpus and target."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ser_probe.files import distinct_slugs
from ser_probe.report.comparison.compose import NAME, draw_comparison
from ser_probe.report.figures import save_figure


def write_comparison_figures(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw the differences of each corpus, and of each numeric target.

    Args:
        table: The table of a comparison.
        folder: Where to.

    Returns:
        PNG and SVG of each figure, `comparison_<corpus>` or `comparison_<corpus>_<target>`.
    """
    files: list[Path] = []
    keys = [name for name in ("corpus", "target") if name in table]
    found = {key: [str(value) for value in table[key].unique()] for key in keys}
    slugs = {key: dict(zip(values, distinct_slugs(values), strict=True)) for key, values in found.items()}
    for values, rows in table.groupby(keys, sort=False):
        names = [slugs[key][str(value)] for key, value in zip(keys, values, strict=True)]
        files += save_figure(draw_comparison(rows), folder, "_".join([NAME, *names]))
    return files
