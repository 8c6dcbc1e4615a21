"""Representations as the measures take them: arrays or functions that read one, checked once, the same clips in all.

A thousand layers do not fit into memory together. A source that is a function is called whenever its array is needed
and is held no longer than that. Every measure is about differences between clips, so what is handed out is centred.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ser_probe.analysis.inputs import check_features, check_lengths
from ser_probe.analysis.resampling import group_codes
from ser_probe.analysis.similarity.side_by_side import for_each
from ser_probe.errors import AnalysisError

Source = np.ndarray | Callable[[], np.ndarray]
"""An array [N, D] (a memory map is one), or a function that returns it."""

MIN_CLIPS = 4  # unbiased HSIC divides by n (n - 3)
MOST_SETS = 100
# Variation below this share of the features' size is rounding.
_ROUNDING = 1e-12
_ROWS = 128


def load(source: Source) -> np.ndarray:
    """Return a source's array."""
    return np.asarray(source() if callable(source) else source)


def rows_of(source: Source, places: np.ndarray) -> Source:
    """Return some rows of a source, taken whenever they are needed."""
    return lambda: load(source)[places]


@dataclass(frozen=True)
class Prepared:
    """Checked representations, whose clips can be had centred, scaled to norm 1, and sorted by speaker.

    Attributes:
        sources: R sources of [N, D]; widths may differ.
        names: What messages call them.
        means: Each one's mean, as two parts: float32 features less a float32 mean would keep that mean's rounding.
        scales: 1 over the Frobenius norm of each one's centred features.
        order: The clips sorted by speaker [N].
        sizes: Clips of each speaker, or set of speakers, that is left out at a time [G].
        dtype: The precision of products: float32 if any features are, float64 otherwise.
    """

    sources: tuple[Source, ...]
    names: tuple[str, ...]
    means: tuple[tuple[np.ndarray, np.ndarray], ...]
    scales: tuple[float, ...]
    order: np.ndarray
    sizes: tuple[int, ...]
    dtype: np.dtype[np.floating]

    @property
    def n(self) -> int:
        """The number of clips N."""
        return len(self.order)

    def __len__(self) -> int:
        return len(self.sources)

    def rows(self, index: int, dtype: np.dtype[np.floating] | None = None) -> np.ndarray:
        """Return one representation centred and scaled to Frobenius norm 1, [N, D], its clips sorted by speaker."""
        wanted = dtype or self.dtype
        rows = self._sorted(index)
        high, low = (mean.astype(wanted) for mean in self.means[index])
        centred = np.subtract(rows, high, dtype=wanted)
        centred -= low
        centred *= wanted.type(self.scales[index])
        return centred

    def raw_rows(self, index: int, dtype: np.dtype[np.floating] | None = None) -> np.ndarray:
        """Return one representation as it is, [N, D], its clips sorted by speaker."""
        return self._sorted(index).astype(dtype or self.dtype, copy=False)

    def _sorted(self, index: int) -> np.ndarray:
        rows = load(self.sources[index])
        return rows[self.order] if (np.diff(self.order) != 1).any() else rows


@dataclass(frozen=True)
class Sides:
    """What is compared with what: R representations with S others, of the same clips in the same order.

    Args:
        first: R sources.
        second: S sources; None for the first themselves.
        names: What messages call the first.
        other_names: What messages call the second.
        wanted: Which pairs are asked for [R, S]; None for all. Measures that get all pairs at once may ignore it.
    """

    first: Sequence[Source]
    second: Sequence[Source] | None = None
    names: Sequence[str] | None = None
    other_names: Sequence[str] | None = None
    wanted: np.ndarray | None = None

    @property
    def others(self) -> Sequence[Source]:
        """The second side, which may be the first."""
        return self.first if self.second is None else self.second

    def prepare(self, groups: np.ndarray | None = None, *, at_least: int = MIN_CLIPS) -> tuple[Prepared, Prepared]:
        """Check both sides; raises as `prepare`, and if they have other clip counts."""
        first = prepare(self.first, "representation", self.names, groups, at_least=at_least)
        if self.second is None:
            return first, first
        second = prepare(self.second, "other representation", self.other_names, groups, at_least=at_least)
        check_lengths(representations=first.order, others=second.order)
        if first.dtype == second.dtype:
            return first, second
        single: np.dtype[np.floating] = np.dtype(np.float32)
        return dataclasses.replace(first, dtype=single), dataclasses.replace(second, dtype=single)

    def pairs(self, *, symmetric: bool) -> list[tuple[int, int]]:
        """Return the pairs asked for; where the measure is symmetric and both sides are one, each pair once."""
        shape = (len(self.first), len(self.others))
        wanted = np.ones(shape, bool) if self.wanted is None else self.wanted.copy()
        if symmetric and self.second is None:
            wanted = np.triu(wanted | wanted.T)
        return [(int(i), int(j)) for i, j in np.argwhere(wanted)]


