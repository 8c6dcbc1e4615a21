"""Which representations resemble which: tables of similarity between layers, checkpoints, models and feature sets.

The numbers come from `measures`; here they get names, p values by permutation, and intervals that cost more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import RepresentationKey, check_features, title
from ser_probe.analysis.resampling import group_codes
from ser_probe.analysis.similarity.leave_out import add_intervals
from ser_probe.analysis.similarity.measures import DEFAULT, MEASURES, measure_pairs
from ser_probe.analysis.similarity.options import Options, PairValues
from ser_probe.analysis.similarity.permutation import Null, Permute, draw_orders, permute_pairs
from ser_probe.analysis.similarity.sources import Sides, Source, load

COLUMNS = [
    *(f"{column}_{side}" for side in "ab" for column in RepresentationKey._fields),
    "measure", "value", "ci_low", "ci_high", "p", "n", "n_speakers", "baseline", "flag",
]  # fmt: skip


@dataclass(frozen=True)
class Permutations:
    """Which p values to find.

    Args:
        count: Permutations of the clips; the smallest p value is 1 over this plus 1.
        permute: What is permuted; see `permutation` for what a p value is then of.
        pairs: Of which pairs [R, S]; of all that are written by default.
        seed: Seed of the permutations.
    """

    count: int
    permute: Permute = "clips"
    pairs: np.ndarray | None = None
    seed: int = 0


def similarity_table(
    named: Mapping[RepresentationKey, Source],
    others: Mapping[RepresentationKey, Source] | None = None,
    *,
    measures: Sequence[str] = DEFAULT,
    options: Options | None = None,
    wanted: np.ndarray | None = None,
    permutations: Permutations | None = None,
    all_intervals: bool = False,
) -> pd.DataFrame:
    """Compare every representation with every other one.

    Args:
        named: Features [N, D] by where they come from; all of the same clips in the same order, widths may differ.
        others: What to compare them with (eGeMAPS, another model); by default themselves, both ways round and each
            with itself, so that the table pivots into a full matrix. Features with units of their own should be
            `standardised`.
        measures: Names of `MEASURES`.
        options: Each clip's speaker, and choices of the measures. With three speakers or more there are intervals.
        wanted: Which pairs to write [R, S]; all by default.
        permutations: Which p values to find; none by default (`p` is NaN).
        all_intervals: Also find intervals of measures that must be computed again without each speaker.

    Returns:
        A row per pair and measure. `baseline` is what the measure is on average for unrelated clips: without it a
        biased value cannot be read. `p` is the one-sided permutation p value. `flag` says why a value is missing or
        must be read with care.

    Raises:
        AnalysisError: If there are fewer than 4 clips, NaN, features that do not vary, or other clip counts.
    """
    options = options or Options()
    keys, other_keys = list(named), list(named if others is None else others)
    titles, other_titles = [title(key) for key in keys], [title(key) for key in other_keys]
    second = None if others is None else list(others.values())
    sides = Sides(list(named.values()), second, titles, other_titles, wanted)
    values = measure_pairs(measures, sides, options)
    if all_intervals:
        values = add_intervals([name for name in measures if not MEASURES[name].interval], sides, options, values)
    n = len(load(sides.first[0]))
    nulls = _find_nulls(measures, sides, options, permutations, n)
    chosen = np.ones((len(keys), len(other_keys)), bool) if wanted is None else wanted
    pairs = _name_pairs(keys, other_keys, chosen).assign(
        n=n, n_speakers=np.nan if options.groups is None else len(group_codes(options.groups)[0])
    )
    # Other permutations keep what speakers have in common: their mean is not that of unrelated clips.
    unrelated = permutations is not None and permutations.permute == "clips"
    rows = [_columns(pairs, name, values[name], nulls.get(name), chosen, unrelated) for name in measures]
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def standardised(x: np.ndarray) -> np.ndarray:
    """Return features [N, D] with mean 0 and variance 1, float64; features that do not vary become 0.

    CKA weighs features by their variance: where they have units of their own (eGeMAPS: Hz, dB, semitones, ratios), raw
    values would compare with the few features in the smallest unit, the formants in Hz, and with nothing else.
    """
    wide = check_features(x, "The features to standardise").astype(np.float64)
    centred, deviation = wide - wide.mean(axis=0), wide.std(axis=0)
    constant = deviation <= np.finfo(np.float32).eps * np.abs(wide).max(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))


def _find_nulls(
    measures: Sequence[str], sides: Sides, options: Options, permutations: Permutations | None, n: int
) -> dict[str, Null]:
    if permutations is None or not permutations.count:
        return {}
    if permutations.pairs is not None:
        if not permutations.pairs.any():
            return {}
        sides = dataclasses.replace(sides, wanted=permutations.pairs)
    orders = draw_orders(
        n, permutations.count, permute=permutations.permute, groups=options.groups, seed=permutations.seed
    )
    return permute_pairs(measures, sides, options, orders)


def _columns(
    pairs: pd.DataFrame, name: str, values: PairValues, null: Null | None, chosen: np.ndarray, unrelated: bool
) -> pd.DataFrame:
    """Return one measure's rows; permuted clips give a baseline where none is known exactly."""
    unknown = np.full(chosen.shape, np.nan)
    baseline = values.baseline
    if null is not None and unrelated:
        baseline = np.where(np.isnan(baseline), null.mean, baseline)
    return pairs.assign(
        measure=name,
        value=values.value[chosen],
        ci_low=values.ci_low[chosen],
        ci_high=values.ci_high[chosen],
        p=(unknown if null is None else null.p)[chosen],
        baseline=baseline[chosen],
        flag=values.flag[chosen].astype(str),
    )


def _name_pairs(
    keys: Sequence[RepresentationKey], other_keys: Sequence[RepresentationKey], chosen: np.ndarray
) -> pd.DataFrame:
    places = np.argwhere(chosen)
    a = pd.DataFrame([keys[i] for i, _ in places], columns=RepresentationKey._fields)
    b = pd.DataFrame([other_keys[j] for _, j in places], columns=RepresentationKey._fields)
    return a.add_suffix("_a").join(b.add_suffix("_b"))
