"""The headline table of statistics."""

from __future__ import annotations

import pandas as pd

from ser_probe.report.headline import Headline
from ser_probe.report.tables import need

_COLUMNS = {"analysis": "of", "term": "term", "F": "F", "p": "p", "partial_eta_sq": "partial η²", "omega_sq": "ω²"}
_RESIDUAL = "Residual"


def stats_headline(anova: pd.DataFrame) -> pd.DataFrame:
    """Return the terms of each analysis of variance, without residuals."""
    need(anova, ["term", "F", "p", "partial_eta_sq"], "anova")
    rows = anova[anova["term"] != _RESIDUAL]
    shown = [name for name in _COLUMNS if name in rows and not (rows[name] == "").all()]
    # With three decimals a p of 0.0004 would read as none at all.
    p = rows["p"].map(lambda value: "< .001" if value < 0.001 else f"{value:.3f}")
    return rows.assign(p=p)[shown].rename(columns=_COLUMNS).reset_index(drop=True)


STATS_HEADLINE = Headline(
    "anova",
    "What explains the scores",
    "Analysis of variance of the test scores. Where the repetitions are seeds of a probe, it says whether differences "
    "would come again with other seeds, and nothing about other speakers or other fine-tuning runs. Partial η²: share "
    "of the variance that a term explains of what the others leave.",
    lambda tables: stats_headline(tables["anova"]),
)
