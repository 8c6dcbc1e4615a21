"""Does one model read better than another? Each at the layer that validation chose, paired on the same test clips."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ser_probe.analysis.inputs import as_key
from ser_probe.analysis.paired import compare_classifiers
from ser_probe.analysis.probes.families import TEST
from ser_probe.analysis.probes.fitting import Probes
from ser_probe.analysis.probes.selection import choose_layer, chosen_by


def model_table(models: Mapping[str, Probes], *, measure: str = "uar") -> pd.DataFrame:
    """Compare every two of several models, each with the layer that its own validation scores choose.

    Layers of two models do not correspond, and the best of many on test would be the luckiest. Each fold chooses for
    itself, as in `best_layers`; the tests are those of `compare_classifiers`: whole speakers are swapped or drawn, and
    several probe seeds are averaged.

    Args:
        models: By what tables call the model: the probes of its layers, all on one division of the same clips.
        measure: What a layer is chosen by.

    Returns:
        The columns of `compare_classifiers`, and of both models `checkpoint_a`, `step_a`, `layer_a` (the most frequent
        choice), `chosen_by_a` and so on. No row for fewer than two models.
    """
    if len(models) < 2:
        return pd.DataFrame()
    first = next(iter(models.values()))
    choices = {name: choose_layer(probes, range(len(probes.names)), measure=measure) for name, probes in models.items()}
    table = compare_classifiers(
        first.truth(TEST), {name: choice.answers for name, choice in choices.items()}, first.target.n_classes,
        first.speakers(TEST),
    )  # fmt: skip
    keys = {name: as_key(probes.names[choices[name].index]) for name, probes in models.items()}
    words = {name: chosen_by(probes, choices[name]) for name, probes in models.items()}
    for side in "ab":
        for column in ("checkpoint", "step", "layer"):
            table[f"{column}_{side}"] = [getattr(keys[name], column) for name in table[f"model_{side}"]]
        table[f"chosen_by_{side}"] = table[f"model_{side}"].map(words)
    return table.assign(chosen_on=measure)
