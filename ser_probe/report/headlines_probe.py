"""The few rows of the report's head that are about probe."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ser_probe.report.headline import Headline
from ser_probe.report.tables import FUNCTIONALS, best_layers, need, variants

_PROBE_KEYS = ("corpus", "model", "target", "family", "pooling")


def probe_headline(probe: pd.DataFrame, *, summary: pd.DataFrame | None = None, measure: str = "uar") -> pd.DataFrame:
    """Return per checkpoint the layer chosen on validation, its test score, and the controls beside it.

    Args:
        probe: The probe table, a row per probe seed.
        summary: The probe summary table, whose intervals over speakers are shown.
        measure: Which measure chooses and is shown.

    Returns:
        A row per checkpoint. Scores are means over probe seeds, `SD over seeds` their standard deviation.
    """
    need(probe, ["step", "layer", "control", "split", "measure", "value"], "probe")
    name = "UAR" if measure == "uar" else measure
    rows: list[dict[str, object]] = []
    for values, part in variants(probe, _PROBE_KEYS):
        test = part[(part["split"] == "test") & (part["measure"] == measure)]
        real, acoustic = test[test["control"] == "none"], test["layer"] == FUNCTIONALS
        for step, layer in best_layers(part, measure).items():
            here = (test["step"] == step) & (test["layer"] == layer)
            scores = real[(real["step"] == step) & (real["layer"] == layer)]
            row: dict[str, object] = {**values, "step": step, "layer chosen on validation": layer}
            row[f"test {name}"] = scores["value"].mean()
            row["SD over seeds"] = scores["value"].std()
            if summary is not None:
                row["95 % over speakers"] = _interval(summary, measure, values, step, layer)
            row["eGeMAPS"] = real.loc[acoustic, "value"].mean()
            row["shuffled labels"] = test.loc[here & (test["control"] == "shuffled_labels"), "value"].mean()
            row["majority class"] = test.loc[test["control"] == "majority_class", "value"].mean()
            rows.append(row)
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def _interval(summary: pd.DataFrame, measure: str, values: Mapping[str, str], step: int, layer: str) -> str | None:
    """Return a test score's interval over speakers as text; None where there is none (too few speakers)."""
    wanted = {**values, "control": "none", "split": "test", "measure": measure, "layer": layer}
    rows = summary[(summary["step"] == step) & (summary[list(wanted)] == pd.Series(wanted)).all(axis="columns")]
    rows = rows.dropna(subset=["ci_low", "ci_high"])
    return None if len(rows) != 1 else f"{rows['ci_low'].iloc[0]:.3f} to {rows['ci_high'].iloc[0]:.3f}"


PROBE_HEADLINE = Headline(
    "probe",
    "Where emotion is linearly readable",
    "The layer is chosen on the validation speakers and scored on the test speakers; scores are means over probe "
    "seeds. A score says something only as far as it is above the controls to its right.",
    lambda tables: probe_headline(tables["probe"], summary=tables.get("probe_summary")),
)
