"""The headline tables of similarity."""

from __future__ import annotations

import pandas as pd

from ser_probe.report.headline import Headline
from ser_probe.report.measures import DISTANCES, measure_name
from ser_probe.report.similarity.plots import main_measure
from ser_probe.report.style import short
from ser_probe.report.tables import FUNCTIONALS, by_corpus, with_acoustics


def similarity_headline(similarity: pd.DataFrame) -> pd.DataFrame:
    """Return per checkpoint the layers most and least similar to the acoustic features.

    Args:
        similarity: The similarity table.
    """
    measure = main_measure(similarity)
    rows = with_acoustics(similarity)
    name = "CKA" if measure.startswith("cka") else measure_name(measure)
    most, least = ("lowest", "highest") if measure in DISTANCES else ("highest", "lowest")
    lines: list[dict[str, object]] = []
    of_measure = rows[rows["measure"] == measure]
    for corpus, (model, step), part in by_corpus(of_measure, ["model_a", "step_a"], sort=True):
        near, far = _nearest_and_farthest(part, measure)
        line: dict[str, object] = {
            **corpus,
            "model": model,
            "step": int(step),
            "most similar layer": near["layer_a"],
            f"{most} {name}": near["value"],
            "least similar layer": far["layer_a"],
            f"{least} {name}": far["value"],
            "mean over layers": part["value"].mean(),
        }
        if "p" in part and part["p"].notna().any():
            line["highest p"] = part["p"].max()
        lines.append(line)
    return pd.DataFrame(lines)


def _nearest_and_farthest(rows: pd.DataFrame, measure: str) -> tuple[pd.Series, pd.Series]:
    ranked = rows.sort_values("value", ascending=measure not in DISTANCES, kind="stable")
    return ranked.iloc[-1], ranked.iloc[0]


def layers_headline(similarity: pd.DataFrame) -> pd.DataFrame:
    """Return for each two files whose layers were compared the pairs of layers that are most and least alike.

    Pairs within a file are shown only where no two files were compared, without those of a layer with itself.

    Args:
        similarity: The similarity table.
    """
    measure = main_measure(similarity)
    acoustic = pd.concat([similarity[f"layer_{side}"].astype(str).str.startswith(FUNCTIONALS) for side in "ab"], axis=1)
    rows = similarity[(similarity["measure"] == measure) & ~acoustic.any(axis=1) & similarity["value"].notna()]
    same_file = (rows["model_a"] == rows["model_b"]) & (rows["checkpoint_a"] == rows["checkpoint_b"])
    other_layer = rows["layer_a"].astype(str) != rows["layer_b"].astype(str)
    rows = rows[other_layer] if same_file.all() else rows[~same_file]
    lines: list[dict[str, object]] = []
    keys = ["model_a", "checkpoint_a", "model_b", "checkpoint_b"]
    for corpus, (model_a, name_a, model_b, name_b), part in by_corpus(rows, keys):
        near, far = _nearest_and_farthest(part, measure)
        same = part[part["layer_a"].astype(str) == part["layer_b"].astype(str)]
        line: dict[str, object] = {**corpus, "first": _named(model_a, name_a), "second": _named(model_b, name_b)}
        line |= {"most alike": f"{near['layer_a']} and {near['layer_b']}", measure_name(measure): near["value"]}
        line |= {"least alike": f"{far['layer_a']} and {far['layer_b']}", "and there": far["value"]}
        if model_a == model_b and len(same):
            line["mean of equal layers"] = same["value"].mean()
        lines.append(line)
    return pd.DataFrame(lines)


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
