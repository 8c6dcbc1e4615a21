"""The headline table of acoustics."""

from __future__ import annotations

import pandas as pd

from ser_probe.report.acoustics.plots import short_functional
from ser_probe.report.headline import Headline, interval_text
from ser_probe.report.tables import by_corpus, need

_MEAN_LAYER = "mean"
_SHOWN = 3  # functionals on each side


def acoustics_headline(changes: pd.DataFrame) -> pd.DataFrame:
    """Return per model the functionals that the last checkpoint lost and gained most, on the mean over layers.

    Args:
        changes: The table of changes.

    Returns:
        A row per model and functional, the largest losses first, then the largest gains.
    """
    need(changes, ["model", "step", "layer", "feature", "flag", "measure", "value", "p_holm"], "acoustics_changes")
    rows = changes[(changes["layer"] == _MEAN_LAYER) & (changes["measure"] == "r2") & (changes["flag"] == "")]
    lines: list[dict[str, object]] = []
    for corpus, (model,), part in by_corpus(rows, ["model"]):
        last = part[part["step"] == part["step"].max()].sort_values("value", kind="stable")
        lost, gained = (
            last[last["value"] < 0].head(_SHOWN),
            last[last["value"] > 0].tail(_SHOWN).iloc[::-1],
        )
        for what, side in (("lost", lost), ("gained", gained)):
            lines += [
                {
                    **corpus,
                    "model": model,
                    "step": int(row["step"]),
                    "what": what,
                    "functional": short_functional(str(row["feature"])),
                    "group": row["group"],
                    "change of R²": row["value"],
                    "95 % over speakers": interval_text(row["ci_low"], row["ci_high"]),
                    "p (Holm)": row["p_holm"],
                }
                for row in side.to_dict("records")
            ]
    return pd.DataFrame(lines)


ACOUSTICS_HEADLINE = Headline(
    "acoustics_changes",
    "What fine-tuning lost and gained of the voice",
    "How much better or worse a linear map of unheard speakers' layers predicts an acoustic functional than before "
    "fine-tuning, mean over layers. p: over speakers, corrected over all functionals.",
    lambda tables: acoustics_headline(tables["acoustics_changes"]),
)
