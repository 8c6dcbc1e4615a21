"""What is said of statistics beside their tables: answers that hang on the test, and rows that must not be mixed."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from ser_probe.analysis.stats.agreement import opposite_answer
from ser_probe.analysis.stats.battery import Statistics, StatsOptions
from ser_probe.analysis.stats.typeset import p_value
from ser_probe.config import StatsConfig
from ser_probe.errors import AnalysisError
from ser_probe.report.tables import has_corpora

_MOST_OPPOSITE = 5


def opposite_answers(label: str, statistics: Statistics, options: StatsOptions) -> Iterator[str]:
    """Yield what is printed where a test of another kind, or no correction, gives the opposite answer."""
    before = f"{label}: " if label else ""
    rows = statistics.tables["contrasts"].to_dict("records")
    told = [(row, said) for row in rows if (said := opposite_answer(row, options.correct, options.alpha))]
    for row, said in told[:_MOST_OPPOSITE]:
        place = f" at {row['within']}" if row["within"] else ""
        yield (
            f"{before}{row['factor']} {row['level_a']} against {row['level_b']}{place}: p "
            f"{p_value(row[f'p_{options.correct}'])} ({options.correct}). {said}"
        )
    if len(told) > _MOST_OPPOSITE:
        yield f"{before}{len(told)} of {len(rows)} comparisons have opposite answers in all; see the summary"


def refuse_pooled_beside_corpora(rows: pd.DataFrame, stats: StatsConfig) -> None:
    """Raise where rows of all corpora pooled would be observations beside those of each corpus."""
    if has_corpora(rows) and "corpus" not in {*stats.factors, *stats.apart, stats.unit}:
        raise AnalysisError(
            "The table holds rows of all corpora together beside rows of each corpus, so clips would count twice",
            where="column corpus",
            found=", ".join(map(str, rows["corpus"].unique())),
            fix="take one kind of rows (--where corpus=all, in a study stats.where), or keep corpora apart (--apart "
            "corpus, stats.apart)",
        )
