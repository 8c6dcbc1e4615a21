"""The measures of `cca` for all pairs: each representation is whitened once a fold, and each pair decomposed once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ser_probe.analysis.similarity.cca import (
    REFUSED,
    SUFFIX,
    Whitened,
    baseline_of,
    correlate,
    flag_of,
    is_measure,
    whiten,
)
from ser_probe.analysis.similarity.folds import held_out_folds
from ser_probe.analysis.similarity.options import Options, PairValues, pair_values
from ser_probe.analysis.similarity.sources import Prepared, Sides

_DOUBLE: np.dtype[np.floating] = np.dtype(np.float64)
Part = tuple[np.ndarray, np.ndarray]
"""The clips that directions are fitted on, and those that they are measured on."""


def cca_measures(names: Sequence[str], sides: Sides, options: Options) -> dict[str, PairValues]:
    """Compute measures of canonical correlation of the pairs asked for."""
    first, second = sides.prepare(options.groups)
    everything = np.arange(first.n)
    values: dict[str, PairValues] = {}
    for in_sample in (False, True):
        for reduced in (False, True):
            group = [
                name for name in names if name.endswith(SUFFIX) == in_sample and is_measure(name, "svcca") == reduced
            ]
            if group:
                parts = [(everything, everything)] if in_sample else _parts(first, options)
                values |= _measure(group, first, second, sides, parts, options)
    return {name: values[name] for name in names}


def _parts(first: Prepared, options: Options) -> list[Part]:
    # Clips are sorted by speaker in `Prepared`.
    fold_of = held_out_folds(options.groups, first.n, options.folds, options.seed)[first.order]
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in np.unique(fold_of)]


def _measure(
    names: list[str], first: Prepared, second: Prepared, sides: Sides, parts: list[Part], options: Options
) -> dict[str, PairValues]:
    """Compute measures that start from the same components and parts."""
    shape, symmetric = (len(first), len(second)), not any(is_measure(name, "pwcca") for name in names)
    values = {name: np.full(shape, np.nan) for name in names}
    baselines = {name: np.full(shape, np.nan) for name in names}
    flags = np.full(shape, "", dtype=object)
    asked = sides.pairs(symmetric=symmetric)
    for name in names:
        values[name][tuple(np.array(asked).T)] = 0
    variance = options.variance if is_measure(names[0], "svcca") else 1.0
    progress = options.progress
    progress.start(", ".join(names), len(parts) * len(asked), "pairs of representations")
    for part in parts:
        same = second is first
        left = _whiten_all(
            first, (place for pair in asked for place in (pair if same else pair[:1])), part, variance, options
        )
        right = left if same else _whiten_all(second, (j for _, j in asked), part, variance, options)
        for i, j in asked:
            x, y = left[i], right[j]
            flag = flag_of(x, y)
            flags[i, j] = flags[i, j] or flag
            measured = {} if flag == REFUSED else correlate(x, y, in_sample=part[0] is part[1])
            for name in names:
                share = len(part[1]) / first.n
                values[name][i, j] += share * measured.get(_quantity(name), np.nan)
                baselines[name][i, j] = baseline_of(name, x, y)
            progress.advance()
    progress.finish()
    if symmetric and sides.second is None:
        for table in (*values.values(), *baselines.values(), flags):
            for i, j in asked:
                table[j, i] = table[i, j]
    return {name: pair_values(values[name], baseline=baselines[name], flag=flags) for name in names}


def _whiten_all(
    side: Prepared, places: Iterable[int], part: Part, variance: float, options: Options
) -> dict[int, Whitened]:
    """Whiten representations; all are held, in the precision of the features."""
    whitened = {}
    for place in dict.fromkeys(places):
        single = whiten(side.rows(place, _DOUBLE), *part, variance=variance, components=options.components)
        arrays = (array.astype(side.dtype) for array in (single.fitted, single.held_out, single.loadings))
        whitened[place] = Whitened(*arrays)
    return whitened


def _quantity(name: str) -> str:
    """Return which of the numbers of `correlate` a measure is; SVCCA is the mean correlation of other components."""
    return name.removesuffix(SUFFIX).replace("svcca", "cca_mean")
