"""The headline tables of probes: the chosen layers, and what changed."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ser_probe.report.headline import Headline, interval_text
from ser_probe.report.measures import measure_name, short_measure_name
from ser_probe.report.tables import FUNCTIONALS, best_layers, need, step_order, variants

_MEASURE = "uar"
_PROBE_KEYS = ("corpus", "model", "target", "family", "pooling")


def probe_headline(
    probe: pd.DataFrame,
    *,
    summary: pd.DataFrame | None = None,
    best: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return per checkpoint the layer chosen on validation, its test score, and the controls beside it.

    Args:
        probe: The probe table, a row per probe seed.
        summary: The probe summary table, whose intervals over speakers are shown.
        best: The table of chosen layers. Where folds rotate, each chooses a layer of its own, and only this table has
            the score of that.

    Returns:
        A row per checkpoint. Scores are means over probe seeds, `SD over seeds` their standard deviation.
    """
    need(probe, ["step", "layer", "control", "split", "measure", "value"], "probe")
    name = short_measure_name(_MEASURE)
    rows: list[dict[str, object]] = []
    for values, part in variants(probe, _PROBE_KEYS):
        test = part[(part["split"] == "test") & (part["measure"] == _MEASURE)]
        real = test[test["control"] == "none"]
        for step, layer in best_layers(part, _MEASURE).items():
            of_layer = test[(test["step"] == step) & (test["layer"] == layer)]
            scores = of_layer[of_layer["control"] == "none"]
            row: dict[str, object] = {**values, "step": step, "layer chosen on validation": layer}
            row[f"test {name}"] = scores["value"].mean()
            row["SD over seeds"] = scores["value"].std()
            if summary is not None:
                row["95 % over speakers"] = _interval(summary, values, step, layer)
            row |= _chosen_layer(best, values, step)
            row["eGeMAPS"] = real.loc[real["layer"] == FUNCTIONALS, "value"].mean()
            random = test[(test["control"] == "random_weights") & (test["layer"] == row["layer chosen on validation"])]
            row["random weights"] = random["value"].mean()
            row["shuffled labels"] = of_layer.loc[of_layer["control"] == "shuffled_labels", "value"].mean()
            row["majority class"] = test.loc[test["control"] == "majority_class", "value"].mean()
            rows.append(row)
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def _interval(summary: pd.DataFrame, values: Mapping[str, str], step: int, layer: str) -> str | None:
    """Return a test score's interval over speakers as text; None where there is none (too few speakers)."""
    wanted = {**values, "control": "none", "split": "test", "measure": _MEASURE, "layer": layer}
    rows = summary[(summary["step"] == step) & (summary[list(wanted)] == pd.Series(wanted)).all(axis="columns")]
    rows = rows.dropna(subset=["ci_low", "ci_high"])
    return None if len(rows) != 1 else interval_text(rows["ci_low"].iloc[0], rows["ci_high"].iloc[0])


def _chosen_layer(best: pd.DataFrame | None, values: Mapping[str, str], step: int) -> dict[str, object]:
    """Return the chosen layer, its score and its interval as the table of chosen layers has them."""
    if best is None:
        return {}
    wanted = {**values, "measure": _MEASURE}
    rows = best[(best["step"] == step) & (best[list(wanted)].astype(str) == pd.Series(wanted)).all(axis="columns")]
    if len(rows) != 1:
        return {}
    row, score = rows.iloc[0], f"test {short_measure_name(_MEASURE)}"
    cells: dict[str, object] = {"layer chosen on validation": row["layer"], score: row["test_value"]}
    if "ci_low" in rows and pd.notna(row["ci_low"]):
        cells["95 % over speakers"] = interval_text(row["ci_low"], row["ci_high"])
    return cells


