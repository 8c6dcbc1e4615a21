"""The few rows that answer a study's questions, taken from its tables: no statistic is made here but means."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ser_probe.report.acoustics.headline import ACOUSTICS_HEADLINE
from ser_probe.report.drift.headline import DRIFT_HEADLINE
from ser_probe.report.evaluation.headline import EVALUATION_HEADLINE
from ser_probe.report.geometry.headline import GEOMETRY_HEADLINE
from ser_probe.report.probes.headline import (
    NUMBERS_HEADLINE,
    PROBE_CHANGES_HEADLINE,
    PROBE_HEADLINE,
    PROBE_MODELS_HEADLINE,
)
from ser_probe.report.similarity.headline import LAYERS_HEADLINE, SIMILARITY_HEADLINE
from ser_probe.report.stats.headline import STATS_HEADLINE
from ser_probe.report.tables import NO_STEP, step_name, with_steps

HEADLINES = (
    EVALUATION_HEADLINE,
    PROBE_HEADLINE,
    PROBE_MODELS_HEADLINE,
    NUMBERS_HEADLINE,
    PROBE_CHANGES_HEADLINE,
    SIMILARITY_HEADLINE,
    LAYERS_HEADLINE,
    DRIFT_HEADLINE,
    GEOMETRY_HEADLINE,
    ACOUSTICS_HEADLINE,
    STATS_HEADLINE,
)
"""In the order of the report."""


def headlines(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, list[str], str, pd.DataFrame]]:
    """Return the headline tables that these tables allow, each with a title, its sentences, and how to read it."""
    # An empty table has been reported where its figure could not be drawn.
    possible = [one for one in HEADLINES if one.table in tables and not tables[one.table].empty]
    stepped = {name: with_steps(table) for name, table in tables.items()}
    made = [(one, one.make(stepped)) for one in possible]
    return [
        (one.title, one.say(stepped), one.remark, _with_step_names(table)) for one, table in made if not table.empty
    ]


def _with_step_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return a headline table in which the step of files that name none is called so."""
    if "step" not in table or not (table["step"] == NO_STEP).any():
        return table
    return table.assign(step=table["step"].map(step_name))
