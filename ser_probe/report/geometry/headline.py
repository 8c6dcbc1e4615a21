"""The few rows of the report's head that are about geometry."""

from __future__ import annotations

import pandas as pd

from ser_probe.report.headline import Headline
from ser_probe.report.tables import FUNCTIONALS, by_corpus, layer_order, need, step_order

_SHOWN = {
    ("participation_ratio_unbiased", ""): "dimension (participation ratio)",
    ("anisotropy", ""): "anisotropy",
    ("unique_share", "label"): "variance about label",
    ("unique_share", "speaker"): "variance about speaker",
}


def geometry_headline(geometry: pd.DataFrame) -> pd.DataFrame:
    """Return per model the last layer before and after fine-tuning: dimension, anisotropy, what its variance is about.

    Args:
        geometry: The geometry table.

    Returns:
        A row per model and checkpoint (the first and the last), with the change beside the last.
    """
    need(geometry, ["model", "step", "layer", "measure", "factor", "value"], "geometry")
    rows = geometry[geometry["step"].notna() & (geometry["layer"] != FUNCTIONALS)]
    made = []
    groups = (
        (names, model, part)
        for names, of_corpus in by_corpus(rows)
        for model, part in of_corpus.groupby("model", sort=False)
    )
    for names, model, part in groups:
        layer, steps = layer_order(part["layer"])[-1], step_order(part["step"])
        for step in dict.fromkeys([steps[0], steps[-1]]):
            here = part[(part["layer"] == layer) & (part["step"] == step)]
            row: dict[str, object] = {**names, "model": model, "layer": layer, "step": step}
            for (measure, factor), name in _SHOWN.items():
                own = here[(here["measure"] == measure) & (here["factor"] == factor)]
                if len(own):
                    row[name] = own["value"].mean()
                    if step != steps[0] and own["change_low"].notna().all():
                        row[f"change of {name}"] = _interval(own)
            made.append(row)
    return pd.DataFrame(made)


def _interval(own: pd.DataFrame) -> str:
    change, low, high = (own[name].mean() for name in ("change", "change_low", "change_high"))
    return f"{change:+.3g} ({low:.3g} to {high:.3g})"


GEOMETRY_HEADLINE = Headline(
    "geometry",
    "The shape of the last layer",
    "Before and after fine-tuning. Participation ratio: how many directions the clips spread over, estimated without "
    "the bias of few clips; anisotropy: the mean cosine between two clips; shares of variance are beyond all other "
    "factors and adjusted for chance. Changes with 95 % intervals over speakers.",
    lambda tables: geometry_headline(tables["geometry"]),
)
