"""The drift floor: the same measures between states that should be equal. Drift below it means nothing.

Two kinds of pairs give a floor:

- `repeat`: the reference against itself, extracted again with another batch size or precision. What differs is
  arithmetic; drift below it may be arithmetic too.
- `seed`: the checkpoint against those of the same step of other fine-tuning seeds. What differs is chance in training;
  drift from the first checkpoint that is below it is not reproduced by other seeds.

There is no floor from two halves of the clips: drift is measured on the same clips, clip by clip, and two halves are
different clips. The interval over speakers shows how a paired measure depends on the choice of clips.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ser_probe.analysis.drift.measures import MEASURES

REPEAT, SEED = "repeat", "seed"
KINDS = (REPEAT, SEED)
ROUNDING = 1e-6
"""A change this small is rounding, whatever the floor: measures and float32 embeddings are exact to about 1e-7."""

_KEYS = ["kind", "step", "layer", "group_by", "group", "measure"]


def change(measure: str, value: np.ndarray | pd.Series) -> np.ndarray:
    """Return how far values of a measure are from no drift, from 0 on; on the side where no drift lies it is 0."""
    distance = np.asarray(value, float) - MEASURES[measure].unchanged
    side = MEASURES[measure].side
    return np.maximum(0.0, side * distance) + 0.0 if side else np.abs(distance)  # + 0.0: no minus zero


def floor_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return of each kind, step, layer, group and measure the pair of equal states that differ most.

    Args:
        pairs: A row per pair and measure: `kind`, `step`, `layer`, `group_by`, `group`, `measure`, `value`, `ci_low`,
            `ci_high`, `n`.

    Returns:
        `value` and its interval of that pair; `limit`, the end of an interval that is furthest from no drift, of all
        pairs (the value itself where there is none): what drift has to pass; `n_pairs`.
    """
    rows = []
    for keys, part in pairs.dropna(subset="value").groupby(_KEYS, sort=False):
        measure = str(keys[-1])
        ends = part[["value", "ci_low", "ci_high"]].to_numpy(float)
        furthest = ends.ravel()[np.nanargmax(change(measure, ends.ravel()))]
        worst = part.iloc[int(np.argmax(change(measure, part["value"])))]
        rows.append(
            {
                **dict(zip(_KEYS, keys, strict=True)),
                **worst[["value", "ci_low", "ci_high", "n"]],
                "limit": furthest,
                "n_pairs": len(part),
            }
        )
    return pd.DataFrame(rows, columns=[*_KEYS, "value", "ci_low", "ci_high", "n", "limit", "n_pairs"])


def add_floor(drift: pd.DataFrame, floor: pd.DataFrame) -> pd.DataFrame:
    """Return drift with the floor that each row has to pass, and whether it does.

    Args:
        drift: Columns `step`, `layer`, `against`, `measure`, `value`, `ci_low`, `ci_high`, `group_by`, `group`.
        floor: What `floor_table` has returned; it may be empty.

    Returns:
        With `floor_repeat` and `floor_seed`, how far from no drift their limits are (NaN where not measured), and
        `above_floor`: whether the whole interval of the drift is further than every floor there is; NA where there is
        none. The seeds' floor is for drift from the first checkpoint of the same step, and for no other.
    """
    drift = drift.reset_index(drop=True)
    limits = {}
    for kind in KINDS:
        of_kind = floor[floor["kind"] == kind]
        keys = ["layer", "measure", "group_by", "group", *(["step"] if kind == SEED else [])]
        limit = drift[keys].merge(of_kind[[*keys, "limit"]], on=keys, how="left")["limit"].to_numpy(float)
        if kind == SEED:
            limit = np.where(drift["against"] == "first", limit, np.nan)
        limits[kind] = _by_measure(drift["measure"], limit)
    highest = np.fmax(limits[REPEAT], limits[SEED])
    above = pd.array(_least_change(drift) > np.fmax(highest, ROUNDING), dtype="boolean")
    above[np.isnan(highest)] = pd.NA
    return drift.assign(floor_repeat=limits[REPEAT], floor_seed=limits[SEED], above_floor=above)


def _least_change(drift: pd.DataFrame) -> np.ndarray:
    """Return how far from no drift the nearest point of each interval is: 0 where it holds no drift."""
    least = np.zeros(len(drift))
    for measure, rows in drift.groupby("measure").indices.items():
        value, low, high = (drift[name].to_numpy(float)[rows] for name in ("value", "ci_low", "ci_high"))
        unchanged = MEASURES[str(measure)].unchanged
        nearest = np.minimum(change(str(measure), low), change(str(measure), high))
        nearest = np.where((low < unchanged) & (high > unchanged), 0.0, nearest)
        least[rows] = np.where(np.isnan(low), change(str(measure), value), nearest)
    return least


def _by_measure(measures: pd.Series, values: np.ndarray) -> np.ndarray:
    """Return how far from no drift values of various measures are."""
    changes = np.full(len(values), np.nan)
    for measure, rows in measures.reset_index(drop=True).groupby(measures.to_numpy()).indices.items():
        changes[rows] = change(str(measure), values[rows])
    return changes
