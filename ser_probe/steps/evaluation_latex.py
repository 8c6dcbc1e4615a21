"""The scores of an evaluation as the table of a paper: a row per set of clips, each score with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ser_probe.analysis.stats.typeset import latex_table, number
from ser_probe.steps.evaluation_tables import one_row_per_set

_KEYS = {
    "evaluated_on": "Evaluated on", "corpus": "Corpus", "checkpoint": "Checkpoint", "group_by": "By", "group": "Group",
    "target": "Target",
}  # fmt: skip
_MEASURES = {
    "uar": "UAR", "macro_f1": "Macro F1", "accuracy": "Accuracy (WA)", "ece": "ECE", "kl_divergence": "KL divergence",
    "ccc": "CCC", "pearson": "Pearson's r", "rmse": "RMSE",
}  # fmt: skip
_COUNTS = {"n": "Clips", "n_speakers": "Speakers"}
_MOST_GROUPS = 12
"""A column of more groups, such as speakers, is not printed; the other tables have it."""


def latex_scores(scores: pd.DataFrame, summary: pd.DataFrame | None = None) -> str:
    """Return scores as a table in LaTeX.

    Args:
        scores: Rows of `scores`, of one or several runs.
        summary: The mean and deviation over several runs, which is printed in place of intervals over speakers.
    """
    several = summary is not None and int(summary["n_runs"].max()) > 1
    keys = [name for name in _KEYS if name in scores and not (several and name == "checkpoint")]
    few = scores.groupby("group_by")["group"].transform("nunique") <= _MOST_GROUPS
    records = summary if several and summary is not None else scores[few]
    table = one_row_per_set(scores, records, keys, _cells)
    constant = [
        name for name in keys if name not in ("evaluated_on", "target") and table[name].nunique(dropna=False) == 1
    ]
    table = table.drop(columns=constant)
    spread = "± one standard deviation over runs" if several else "with 95 % intervals over speakers"
    return latex_table(
        table, {**_KEYS, **_COUNTS, **_MEASURES}, caption=f"Scores of the classifier, {spread}.", label="tab:evaluation"
    )


def _cells(record: Mapping[Any, Any]) -> dict[str, str]:
    """Return a score with the interval over speakers of a single run, or the deviation over several runs."""
    measure = str(record["measure"])
    if measure not in _MEASURES:
        return {}
    if "mean" in record:
        return {measure: f"{number(record['mean'], 3)} ± {number(record['std'], 3)}"}
    ends = [number(record[name], 3) for name in ("ci_low", "ci_high")]
    interval = "" if pd.isna(record["ci_low"]) else f" [{ends[0]}, {ends[1]}]"
    return {measure: number(record["value"], 3) + interval}
