"""The few rows of the report's head that are about similarity."""

from __future__ import annotations

import pandas as pd

from ser_probe.report.headline import Headline
from ser_probe.report.plots_similarity import DISTANCES, main_measure
from ser_probe.report.style import measure_name
from ser_probe.report.tables import by_corpus, with_acoustics


def similarity_headline(similarity: pd.DataFrame, *, measure: str | None = None) -> pd.DataFrame:
    """Return per checkpoint the layers most and least similar to the acoustic features.

    Args:
        similarity: The similarity table.
        measure: Which measure; the main one by default.
    """
    measure = measure or main_measure(similarity)
    rows = with_acoustics(similarity)
    rows = rows[rows["measure"] == measure]
    value = "CKA" if measure.startswith("cka") else measure_name(measure)
    made = []
    for names, rows_of in by_corpus(rows):
        made += [{**names, **row} for row in _of_checkpoints(rows_of, measure, value)]
    return pd.DataFrame(made)


def _of_checkpoints(rows: pd.DataFrame, measure: str, value: str) -> list[dict[str, object]]:
    made = []
    for (model, step), part in rows.groupby(["model_a", "step_a"]):
        ranked = part.sort_values("value", ascending=measure not in DISTANCES, kind="stable")
        near, far = ranked.iloc[-1], ranked.iloc[0]
        row: dict[str, object] = {
            "model": model,
            "step": int(float(str(step))),
            "most similar layer": near["layer_a"],
            f"{'lowest' if measure in DISTANCES else 'highest'} {value}": near["value"],
            "least similar layer": far["layer_a"],
            f"{'highest' if measure in DISTANCES else 'lowest'} {value}": far["value"],
            "mean over layers": part["value"].mean(),
        }
        if "p" in part and part["p"].notna().any():
            row["highest p"] = part["p"].max()
        made.append(row)
    return made


SIMILARITY_HEADLINE = Headline(
    "similarity",
    "Similarity to eGeMAPS",
    "Between a layer and the 88 acoustic functionals. Debiased linear CKA is 0 for independent data and 1 for the same "
    "geometry up to rotation and scale. p: the highest of all layers, by permuting the clips; not corrected.",
    lambda tables: similarity_headline(tables["similarity"]),
)
