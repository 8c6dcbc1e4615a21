"""The headline table of drift."""

from __future__ import annotations

import pandas as pd

from ser_probe.report.headline import Headline
from ser_probe.report.measures import UNCHANGED, measure_name
from ser_probe.report.tables import by_corpus, layer_order, need, step_order

_MOST_NAMED = 8  # layers by name in a cell of a table


def drift_headline(drift: pd.DataFrame) -> pd.DataFrame:
    """Return per model and measure the layers that the last checkpoint changed most and least.

    `above the floor` counts and names the layers whose whole interval lies beyond the floor; there is no such column
    where no floor was measured.
    """
    need(drift, ["model", "step", "layer", "measure", "value"], "drift")
    if "against" in drift:
        drift = drift[drift["against"] == "first"]
    # Step 0 is what drift is measured against.
    drift = drift[drift["step"] > 0]
    lines: list[dict[str, object]] = []
    for corpus, (model, measure), rows in by_corpus(drift, ["model", "measure"]):
        last_step = step_order(rows["step"])[-1]
        part = rows[rows["step"] == last_step]
        ranked = part.loc[(part["value"] - UNCHANGED.get(str(measure), 0.0)).abs().sort_values(kind="stable").index]
        lines.append(
            {
                **corpus,
                "model": model,
                "measure": measure_name(str(measure)),
                "step": last_step,
                "most changed layer": ranked["layer"].iloc[-1],
                "value there": ranked["value"].iloc[-1],
                "least changed layer": ranked["layer"].iloc[0],
                "and there": ranked["value"].iloc[0],
                **_above_floor(part),
            }
        )
    return pd.DataFrame(lines).dropna(axis="columns", how="all")


def _above_floor(part: pd.DataFrame) -> dict[str, object]:
    """Return how many layers, and which, are above the floor; nothing where there is no floor."""
    if "above_floor" not in part or part["above_floor"].isna().all():
        return {}
    above = layer_order(part.loc[part["above_floor"].fillna(False).astype(bool), "layer"])
    if len(above) == part["layer"].nunique() or not above:
        return {"above the floor": "all layers" if above else "no layer"}
    named = ", ".join(above[:_MOST_NAMED]) + (", ..." if len(above) > _MOST_NAMED else "")
    return {"above the floor": f"{len(above)} of {part['layer'].nunique()}: {named}"}


DRIFT_HEADLINE = Headline(
    "drift",
    "What fine-tuning moved",
    "The last checkpoint against the state before fine-tuning. CKA, cosines and neighbours: 1 is unchanged; others: "
    "0. A layer counts as moved where its whole interval over speakers is beyond the floor, which is what "
    "the same weights extracted again, or another seed of fine-tuning, change by themselves.",
    lambda tables: drift_headline(tables["drift"]),
)
