"""Intervals of measures that have no fast way to leave a speaker out: all is computed again without each speaker.

This multiplies the time by the number of speakers (of sets of speakers, where there are more than a hundred).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ser_probe.analysis.resampling import MIN_SPEAKERS, jackknife_interval
from ser_probe.analysis.similarity.measures import MEASURES, measure_pairs
from ser_probe.analysis.similarity.options import Options, PairValues
from ser_probe.analysis.similarity.sources import MIN_CLIPS, Sides, rows_of, speaker_sets
from ser_probe.runtime import SILENT, counting


def add_intervals(
    names: Sequence[str], sides: Sides, options: Options, values: dict[str, PairValues]
) -> dict[str, PairValues]:
    """Return values with jackknife intervals over speakers, where there are three speakers or more.

    Args:
        names: Measures whose intervals to find.
        sides: What was compared with what.
        options: Speakers and choices, as for the values.
        values: The values.
    """
    if options.groups is None or not len(names):
        return values
    sets = speaker_sets(options.groups)
    sizes = np.bincount(sets)
    if len(sizes) < MIN_SPEAKERS or sum(sizes) - max(sizes) < MIN_CLIPS:
        return values
    left_out: dict[str, list[np.ndarray]] = {name: [] for name in names}
    quiet = dataclasses.replace(options, intervals=False, progress=SILENT)
    with counting(options.progress, f"intervals of {', '.join(names)}", len(sizes), "speakers left out") as advance:
        for left_out_set in range(len(sizes)):
            kept = np.flatnonzero(sets != left_out_set)
            without = dataclasses.replace(quiet, groups=np.asarray(options.groups)[kept])
            first = [rows_of(source, kept) for source in sides.first]
            second = None if sides.second is None else [rows_of(source, kept) for source in sides.second]
            remaining = measure_pairs(names, dataclasses.replace(sides, first=first, second=second), without)
            for name in names:
                left_out[name].append(remaining[name].value)
            advance()
    finished = dict(values)
    for name in names:
        low, high = jackknife_interval(values[name].value, np.stack(left_out[name]), bounds=MEASURES[name].bounds)
        finished[name] = dataclasses.replace(values[name], ci_low=low, ci_high=high)
    return finished
