"""The few rows of the report's head that are about similarity."""

from __future__ import annotations

import pandas as pd

from ser_probe.report.headline import Headline
from ser_probe.report.tables import with_acoustics


def similarity_headline(similarity: pd.DataFrame, *, measure: str = "cka_debiased") -> pd.DataFrame:
    """Return per checkpoint the layers most and least similar to the acoustic features.

    Args:
        similarity: The similarity table.
        measure: Which measure.
    """
    rows = with_acoustics(similarity)
    rows = rows[rows["measure"] == measure]
    made = []
    for (model, step), part in rows.groupby(["model_a", "step_a"]):
        ranked = part.sort_values("value", kind="stable")
        made.append(
            {
                "model": model,
                "step": int(float(str(step))),
                "most similar layer": ranked["layer_a"].iloc[-1],
                "highest CKA": ranked["value"].iloc[-1],
                "least similar layer": ranked["layer_a"].iloc[0],
                "lowest CKA": ranked["value"].iloc[0],
                "mean over layers": part["value"].mean(),
            }
        )
    return pd.DataFrame(made)


SIMILARITY_HEADLINE = Headline(
    "similarity",
    "Similarity to eGeMAPS",
    "Debiased linear CKA between a layer and the 88 acoustic functionals: 0 for independent data, 1 for the same "
    "geometry up to rotation and scale.",
    lambda tables: similarity_headline(tables["similarity"]),
)
