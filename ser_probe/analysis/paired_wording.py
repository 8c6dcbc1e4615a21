"""What a paired comparison of models says, in a sentence that a paper could print."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.stats.typeset import number, one_line, p_value

ALPHA = 0.05
HEADLINE_MEASURES = ("uar", "ccc")
_NAMES = {"uar": "UAR", "ccc": "CCC"}


def describe_comparison(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each pair of models, about UAR of classes and CCC of numbers.

    Args:
        table: From `compare_classifiers` or `compare_numbers`, with `corpus`, of numbers with `target`. P-values are
            those corrected over the pairs.
    """
    return [_sentence(row) for row in table.to_dict("records") if row["measure"] in HEADLINE_MEASURES]


def _sentence(row: dict[Any, Any]) -> str:
    measure = _NAMES[row["measure"]]
    if isinstance(row.get("target"), str):
        measure += f" of {one_line(row['target'])}"
    a, b = one_line(row["model_a"]), one_line(row["model_b"])
    place = f"On {one_line(row['corpus'])} ({row['n']} clips"
    if not row["n_speakers"]:
        return f"{place}, speakers unknown), {a} and {b} have {measure} {_difference(row)}; no test over speakers."
    place += f" of {row['n_speakers']} speakers)"
    p = f"p {p_value(row['p_holm'])}"
    if row["p_holm"] < ALPHA:
        better, worse = (a, b) if row["value"] > 0 else (b, a)
        told = _difference(row, turned=row["value"] < 0)
        return f"{place}, {better} has a higher {measure} than {worse}: {told}, {p}."
    text = f"{place}, no difference in {measure} is shown between {a} and {b}: {_difference(row)}, {p}"
    if row["smallest_p"] >= ALPHA:
        text += f"; so few speakers cannot give a p below {number(row['smallest_p'], 3)}"
    return f"{text}."


def _difference(row: dict[Any, Any], *, turned: bool = False) -> str:
    """Return both scores and their difference with its interval, of a less b, or turned of b less a."""
    first, second = (row["score_b"], row["score_a"]) if turned else (row["score_a"], row["score_b"])
    value, low, high = row["value"], row["ci_low"], row["ci_high"]
    if turned:
        value, low, high = -value, -high, -low
    interval = "" if np.isnan(low) else f" [{number(low, 3)}, {number(high, 3)}]"
    return f"{number(first, 3)} against {number(second, 3)}, difference {number(value, 3)}{interval}"
