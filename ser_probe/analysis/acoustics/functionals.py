"""Acoustic features as targets: which can be predicted at all, and what explains their variance without any model.

A functional that does not vary has no R2, and the R2 of one whose variance lies in a handful of clips depends on these
clips alone. Both are flagged and kept out of means and rankings. Ratios to a mean near 0 (`stddevNorm` of a
slope or a cepstral coefficient) are of the second kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.stats

from ser_probe.analysis.inputs import check_features
from ser_probe.analysis.resampling import group_codes
from ser_probe.errors import AnalysisError

CONSTANT, FEW_CLIPS = "constant", "few clips decide"
TRANSFORMS = ("none", "rank")

# Of a functional's largest absolute value: less spread is what float32 leaves of a constant.
_ROUNDING = 4 * float(np.finfo(np.float32).eps)
_TOP_CLIPS, _TOP_SHARE = 0.01, 0.5


def transform_targets(y: np.ndarray, transform: str = "none") -> np.ndarray:
    """Return targets, float64 [N, K], as they are or as normal scores of their ranks.

    Normal scores (van der Waerden: the normal quantile of rank / (N + 1), ties shared) keep the order and nothing else:
    no clip can decide alone. R2 is then of the scores.

    Raises:
        AnalysisError: If the transform is not known, or a target is NaN.
    """
    y = check_features(y, "The acoustic features").astype(np.float64)
    if transform not in TRANSFORMS:
        raise AnalysisError("There is no such transform", expected=" or ".join(TRANSFORMS), found=transform)
    if transform == "none":
        return y
    return scipy.stats.norm.ppf(scipy.stats.rankdata(y, axis=0) / (len(y) + 1))


def flag_targets(y: np.ndarray) -> list[str]:
    """Return for each target `constant`, `few clips decide` (1 % of the clips have half of the variance), or nothing.

    Args:
        y: AcousticTargets as they are predicted, [N, K].
    """
    y = np.asarray(y, np.float64)
    spread = np.ptp(y, axis=0)
    constant = spread <= _ROUNDING * np.abs(y).max(axis=0)
    deviations = np.sort((y - y.mean(axis=0)) ** 2, axis=0)[::-1]
    top = deviations[: max(1, round(_TOP_CLIPS * len(y)))].sum(axis=0)
    few = top > _TOP_SHARE * deviations.sum(axis=0)
    return [CONSTANT if fixed else FEW_CLIPS if rare else "" for fixed, rare in zip(constant, few, strict=True)]


def describe_functionals(
    y: np.ndarray,
    names: Sequence[str],
    groups_of: Mapping[str, str],
    *,
    predicted: np.ndarray,
    factors: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """Describe each functional over the clips.

    Args:
        y: Functionals in their own units, [N, K].
        names: K names.
        groups_of: The group of each name.
        predicted: The same as they are predicted, [N, K]: what the flags are of.
        factors: Each clip's class by factor [N], such as the speaker.

    Returns:
        A row per functional: `group`, `mean`, `std`, `skewness`, `flag`, and for each factor `share_<factor>`: the
        share of variance between its classes, adjusted for chance (epsilon squared). A functional that is mostly a
        matter of the speaker is predicted by whoever tells voices apart.
    """
    y = np.asarray(y, np.float64)
    flags = flag_targets(predicted)
    varying = np.array([flag != CONSTANT for flag in flags])
    table = pd.DataFrame({
        "feature": list(names),
        "group": [groups_of.get(name, "other") for name in names],
        "flag": flags,
        "n": len(y),
        "mean": y.mean(axis=0),
        "std": y.std(axis=0, ddof=1),
        "skewness": np.where(varying, scipy.stats.skew(np.where(varying, y, 0), axis=0), np.nan),
    })  # fmt: skip
    for factor, classes in factors.items():
        table[f"share_{factor}"] = np.where(varying, shares_between(predicted, classes), np.nan)
    return table


def shares_between(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the share of each target's variance between classes, adjusted for chance, [K]; NaN for constants.

    Epsilon squared (Kelley 1935): the adjusted R2 of predicting by the class's own mean.
    """
    _, codes = group_codes(classes)
    counts = np.bincount(codes)
    one_hot = (codes == np.arange(len(counts))[:, None]) / counts[:, None]
    within = ((y - (one_hot @ y)[codes]) ** 2).sum(axis=0)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    left = len(y) - len(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        adjusted = 1 - within / max(left, 1) / (total / (len(y) - 1))
    return np.where((total > 0) & (left > 0), adjusted, np.nan)
