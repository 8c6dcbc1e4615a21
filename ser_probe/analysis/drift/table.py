"""How far one layer has moved between pairs of its states, on the same clips: of all of them, by label, by speaker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from ser_probe.analysis.drift.alignment import procrustes, procrustes_value, shared_coordinates
from ser_probe.analysis.drift.directions import mean_cosine, mean_cosine_centred, relative_norm_change
from ser_probe.analysis.drift.measures import MEASURES
from ser_probe.analysis.drift.moments import MeanShift, Spread, covariance_shift, covariance_shift_value
from ser_probe.analysis.drift.neighbours import DEFAULT_NEIGHBOURS, knn_overlap
from ser_probe.analysis.drift.ratios import ClipRatio
from ser_probe.analysis.inputs import check_features, check_lengths
from ser_probe.analysis.resampling import MIN_SPEAKERS
from ser_probe.analysis.similarity.cka import cka_pairs
from ser_probe.analysis.similarity.mutual_knn import nearest_neighbours
from ser_probe.analysis.similarity.options import PairValues
from ser_probe.errors import AnalysisError, did_you_mean

COLUMNS = [
    "pair", "group_by", "group", "measure", "value", "ci_low", "ci_high", "n", "n_speakers", "baseline",
]  # fmt: skip
Numbers = tuple[float, float, float]
"""Value, lower and upper end of its 95 % interval, NaN where there is none."""
OVERALL, ALL = "overall", "all"
MIN_GROUP_CLIPS = 10
"""Clips that a group needs for the CKA within it: that of fewer is all noise."""
MOST_NEIGHBOURS = 0.25
"""Share of the other clips that are neighbours at most, in small data."""


def layer_drift(
    states: Sequence[np.ndarray],
    pairs: Sequence[tuple[int, int]],
    *,
    names: Sequence[str] | None = None,
    speakers: np.ndarray | None = None,
    groupings: Mapping[str, np.ndarray] | None = None,
    measures: Sequence[str] = tuple(MEASURES),
    n_neighbours: int = DEFAULT_NEIGHBOURS,
    overall_only: Collection[int] = (),
) -> pd.DataFrame:
    """Measure the drift of one layer between pairs of its states.

    Args:
        states: The layer's features [N, D] at different times, rows of the same clips.
        pairs: Positions of the state measured from, and of the one measured.
        names: What messages call the states.
        speakers: Each clip's speaker [N]. With three speakers or more there are intervals: jackknife over speakers.
        groupings: Each clip's group [N] by what groups them (`label`, `speaker`): the drift of each group alone.
        measures: Names of `MEASURES`.
        n_neighbours: Neighbours for `knn_overlap`; in small data at most a quarter of the clips.
        overall_only: Positions of pairs whose `procrustes` and `covariance_shift` are computed over all clips only and
            without an interval, which halves their time.

    Returns:
        A row per pair, group and measure. `pair` is the position in `pairs`; `group_by` and `group` are `overall` and
        `all` for all clips. Means over clips are those of the group's clips, with neighbours, mean vectors, variance
        and rotation those of all clips; CKA is that within the group, and is left out below 10 clips. `baseline` is
        the mean value for unrelated features, NaN where there is no one such value.

    Raises:
        AnalysisError: If a measure is not known, states do not match, there is one clip, or features are NaN,
            constant, or zero for a clip.
    """
    for measure in measures:
        if measure not in MEASURES:
            raise AnalysisError(f"There is no measure of drift {measure!r}", fix=did_you_mean(measure, MEASURES))
    names = list(names or [f"state {index}" for index in range(len(states))])
    checked = [check_features(state, name) for state, name in zip(states, names, strict=True)]
    for state, name in zip(checked, names, strict=True):
        if state.shape != checked[0].shape:
            raise AnalysisError(
                "A layer has another shape now than in the reference",
                where=name,
                expected=f"{checked[0].shape} (as {names[0]})",
                found=state.shape,
                fix="join them on clip_id first, and compare caches of one architecture",
            )
    if len(checked[0]) < 2:
        raise AnalysisError(
            "Drift is measured over several clips", where=names[0], expected="two clips or more", found="1"
        )
    columns = {**({} if speakers is None else {"speakers": speakers}), **(groupings or {})}
    check_lengths(features=checked[0], **columns)
    layer = _Layer(checked, names, n_neighbours, speakers)
    groups = dict(_groups(len(checked[0]), groupings or {}))
    within = {group: layer.cka(group, chosen) for group, chosen in groups.items() if "cka_debiased" in measures}
    rows = []
    for place, pair in enumerate(pairs):
        of_sums = [measure for measure in measures if measure != "cka_debiased"]
        is_overall = place in overall_only and pair[0] != pair[1]
        fast = [measure for measure in of_sums if measure in _OVERALL_VALUES] if is_overall else []
        of_pair = _values_of_pair(layer, pair, groups, [measure for measure in of_sums if measure not in fast])
        of_pair[OVERALL, ALL] |= {name: (_OVERALL_VALUES[name](layer, pair), np.nan, np.nan) for name in fast}
        for group, chosen in groups.items():
            numbers = {**_cka_of(within.get(group), pair), **of_pair[group]}
            n_speakers = np.nan if speakers is None else len(np.unique(speakers[chosen]))
            rows += [
                [place, *group, name, *numbers[name], int(chosen.sum()), n_speakers, layer.baselines.get(name, np.nan)]
                for name in measures
                if name in numbers
            ]
    return pd.DataFrame(rows, columns=COLUMNS)


class _Layer:
    """The states of a layer, and what is computed once of each."""

    def __init__(
        self, states: Sequence[np.ndarray], names: Sequence[str], n_neighbours: int, speakers: np.ndarray | None
    ) -> None:
        self.states, self.names, self.speakers, n = states, names, speakers, len(states[0])
        self.k = max(1, min(n_neighbours, int(MOST_NEIGHBOURS * (n - 1))))
        self.baselines = {"cka_debiased": 0.0, "mean_cosine_centred": 0.0, "knn_overlap": self.k / (n - 1)}
        self._neighbours: dict[int, np.ndarray] = {}
        self._spreads: dict[int, Spread] = {}

    def pair(self, pair: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return two states, float64, in coordinates of no more dimensions than their rows span."""
        return shared_coordinates(self.states[pair[0]].astype(np.float64), self.states[pair[1]].astype(np.float64))

    def cka(self, group: tuple[str, str], chosen: np.ndarray) -> PairValues | None:
        """Return the CKA of all pairs of states within a group; None where it has too few clips."""
        if group[0] != OVERALL and chosen.sum() < MIN_GROUP_CLIPS:
            return None
        speakers = self.speakers if self.speakers is None else self.speakers[chosen]
        titles = self.names if group[0] == OVERALL else [f"{name}, {group[0]} {group[1]}" for name in self.names]
        return cka_pairs([state[chosen] for state in self.states], groups=speakers, names=titles)["cka_debiased"]

    def neighbours(self, index: int) -> np.ndarray:
        if index not in self._neighbours:
            self._neighbours[index] = nearest_neighbours(self.states[index], self.k, "euclidean")
        return self._neighbours[index]

    def unchanged(self, measure: str, chosen: np.ndarray) -> Numbers:
        """Return what a measure is between a state and itself."""
        value = MEASURES[measure].unchanged
        has_interval = self.speakers is not None and len(np.unique(self.speakers[chosen])) >= MIN_SPEAKERS
        return (value, value, value) if has_interval else (value, np.nan, np.nan)

    def spreads(self, pair: tuple[int, int]) -> tuple[Spread, Spread]:
        """Return the spreads of two states."""
        x, y = self.pair(pair)
        return self.spread(pair[0], x), self.spread(pair[1], y)

    def spread(self, index: int, x: np.ndarray) -> Spread:
        """Return the spread of a state, given as `pair` has it; kept where that is in the coordinates of the state."""
        if x.shape[1] < self.states[index].shape[1]:
            return Spread(x)
        if index not in self._spreads:
            self._spreads[index] = Spread(x)
        return self._spreads[index]


