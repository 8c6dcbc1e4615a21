"""The few rows of the report's head that are about similarity."""

from __future__ import annotations

import pandas as pd

from ser_probe.report.headline import Headline
from ser_probe.report.similarity.plots import DISTANCES, main_measure
from ser_probe.report.style import measure_name, short
from ser_probe.report.tables import FUNCTIONALS, by_corpus, with_acoustics


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


def layers_headline(similarity: pd.DataFrame, *, measure: str | None = None) -> pd.DataFrame:
    """Return of each two files whose layers were compared the pairs of layers that are most and least alike.

    Pairs of layers of one file only where there are no others. A layer beside itself in one file says nothing.

    Args:
        similarity: The similarity table.
        measure: Which measure; the main one by default.
    """
    measure = measure or main_measure(similarity)
    acoustic = pd.concat([similarity[f"layer_{side}"].astype(str).str.startswith(FUNCTIONALS) for side in "ab"], axis=1)
    rows = similarity[(similarity["measure"] == measure) & ~acoustic.any(axis=1) & similarity["value"].notna()]
    alike = (rows["model_a"] == rows["model_b"]) & (rows["checkpoint_a"] == rows["checkpoint_b"])
    rows = rows[~alike] if (~alike).any() else rows[rows["layer_a"].astype(str) != rows["layer_b"].astype(str)]
    made = []
    for names, of_corpus in by_corpus(rows):
        for (model_a, name_a, model_b, name_b), part in of_corpus.groupby(
            ["model_a", "checkpoint_a", "model_b", "checkpoint_b"], sort=False
        ):
            ranked = part.sort_values("value", ascending=measure not in DISTANCES, kind="stable")
            near, far = ranked.iloc[-1], ranked.iloc[0]
            same = part[part["layer_a"].astype(str) == part["layer_b"].astype(str)]
            row: dict[str, object] = {**names, "first": _named(model_a, name_a), "second": _named(model_b, name_b)}
            row |= {"most alike": f"{near['layer_a']} and {near['layer_b']}", measure_name(measure): near["value"]}
            row |= {"least alike": f"{far['layer_a']} and {far['layer_b']}", "and there": far["value"]}
            if model_a == model_b and len(same):
                row["mean of equal layers"] = same["value"].mean()
            made.append(row)
    return pd.DataFrame(made)


def _named(model: object, checkpoint: object) -> str:
    return " ".join(str(part) for part in (short(model, 24), checkpoint) if part)


SIMILARITY_HEADLINE = Headline(
    "similarity",
    "Similarity to eGeMAPS",
    "Between a layer and the 88 acoustic functionals. Debiased linear CKA is 0 for independent data and 1 for the same "
    "geometry up to rotation and scale. p: the highest of all layers, by permuting the clips; not corrected.",
    lambda tables: similarity_headline(tables["similarity"]),
)

LAYERS_HEADLINE = Headline(
    "similarity",
    "Similarity between layers",
    "Which layers of two files are most and least alike. Models fed the same audio are alike for that alone, and "
    "neighbouring layers by construction.",
    lambda tables: layers_headline(tables["similarity"]),
)
