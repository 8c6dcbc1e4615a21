"""What each layer keeps of the voice as tidy tables: every functional, what changed since the first step, group means.

Intervals and tests are over speakers, by leaving out one at a time among those that are scored, and widened because
the same speakers train the fits (see `scores.widening`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_probe.analysis.acoustics.functionals import CONSTANT
from ser_probe.analysis.acoustics.scores import MEASURES, change_p, interval, left_out_scores
from ser_probe.analysis.corrections import holm
from ser_probe.analysis.inputs import RepresentationKey

MEAN_LAYER = "mean"
"""The layer of a row that is about the mean over all layers."""
CHANGE_MEASURES = ("r2", "r2_within")


@dataclass(frozen=True)
class Functionals:
    """The functionals of a table.

    Args:
        names: K names.
        groups: The group of each.
        flags: What is wrong with each, empty for nothing.
    """

    names: Sequence[str]
    groups: Sequence[str]
    flags: Sequence[str]

    @property
    def scored(self) -> np.ndarray:
        """Positions of those that are predicted: all but constant ones."""
        return np.array([i for i, flag in enumerate(self.flags) if flag != CONSTANT], int)

    @property
    def sound(self) -> np.ndarray:
        """Whether each of the scored ones has no flag: those that means and rankings are made of."""
        return np.array([not self.flags[i] for i in self.scored], bool)


Scored = Mapping[tuple[RepresentationKey, str], np.ndarray]
"""Sums [G, K, 9] of each representation and control: `none`, `shuffled_clips`, `random_weights`, `gender_only`."""


def acoustics_table(scored: Scored, functionals: Functionals, n: int, widened: float) -> pd.DataFrame:
    """Return a row per representation, control, functional and measure, with intervals over speakers.

    A constant functional has rows without a value: it was looked at and cannot be predicted.
    """
    names, groups, flags = (np.asarray(column, object) for column in _columns(functionals))
    tables = []
    for (key, control), sums in scored.items():
        for measure, values in left_out_scores(sums).items():
            numbers = np.full((3, len(names)), np.nan)
            numbers[:, functionals.scored] = interval(values, MEASURES[measure], widened)
            tables.append(_named(key, control, measure, numbers, n, len(sums), feature=names, group=groups, flag=flags))
    return pd.concat(tables, ignore_index=True)


def changes_table(scored: Scored, functionals: Functionals, n: int, widened: float) -> pd.DataFrame:
    """Return how each functional's R2 changed since the model's first step, per layer and on the mean over layers.

    The interval is that of the paired difference, `p` its test, and `p_holm` corrected over the functionals without a
    flag of a layer and step; flagged ones have none.
    """
    which = functionals.scored
    names, groups, flags = (np.asarray(column, object)[which] for column in _columns(functionals))
    tables = []
    for steps in _by_model(scored).values():
        first = next(iter(steps.values()))
        for layers in list(steps.values())[1:]:
            pairs = [(first[layer][1], *layers[layer]) for layer in layers if layer in first]
            before = [left_out_scores(sums) for sums, _, _ in pairs]
            after = [left_out_scores(sums) for _, _, sums in pairs]
            for measure in CHANGE_MEASURES:
                differences = [now[measure] - then[measure] for then, now in zip(before, after, strict=True)]
                keys = [key for _, key, _ in pairs]
                if pairs:
                    keys.append(keys[0]._replace(layer=MEAN_LAYER))
                    differences.append(np.mean(differences, axis=0))
                for key, difference in zip(keys, differences, strict=True):
                    numbers = np.array(interval(difference, (-np.inf, np.inf), widened))
                    named = {"feature": names, "group": groups, "flag": flags}
                    table = _named(key, "none", measure, numbers, n, len(difference) - 1, **named)
                    p = change_p(difference, widened)
                    tables.append(
                        table.drop(columns="control").assign(p=p, p_holm=holm(np.where(functionals.sound, p, np.nan)))
                    )
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def groups_table(scored: Scored, functionals: Functionals, n: int, widened: float) -> pd.DataFrame:
    """Return the mean of each measure over the functionals of a group, and over all, flagged ones left out."""
    groups = np.asarray(functionals.groups, object)[functionals.scored]
    rows = []
    for (key, control), sums in scored.items():
        scores = left_out_scores(sums)
        for group in ("all", *dict.fromkeys(functionals.groups)):
            chosen = functionals.sound & ((groups == group) | (group == "all"))
            if not chosen.any():
                continue
            for measure, values in scores.items():
                value, low, high = interval(values[:, chosen].mean(axis=1), MEASURES[measure], widened)
                rows.append({
                    **key._asdict(), "group": group, "control": control, "measure": measure,
                    "value": float(value), "ci_low": float(low), "ci_high": float(high),
                    "n": n, "n_speakers": len(sums), "n_features": int(chosen.sum()),
                })  # fmt: skip
    # One table of all rows: a table a row would take longer than the fits.
    return pd.DataFrame(rows)


def _columns(functionals: Functionals) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    return functionals.names, functionals.groups, functionals.flags


def _by_model(scored: Scored) -> dict[str, dict[str, dict[str, tuple[RepresentationKey, np.ndarray]]]]:
    """Return uncontrolled sums by model, checkpoint and layer, in their order."""
    by_model: dict[str, dict[str, dict[str, tuple[RepresentationKey, np.ndarray]]]] = {}
    for (key, control), sums in scored.items():
        if control == "none":
            by_model.setdefault(key.model, {}).setdefault(key.checkpoint, {})[key.layer] = key, sums
    return by_model


def _named(
    key: RepresentationKey, control: str, measure: str, numbers: np.ndarray, n: int, n_speakers: int, **columns: object
) -> pd.DataFrame:
    value, low, high = numbers
    return pd.DataFrame({
        **key._asdict(), **columns, "control": control, "measure": measure,
        "value": value, "ci_low": low, "ci_high": high, "n": n, "n_speakers": n_speakers,
    })  # fmt: skip