def changes_headline(changes: pd.DataFrame) -> pd.DataFrame:
    """Return the layer that the last checkpoint changed most, and how many layers' changes are significant.

    Args:
        changes: The table of changes.
    """
    need(changes, ["step", "layer", "measure", "value", "ci_low", "ci_high", "p_holm"], "probe changes")
    rows: list[dict[str, object]] = []
    for values, part in variants(changes[changes["measure"] == _MEASURE], _PROBE_KEYS):
        last_step = step_order(part["step"])[-1]
        last = part[part["step"] == last_step]
        most = last.iloc[int(last["value"].abs().to_numpy().argmax())]
        significant = int((last["p_holm"] < 0.05).sum())
        interval = interval_text(most["ci_low"], most["ci_high"])
        row: dict[str, object] = {**values, "step": last_step, "most changed layer": most["layer"]}
        row |= {"change of UAR": most["value"], "95 % over speakers": interval, "p (Holm)": most["p_holm"]}
        row |= {"layers with p < 0.05": f"{significant} of {len(last)}", "test speakers": int(most["n_speakers"])}
        rows.append(row)
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def numbers_headline(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return per target and checkpoint the layer chosen on validation, and its test score with the interval.

    Args:
        numbers: The table of probes of numeric targets.
    """
    need(numbers, ["step", "layer", "control", "split", "measure", "value", "ci_low", "ci_high"], "probe_numbers")
    rows: list[dict[str, object]] = []
    layers = numbers[(numbers["control"] == "none") & (numbers["layer"] != FUNCTIONALS)]
    for values, part in variants(layers, _PROBE_KEYS):
        for step, layer in best_layers(part, "r2").items():
            test = part[(part["step"] == step) & (part["layer"] == layer) & (part["split"] == "test")]
            means = test.groupby("measure")[["value", "ci_low", "ci_high"]].mean()
            row: dict[str, object] = {**values, "step": step, "layer chosen on validation": layer}
            row[f"test {measure_name('r2')}"] = means["value"].get("r2")
            row["95 % over speakers"] = interval_text(means["ci_low"].get("r2"), means["ci_high"].get("r2"))
            row["test CCC"] = means["value"].get("ccc")
            rows.append(row)
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def models_headline(models: pd.DataFrame) -> pd.DataFrame:
    """Return a row per pair of models: both layers with their scores, and the test of the difference.

    Args:
        models: The table of models compared.
    """
    need(models, ["model_a", "model_b", "layer_a", "layer_b", "measure", "value", "p_holm"], "probe_models")
    name = short_measure_name(_MEASURE)
    rows: list[dict[str, object]] = []
    for values, part in variants(models[models["measure"] == _MEASURE], ("corpus", "target", "family")):
        rows += [
            {
                **values, "A": row["model_a"], "B": row["model_b"], "layer of A": row["layer_a"],
                "layer of B": row["layer_b"], f"test {name} of A": row["score_a"],
                "of B": row["score_b"], "A - B": row["value"],
                "95 % over speakers": interval_text(row["ci_low"], row["ci_high"]), "p (Holm)": row["p_holm"],
                "test speakers": int(row["n_speakers"]),
            }
            for row in part.to_dict("records")
        ]  # fmt: skip
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


NUMBERS_HEADLINE = Headline(
    "probe_numbers",
    "Where the probes read numeric targets",
    "The layer is chosen on the validation speakers and scored on the test speakers. R² below 0 is worse than the mean "
    "of the training clips.",
    lambda tables: numbers_headline(tables["probe_numbers"]),
)

PROBE_HEADLINE = Headline(
    "probe",
    "Where the probes read their target",
    "The layer is chosen on the validation speakers and scored on the test speakers; scores are means over probe "
    "seeds. A score says something only as far as it is above the controls to its right.",
    lambda tables: probe_headline(tables["probe"], summary=tables.get("probe_summary"), best=tables.get("best_layers")),
)

PROBE_MODELS_HEADLINE = Headline(
    "probe_models",
    "Which model the probes read better",
    "Each model at its last checkpoint and at the layer that its own validation chose, on the same test clips. "
    "p by swaps of whole speakers with Holm's correction over the pairs. Not shown to differ is not shown to be equal.",
    lambda tables: models_headline(tables["probe_models"]),
)

PROBE_CHANGES_HEADLINE = Headline(
    "probe_changes",
    "What fine-tuning did to the probe's recall",
    "The last checkpoint against the first, layer by layer, on the same clips. p by sign flips of whole speakers with "
    "Holm's correction over layers; with few test speakers no change can be significant. The largest of several "
    "changes flatters: its interval is not corrected for having been picked.",
    lambda tables: changes_headline(tables["probe_changes"]),
)
