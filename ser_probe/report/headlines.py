"""The few rows that answer a study's questions, taken from its tables: no statistic is made here but means."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from ser_probe.report.style import measure_name
from ser_probe.report.tables import FUNCTIONALS, best_layers, need, step_order, variants, with_acoustics

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


_MAKERS: dict[str, tuple[str, str, Callable[..., pd.DataFrame]]] = {
    "probe": (
        "Where emotion is linearly readable",
        "The layer is chosen on the validation speakers and scored on the test speakers; scores are means over probe "
        "seeds. A score says something only as far as it is above the controls to its right.",
        probe_headline,
    ),
    "similarity": (
        "Similarity to eGeMAPS",
        "Debiased linear CKA between a layer and the 88 acoustic functionals: 0 for independent data, 1 for the same "
        "geometry up to rotation and scale.",
        similarity_headline,
    ),
    "drift": (
        "What fine-tuning moved",
        "The last checkpoint against the state before fine-tuning. CKA and cosine: 1 is unchanged; relative change of "
        "norm: 0 is unchanged.",
        drift_headline,
    ),
}


def headlines(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, str, pd.DataFrame]]:
    """Return the headline tables that these tables allow, each with a title and a remark on how to read it."""
    made = []
    for name, (title, remark, make) in _MAKERS.items():
        # An empty table has been reported where its figure could not be drawn.
        if name not in tables or tables[name].empty:
            continue
        more = {"summary": tables["probe_summary"]} if name == "probe" and "probe_summary" in tables else {}
        if not (table := make(tables[name], **more)).empty:
            made.append((title, remark, table))
    return made