def _groups(n: int, groupings: Mapping[str, np.ndarray]) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """Yield all clips, and then each group of each grouping, as a mask [N]."""
    yield (OVERALL, ALL), np.ones(n, bool)
    for by, column in groupings.items():
        column = np.asarray(column).astype(str)
        for group in np.unique(column):
            yield (by, str(group)), column == group


def _cka_of(within: PairValues | None, pair: tuple[int, int]) -> dict[str, Numbers]:
    if within is None:
        return {}
    return {"cka_debiased": (float(within.value[pair]), float(within.ci_low[pair]), float(within.ci_high[pair]))}


def _values_of_pair(
    layer: _Layer, pair: tuple[int, int], groups: Mapping[tuple[str, str], np.ndarray], measures: Sequence[str]
) -> dict[tuple[str, str], dict[str, Numbers]]:
    """Return value and interval of the measures that are sums over clips, by group and measure."""
    wanted = {
        group: [measure for measure in measures if group[0] == OVERALL or MEASURES[measure].by_group]
        for group in groups
    }
    if pair[0] == pair[1]:
        # Rounding apart, nothing else can come out.
        return {group: {name: layer.unchanged(name, groups[group]) for name in wanted[group]} for group in groups}
    x, y = layer.pair(pair)
    shift = MeanShift(x, y, layer.speakers) if "mean_shift" in measures else None
    ratios = {name: _ratio(name, layer, pair, x, y) for name in measures if name != "mean_shift"}
    numbers: dict[tuple[str, str], dict[str, Numbers]] = {}
    for group, chosen in groups.items():
        numbers[group] = {}
        for name in wanted[group]:
            if shift is not None and name == "mean_shift":
                numbers[group][name] = shift.of(chosen)
            else:
                bounds = MEASURES[name].bounds
                value = float(np.clip(ratios[name].value(chosen), *bounds))
                numbers[group][name] = (value, *ratios[name].interval(chosen, layer.speakers, bounds))
    return numbers


def _ratio(name: str, layer: _Layer, pair: tuple[int, int], x: np.ndarray, y: np.ndarray) -> ClipRatio:
    """Return one measure of a pair of states, given as `_Layer.pair` has them."""
    first, second = pair
    if name == "knn_overlap":
        return knn_overlap(layer.neighbours(first), layer.neighbours(second))
    if name == "covariance_shift":
        return covariance_shift(*layer.spreads(pair))
    if name == "mean_cosine":
        return mean_cosine(x, y, (layer.names[first], layer.names[second]))
    return _OF_TWO[name](x, y)


_OVERALL_VALUES: dict[str, Callable[[_Layer, tuple[int, int]], float]] = {
    "procrustes": lambda layer, pair: procrustes_value(*layer.pair(pair)),
    "covariance_shift": lambda layer, pair: covariance_shift_value(*layer.spreads(pair)),
}
_OF_TWO: dict[str, Callable[[np.ndarray, np.ndarray], ClipRatio]] = {
    "procrustes": procrustes,
    "mean_cosine_centred": mean_cosine_centred,
    "relative_norm_change": relative_norm_change,
}
