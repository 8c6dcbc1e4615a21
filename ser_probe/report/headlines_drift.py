"""The few rows of the report's head that are about drift."""

from __future__ import annotations

import pandas as pd

from ser_probe.report.headline import Headline
from ser_probe.report.style import measure_name
from ser_probe.report.tables import need, step_order


def drift_headline(drift: pd.DataFrame) -> pd.DataFrame:
    """Return per model and measure the layers that the last checkpoint changed most and least."""
    need(drift, ["model", "step", "layer", "measure", "value"], "drift")
    last_step = step_order(drift["step"])[-1]
    # Step 0 is what drift is measured against.
    last = drift[(drift["step"] == last_step) & (drift["step"] > 0)]
    made = []
    for (model, measure), part in last.groupby(["model", "measure"], sort=False):
        # The lower a similarity, the larger the change; a change of norm is large on either side of 0.
        ranked = part.sort_values("value", key=abs if "change" in str(measure) else None, kind="stable")
        most, least = (-1, 0) if "change" in str(measure) else (0, -1)
        made.append(
            {
                "model": model,
                "measure": measure_name(str(measure)),
                "step": last_step,
                "most changed layer": ranked["layer"].iloc[most],
                "value there": ranked["value"].iloc[most],
                "least changed layer": ranked["layer"].iloc[least],
                "and there": ranked["value"].iloc[least],
            }
        )
    return pd.DataFrame(made)


DRIFT_HEADLINE = Headline(
    "drift",
    "What fine-tuning moved",
    "The last checkpoint against the state before fine-tuning. CKA and cosine: 1 is unchanged; relative change of "
    "norm: 0 is unchanged.",
    lambda tables: drift_headline(tables["drift"]),
)
