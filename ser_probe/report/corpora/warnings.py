"""Values of all corpora pooled beside those of each corpus: which rows are which, and what the difference says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ser_probe.report.similarity.plots import main_measure
from ser_probe.report.style import measure_name, short
from ser_probe.report.tables import FUNCTIONALS, POOLED, has_corpora, step_name, step_order, with_acoustics, with_steps

_LISTED = 4  # corpora by name in a sentence
SHAPE, DRIFT = "participation_ratio_unbiased", "cka_debiased"


@dataclass(frozen=True)
class Compared:
    """One number of an analysis, of all corpora pooled and of each.

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
        own = {name: value for name, value in self.values.items() if name != POOLED}
        return dict(sorted(own.items(), key=lambda item: item[1]))

    def sentence(self) -> str:
        """Return the numbers, and what they say of the pooled one."""
        own = self.of_corpora
        low, high = (f"{own[name]:.3f}" for name in (next(iter(own)), list(own)[-1]))
        named = list(own) if len(own) <= _LISTED else [next(iter(own)), list(own)[-1]]
        listed = ", ".join(f"{short(name)} {own[name]:.3f}" for name in named)
        return (
            f"{self.analysis} over {len(own)} corpora: {self.what} is {self.pooled:.3f} over all clips pooled, and "
            f"{low} to {high} within the corpora ({listed}). {self._verdict()} Read the values by corpus."
        )

    def _verdict(self) -> str:
        own = list(self.of_corpora.values())
        if own[0] <= self.pooled <= own[-1]:
            return "What sets the corpora apart (channel, language, labels) is part of the pooled value."
        return "What sets the corpora apart (channel, language, labels) dominates the pooled value."


def pooling_warnings(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return a sentence for each analysis of several corpora and each model: the pooled value and those by corpus."""
    return [one.sentence() for one in compared_corpora(tables)]


def compared_corpora(tables: Mapping[str, pd.DataFrame]) -> Iterator[Compared]:
    """Yield the number of each analysis by which pooled and separate corpora are compared, of each model."""
    for name, (analysis, rows_of) in _ROWS.items():
        if name not in tables or not has_corpora(tables[name]):
            continue
        rows, model, what = rows_of(with_steps(tables[name]))
        models = list(rows[model].drop_duplicates())
        for each in models:
            part = rows[rows[model] == each]
            values = {str(corpus): float(own["value"].mean()) for corpus, own in part.groupby("corpus", sort=False)}
            values = {corpus: value for corpus, value in values.items() if value == value}
            if POOLED in values and len(values) > 2:
                of_whom = f" of {short(each)}" if len(models) > 1 else ""
                yield Compared(analysis, f"the mean over layers of {what}{of_whom}", values)


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
    own, same = rows["model_a"] == rows["model_b"], rows["layer_a"].astype(str) == rows["layer_b"].astype(str)
    across = rows[own & same & (rows["step_a"] < rows["step_b"])]
    if not across.empty:
        last, when = _at_last_step(across, "step_b")
        return last, "model_a", f"{name} of a layer before fine-tuning with itself{when}"
    if (~own).any():
        return rows[~own], "model_a", f"{name} between layers of two models"
    return rows[~same], "model_a", f"{name} between layers"


def drift_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, str, str]:
    """Return the rows of a drift table by which corpora are compared: drift from the first checkpoint at the last."""
    found = list(table["measure"].drop_duplicates())
    measure = DRIFT if DRIFT in found else found[0]
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
