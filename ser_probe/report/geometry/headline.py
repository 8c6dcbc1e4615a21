"""The headline table of geometry."""

from __future__ import annotations

import pandas as pd

from ser_probe.report.headline import Headline, interval_text
from ser_probe.report.tables import by_corpus, encoder_rows, first_and_last, layer_order, need, step_order

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
    lines: list[dict[str, object]] = []
    for corpus, (model,), part in by_corpus(encoder_rows(geometry), ["model"]):
        layer, steps = layer_order(part["layer"])[-1], step_order(part["step"])
        for step in first_and_last(steps):
            state = part[(part["layer"] == layer) & (part["step"] == step)]
            line: dict[str, object] = {**corpus, "model": model, "layer": layer, "step": step}
            for (measure, factor), name in _SHOWN.items():
                rows = state[(state["measure"] == measure) & (state["factor"] == factor)]
                if len(rows):
                    line[name] = rows["value"].mean()
                    if step != steps[0] and rows["change_low"].notna().all():
                        interval = interval_text(rows["change_low"].mean(), rows["change_high"].mean(), ".3g")
                        line[f"change of {name}"] = f"{rows['change'].mean():+.3g} ({interval})"
            lines.append(line)
    return pd.DataFrame(lines)


GEOMETRY_HEADLINE = Headline(
    "geometry",
    "The shape of the last layer",
    "Before and after fine-tuning. Participation ratio: how many directions the clips spread over, estimated without "
    "the bias of few clips; anisotropy: the mean cosine between two clips; shares of variance are beyond all other "
    "factors and adjusted for chance. Changes with 95 % intervals over speakers.",
    lambda tables: geometry_headline(tables["geometry"]),
)
