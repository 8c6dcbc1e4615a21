"""The few rows of the report's head that are about acoustics."""

from __future__ import annotations

import pandas as pd

from ser_probe.report.acoustics.plots import short_functional
from ser_probe.report.headline import Headline
from ser_probe.report.tables import by_corpus, need

_MEAN_LAYER = "mean"
_MOST = 3


def acoustics_headline(changes: pd.DataFrame, *, measure: str = "r2") -> pd.DataFrame:
    """Return per model the functionals that the last checkpoint lost and gained most, on the mean over layers.

    Args:
        changes: The table of changes.
        measure: `r2` or `r2_within`.

    Returns:
        A row per model and functional, the largest losses first, then the largest gains.
    """
    need(changes, ["model", "step", "layer", "feature", "flag", "measure", "value", "p_holm"], "acoustics_changes")
    rows = changes[(changes["layer"] == _MEAN_LAYER) & (changes["measure"] == measure) & (changes["flag"] == "")]
    made = []
    groups = (
        (names, model, part)
        for names, of_corpus in by_corpus(rows)
        for model, part in of_corpus.groupby("model", sort=False)
    )
    for names, model, part in groups:
        last = part[part["step"] == part["step"].max()].sort_values("value", kind="stable")
        lost, gained = last[last["value"] < 0].head(_MOST), last[last["value"] > 0].tail(_MOST).iloc[::-1]
        for what, side in (("lost", lost), ("gained", gained)):
            for _, row in side.iterrows():
                has_interval = pd.notna(row["ci_low"])
                made.append({
                    **names,
                    "model": model,
                    "step": int(row["step"]),
                    "what": what,
                    "functional": short_functional(str(row["feature"])),
                    "group": row["group"],
                    "change of R²": row["value"],
                    "95 % over speakers": f"{row['ci_low']:.3f} to {row['ci_high']:.3f}" if has_interval else None,
                    "p (Holm)": row["p_holm"],
                })  # fmt: skip
    return pd.DataFrame(made)


ACOUSTICS_HEADLINE = Headline(
    "acoustics_changes",
    "What fine-tuning lost and gained of the voice",
    "How much better or worse a linear map of unheard speakers' layers predicts an acoustic functional than before "
    "fine-tuning, mean over layers. p: over speakers, corrected over all functionals.",
    lambda tables: acoustics_headline(tables["acoustics_changes"]),
)
