"""Ratios of sums over clips: what most measures of drift are. Of all clips, of a group of them, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.resampling import group_codes, jackknife_interval


@dataclass(frozen=True)
class ClipRatio:
    """A measure that is sum(over) / sum(under) - less over clips.

    Args:
        over: Each clip's part of the numerator, [N].
        under: Each clip's part of the denominator, [N]; ones make the mean over clips.
        less: What is subtracted from the ratio.
    """

    over: np.ndarray
    under: np.ndarray
    less: float = 0.0

    def value(self, chosen: np.ndarray) -> float:
        """Return the measure of some clips, a mask [N]; NaN where their denominator is 0."""
        return _divide(self.over[chosen].sum(), self.under[chosen].sum()) - self.less

    def interval(
        self, chosen: np.ndarray, speakers: np.ndarray | None, bounds: tuple[float, float]
    ) -> tuple[float, float]:
        """Return the 95 % interval of some clips' measure: jackknife over their speakers; NaN with fewer than 3."""
        if speakers is None:
            return np.nan, np.nan
        names, codes = group_codes(speakers[chosen])
        if len(names) == 1:
            return np.nan, np.nan
        over, under = (
            part[chosen].sum() - np.bincount(codes, weights=part[chosen]) for part in (self.over, self.under)
        )
        left_out = np.array([_divide(a, b) for a, b in zip(over, under, strict=True)]) - self.less
        low, high = jackknife_interval(np.asarray(self.value(chosen)), left_out, bounds=bounds)
        return float(low), float(high)


def mean_of(values: np.ndarray) -> ClipRatio:
    """Return the mean over clips of a value of each, [N]; a clip of which it is not defined (NaN) is left out."""
    known = np.isfinite(values)
    return ClipRatio(np.where(known, values, 0.0), known.astype(float))


def _divide(over: float, under: float) -> float:
    return float(over / under) if under else float("nan")