def prepare(
    sources: Sequence[Source],
    what: str,
    names: Sequence[str] | None = None,
    groups: np.ndarray | None = None,
    *,
    at_least: int = MIN_CLIPS,
) -> Prepared:
    """Check representations and find their means and scales, reading each once.

    Args:
        sources: R arrays [N, D], or functions that return them.
        what: What a message calls one without a name.
        names: What messages call them.
        groups: Each clip's speaker [N].
        at_least: The fewest clips that the measure is defined for.

    Raises:
        AnalysisError: If there is none, there are too few clips, other clip counts, NaN, or features that do not vary.
    """
    if not len(sources):
        raise AnalysisError(f"There is no {what} to compare", expected="at least one array [N, D]")
    names = tuple(names or (f"{what} {index}" for index in range(len(sources))))
    looks: list[_Look | None] = [None] * len(sources)

    def look(index: int) -> None:
        looks[index] = _look(load(sources[index]), names[index], at_least)

    look(0)
    assert looks[0] is not None
    for_each(lambda index: look(index + 1), len(sources) - 1, looks[0].n * len(looks[0].mean))
    checked = [seen for seen in looks if seen is not None]
    n = checked[0].n
    columns = {name: range(seen.n) for name, seen in zip(names, checked, strict=True)}
    check_lengths(**columns, **({} if groups is None else {"groups": groups}))
    means, scales = [], []
    for _, mean, spread, single in checked:
        high = mean.astype(np.float32 if single else np.float64)
        means.append((high, mean - high))
        scales.append(1 / spread)
    codes = np.zeros(n, int) if groups is None else speaker_sets(groups)
    order = np.argsort(codes, kind="stable")
    dtype: np.dtype[np.floating] = np.dtype(np.float32 if any(seen.single for seen in checked) else np.float64)
    sizes = tuple(np.bincount(codes).tolist())
    return Prepared(tuple(sources), names, tuple(means), tuple(scales), order, sizes, dtype)


class _Look(NamedTuple):
    """What is found of a representation: clips, mean [D], norm of the centred features, whether it is in float32."""

    n: int
    mean: np.ndarray
    spread: float
    single: bool


def _look(features: np.ndarray, name: str, at_least: int) -> _Look:
    features = check_features(features, name)
    if len(features) < at_least:
        raise AnalysisError(f"Similarity needs at least {at_least} clips", where=name, found=f"{len(features)} clips")
    single = features.dtype.kind == "f" and features.dtype.itemsize <= 4
    return _Look(len(features), *_moments(features, name), single)


def _moments(features: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """Return the mean [D] and the norm of the centred features, both in float64."""
    # Differences from one clip are as small as those from the mean, so one pass is enough.
    n, origin = len(features), features[0].astype(np.float64)
    total, squares = np.zeros(features.shape[1]), 0.0
    for low in range(0, n, _ROWS):
        wide = features[low : low + _ROWS] - origin
        total += wide.sum(axis=0)
        squares += float(np.einsum("ij,ij->", wide, wide))
    spread = max(squares - float(total @ total) / n, 0)
    size = squares + n * float(origin @ origin)
    if np.sqrt(spread) <= _ROUNDING * np.sqrt(size):
        raise AnalysisError(
            "The features do not vary between clips, so their similarity to others is not defined",
            where=name,
            found=f"{len(features)} equal rows",
            fix="check the extraction: a layer that is the same for every clip carries nothing",
        )
    return origin + total / n, float(np.sqrt(spread))


def speaker_sets(groups: np.ndarray, most: int = MOST_SETS) -> np.ndarray:
    """Return for each clip the set of speakers that is left out together with its own, [N], from 0.

    Up to `most` speakers each is a set of its own. More are dealt into so many sets (the delete-a-group jackknife,
    Kott 2001): a hundred values say enough about a spread, and the time grows with the sets.
    """
    names, codes = group_codes(groups)
    if len(names) <= most:
        return codes
    dealt = np.random.default_rng(0).permutation(len(names)) % most
    return dealt[codes]
