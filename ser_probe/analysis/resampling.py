"""Intervals over speakers.

Clips of one speaker resemble each other, so an interval over clips is too narrow; what a study can generalise
to is the next speaker. Both ways here therefore resample whole speakers:

- `bootstrap_interval` for scores that are functions of sums over clips (accuracy, F1);
- `jackknife_interval` for everything built from pairs of clips (CKA). A bootstrap draws a speaker twice, the
  clip and its copy then form a pair of distinct clips that are identical, and U-statistics such as the debiased
  CKA take that for similarity. Leaving one speaker out makes no copies.

Both take the spread from the resampling and the width from Student's t with G - 1 degrees of freedom: percentiles
of so few speakers are far too narrow (with 3 speakers they cover the truth about 3 times in 4).
"""

from __future__ import annotations

import numpy as np
import scipy.stats

from ser_probe.runtime import derive_seed

# With two speakers the 97.5 % quantile of t is 12.7: the interval would be useless, so none is given.
MIN_SPEAKERS = 3
LEVEL = 0.95
N_FLIPS = 9999
MOST_EXACT_GROUPS = 15
"""Up to so many speakers all sign patterns are counted (16,384); beyond, they are drawn."""


def group_codes(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct speakers [G], sorted, and the position of each clip's speaker among them [N]."""
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    return names, codes


def bootstrap_counts(n_groups: int, *, n_resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """Return how often each speaker is drawn in each resample, int64 of shape [B, G], each row summing to G."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_resamples)


def sign_patterns(n_groups: int, *, n_flips: int = N_FLIPS, seed: int = 0) -> tuple[np.ndarray, bool]:
    """Return sign patterns of the speakers' differences that are equally likely if there is no effect.

    Args:
        n_groups: The number of speakers G.
        n_flips: Patterns drawn where there are too many to count.
        seed: Seed of the draw.

    Returns:
        Signs, -1 or 1, [P, G], and whether these are all patterns: up to 15 speakers, the last sign staying, since a
        pattern and its opposite are equally far from 0. Drawn patterns do not include the observed one, which has
        to be counted with them (Phipson & Smyth 2010).
    """
    if n_groups <= MOST_EXACT_GROUPS:
        patterns = 1 - 2 * ((np.arange(2 ** (n_groups - 1))[:, None] >> np.arange(n_groups)) & 1)
        patterns[:, -1] = 1
        return patterns, True
    rng = np.random.default_rng(derive_seed("sign flips", seed))
    return rng.integers(0, 2, (n_flips, n_groups)) * 2 - 1, False


def bootstrap_interval(
    value: np.ndarray, resampled: np.ndarray, n_groups: int, *, bounds: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval from a bootstrap over speakers.

    The bootstrap spread of a mean of G speakers is too small by sqrt((G - 1) / G), which is undone here.

    Args:
        value: The statistic on all speakers, of any shape [...].
        resampled: The statistic on each resample, of shape [B, ...].
        n_groups: The number of speakers G.
        bounds: The statistic's range; the interval is cut off there.

    Returns:
        Lower and upper ends of shape [...]; NaN for fewer than 3 speakers.
    """
    if n_groups < MIN_SPEAKERS:
        return _no_interval(value)
    error = resampled.std(axis=0) * np.sqrt(n_groups / (n_groups - 1))
    return _t_interval(value, error, n_groups, bounds)


def jackknife_interval(
    value: np.ndarray, left_out: np.ndarray, *, bounds: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval from leaving out one speaker at a time.

    Args:
        value: The statistic on all speakers, of any shape [...].
        left_out: The statistic without each speaker, of shape [G, ...].
        bounds: The statistic's range; the interval is cut off there.

    Returns:
        Lower and upper ends of shape [...]; NaN for fewer than 3 speakers.
    """
    n_groups = len(left_out)
    if n_groups < MIN_SPEAKERS:
        return _no_interval(value)
    return _t_interval(value, np.sqrt(n_groups - 1) * left_out.std(axis=0), n_groups, bounds)


def _t_interval(
    value: np.ndarray, error: np.ndarray, n_groups: int, bounds: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    half = scipy.stats.t.ppf((1 + LEVEL) / 2, n_groups - 1) * error
    return np.clip(value - half, *bounds), np.clip(value + half, *bounds)


def _no_interval(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nothing = np.full(np.shape(value), np.nan)
    return nothing, nothing
