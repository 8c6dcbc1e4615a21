"""Warnings about values over several corpora pooled: how far they are from the values within each corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ser_probe.report.measures import measure_name
from ser_probe.report.similarity.plots import main_measure
from ser_probe.report.style import short
from ser_probe.report.tables import FUNCTIONALS, POOLED, has_corpora, step_name, step_order, with_acoustics, with_steps

_MOST_NAMED = 4  # corpora in a sentence
SHAPE, DRIFT = "participation_ratio_unbiased", "cka_debiased"


@dataclass(frozen=True)
class Compared:
    """A number of an analysis, of all corpora pooled and of each.

    Args:
        analysis: What is analysed.
        what: What the number is.
        values: By corpus, `all` among them.
    """

    analysis: str
    what: str
    values: Mapping[str, float]

    @property
    def pooled(self) -> float:
        """The value of all corpora pooled."""
        return self.values[POOLED]

    @property
    def of_corpora(self) -> dict[str, float]:
        """The values of the corpora, the lowest first."""
        values = {name: value for name, value in self.values.items() if name != POOLED}
        return dict(sorted(values.items(), key=lambda item: item[1]))

    def sentence(self) -> str:
        """Return the numbers, and what they say of the pooled one."""
        corpora = list(self.of_corpora)
        lowest, highest = self.of_corpora[corpora[0]], self.of_corpora[corpora[-1]]
        named = corpora if len(corpora) <= _MOST_NAMED else [corpora[0], corpora[-1]]
        listed = ", ".join(f"{short(name)} {self.values[name]:.3f}" for name in named)
        effect = "is part of" if lowest <= self.pooled <= highest else "dominates"
        return (
            f"{self.analysis} over {len(corpora)} corpora: {self.what} is {self.pooled:.3f} over all clips pooled, and "
            f"{lowest:.3f} to {highest:.3f} within the corpora ({listed}). What sets the corpora apart (channel, "
            f"language, labels) {effect} the pooled value. Read the values by corpus."
        )


def pooling_warnings(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return a sentence for each analysis of several corpora and each model: the pooled value and those by corpus."""
    return [comparison.sentence() for comparison in compared_corpora(tables)]


def compared_corpora(tables: Mapping[str, pd.DataFrame]) -> Iterator[Compared]:
    """Yield, for each analysis and model, the number by which pooled and separate corpora are compared."""
    for table, (analysis, rows_of) in _ROWS.items():
        if table not in tables or not has_corpora(tables[table]):
            continue
        rows, model, what = rows_of(with_steps(tables[table]))
        models = list(rows[model].drop_duplicates())
        for name in models:
            means = rows[rows[model] == name].groupby("corpus", sort=False)["value"].mean().dropna()
            values = {str(corpus): float(value) for corpus, value in means.items()}
            if POOLED in values and len(values) > 2:
                of_model = f" of {short(name)}" if len(models) > 1 else ""
                yield Compared(analysis, f"the mean over layers of {what}{of_model}", values)


def similarity_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, str, str]:
    """Return the rows of a similarity table by which corpora are compared, the column of models, and what they are.

    Layers with acoustic features at the last step; without, the same layers before and after fine-tuning; without,
    two models; without, different layers of a file.
    """
    measure = main_measure(table)
    name, rows = measure_name(measure), table[table["measure"] == measure]
    acoustic = with_acoustics(rows)
    if not acoustic.empty:
        last, when = _at_last_step(acoustic, "step_a")
        return last, "model_a", f"{name} with eGeMAPS{when}"
    same_model = rows["model_a"] == rows["model_b"]
    same_layer = rows["layer_a"].astype(str) == rows["layer_b"].astype(str)
    before_and_after = rows[same_model & same_layer & (rows["step_a"] < rows["step_b"])]
    if not before_and_after.empty:
        last, when = _at_last_step(before_and_after, "step_b")
        return last, "model_a", f"{name} of a layer before fine-tuning with itself{when}"
    if not same_model.all():
        return rows[~same_model], "model_a", f"{name} between layers of two models"
    return rows[~same_layer], "model_a", f"{name} between layers"


def drift_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, str, str]:
    """Return the rows of a drift table by which corpora are compared: drift from the first checkpoint at the last."""
    measures = list(table["measure"].drop_duplicates())
    measure = DRIFT if DRIFT in measures else measures[0]
    rows = table[(table["measure"] == measure) & (table["step"] > 0)]
    rows, when = _at_last_step(rows[rows["against"] == "first"] if "against" in rows else rows, "step")
    return rows, "model", f"{measure_name(measure)} with the state before fine-tuning{when}"


def geometry_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, str, str]:
    """Return the rows of a geometry table by which corpora are compared: how many directions clips spread over."""
    rows = table[(table["measure"] == SHAPE) & (table["layer"].astype(str) != FUNCTIONALS)]
    rows, when = _at_last_step(rows, "step")
    return rows, "model", f"the {measure_name(SHAPE)}{when}"


def acoustics_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, str, str]:
    """Return the rows of a table of groups of functionals by which corpora are compared: all functionals together."""
    rows = table[(table["group"] == "all") & (table["control"] == "none") & (table["measure"] == "r2")]
    rows, when = _at_last_step(rows, "step")
    return rows, "model", f"{measure_name('r2')} of the functionals{when}"


_ROWS = {
    "similarity": ("Similarity", similarity_rows),
    "drift": ("Drift", drift_rows),
    "geometry": ("Geometry", geometry_rows),
    "acoustics_groups": ("Acoustics", acoustics_rows),
}


def _at_last_step(rows: pd.DataFrame, column: str) -> tuple[pd.DataFrame, str]:
    """Return the rows of the last step, and the words for it; all rows where none has a step."""
    steps: Sequence[int] = step_order(rows[column])
    if not steps:
        return rows, ""
    when = "" if step_name(steps[-1]) == "none" else f" at step {steps[-1]}"
    return rows[rows[column] == steps[-1]], when
