"""The few rows that answer a study's questions, taken from its tables: no statistic is made here but means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ser_probe.report.headline import Headline
from ser_probe.report.tables import NO_STEP, step_name, with_steps


def headlines(
    tables: Mapping[str, pd.DataFrame], wanted: Sequence[Headline]
) -> list[tuple[str, list[str], str, pd.DataFrame]]:
    """Return those of the headline tables that these tables allow: title, sentences, how to read it, and rows."""
    # An empty table has been reported where its figure could not be drawn.
    possible = [one for one in wanted if one.table in tables and not tables[one.table].empty]
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
