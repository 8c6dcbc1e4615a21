"""What a probe is to predict: the classes or numbers of those clips that have a value.

A target belongs to all representations of a study, so it is made once, before any of them is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import check_lengths
from ser_probe.analysis.resampling import group_codes
from ser_probe.errors import AnalysisError, show
from ser_probe.runtime import LARGEST_NUMBER

NAMES = ("label", "speaker", "gender", "sentence", "language", "corpus", "split")
"""Columns that hold names even where these look like numbers."""
MOST_LEVELS = 10
"""A column of numbers with more different values than this is numeric, unless it is one of `NAMES`."""

Kind = Literal["classes", "numbers"]

# Answers are float32: below this they lose digits, and a thousandth of the spread is left for rounding.
_SMALLEST_SPREAD, _ROUNDED_OFF = 1e-30, 1e-3


@dataclass(frozen=True)
class Target:
    """What to predict of N clips.

    Args:
        name: The column.
        kind: `classes` or `numbers`.
        clips: Positions of the N clips among all joined ones, int [N].
        classes: C names, sorted; empty for numbers.
        values: Classes, int64 in [0, C), or numbers, float64; [N].
        groups: Each clip's speaker, or whatever the parts must not share, [N].
        group_name: The column of the groups: `speaker`, `sentence` or `clip`.
        n_missing: Clips left out because they have no value.
    """

    name: str
    kind: Kind
    clips: np.ndarray
    classes: np.ndarray
    values: np.ndarray
    groups: np.ndarray
    group_name: str
    n_missing: int = 0

    @property
    def n_classes(self) -> int:
        """The number of classes C; 0 for numbers."""
        return len(self.classes)


def kind_of(name: str, values: pd.Series) -> Kind:
    """Return what a column holds: numbers, if they are numbers, have over 10 different values, and are no names."""
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return "numbers" if numeric and name not in NAMES and values.nunique() > MOST_LEVELS else "classes"


def make_target(
    name: str, values: pd.Series, groups: np.ndarray, *, group_name: str = "speaker", kind: Kind | None = None
) -> Target:
    """Return a column as a target, without the clips that have no value in it.

    Args:
        name: What it is called.
        values: The column, [N]; missing values are left out, and so are infinite numbers.
        groups: Each clip's speaker, [N].
        group_name: The column of the groups.
        kind: Classes or numbers; None decides as `kind_of`.

    Raises:
        AnalysisError: If numbers are asked for and the column holds text, no clip has a value, all have the same, or
            the numbers are too large, or differ too little for their size, to be computed with.
    """
    check_lengths(values=values.to_numpy(), groups=groups)
    kind = kind or kind_of(name, values)
    if kind == "numbers":
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        text = values.notna().to_numpy() & np.isnan(numbers)
        if text.any():
            raise AnalysisError(
                f"The target {name!r} is not numeric",
                expected="numbers, or nothing where a clip has no value",
                found=f"{show(values[text].iloc[0])} in {int(text.sum())} of {len(values)} clips",
                fix="probe it as classes (task: classes)",
            )
        if (too_large := np.abs(np.where(np.isinf(numbers), 0, numbers)) >= LARGEST_NUMBER).any():
            raise AnalysisError(
                f"The target {name!r} has numbers that are too large to compute with",
                expected=f"numbers of less than {LARGEST_NUMBER:g}",
                found=f"{numbers[too_large][0]:g} in {int(too_large.sum())} of {len(values)} clips",
                fix="mend these cells, or leave them empty",
            )
        known = np.isfinite(numbers)
    else:
        known = (values.notna() & (values.astype(str).str.strip() != "")).to_numpy()
    clips = np.flatnonzero(known)
    if not clips.size:
        raise AnalysisError(f"No clip has a value of the target {name!r}", found=f"{len(values)} clips without one")
    known_groups, n_missing = np.asarray(groups).astype(str)[clips], int((~known).sum())
    if kind == "numbers":
        given = numbers[clips]
        _refuse_constant(name, np.unique(given))
        _refuse_unusable(name, given)
        return Target(name, kind, clips, np.array([]), given, known_groups, group_name, n_missing)
    classes, codes = group_codes(values.astype(str).to_numpy()[clips])
    _refuse_constant(name, classes)
    return Target(name, kind, clips, classes, codes.astype(np.int64), known_groups, group_name, n_missing)


def can_be_computed(values: np.ndarray) -> bool:
    """Tell whether numbers can be predicted: in range, and different in more than the digits that are rounded off."""
    largest = float(np.abs(values).max())
    if not largest < LARGEST_NUMBER:
        return False
    spread = float(values.std())
    return spread > _SMALLEST_SPREAD and largest * float(np.finfo(np.float32).eps) < _ROUNDED_OFF * spread


def names_groups(values: Sequence[object] | np.ndarray, groups: np.ndarray) -> bool:
    """Tell whether a target is the groups themselves under some name: then no group can be kept out of training."""
    pairs = pd.DataFrame({"value": np.asarray(values).astype(str), "group": np.asarray(groups).astype(str)})
    return bool(len(pairs.drop_duplicates()) == pairs["group"].nunique() == pairs["value"].nunique())


def _refuse_unusable(name: str, values: np.ndarray) -> None:
    if not can_be_computed(values):
        raise AnalysisError(
            f"The numbers of the target {name!r} differ too little for their size to be predicted",
            expected="numbers that differ in their first four digits",
            found=f"{values.min():g} to {values.max():g}",
            fix=f"give {name} in another unit, or less its mean",
        )


def _refuse_constant(name: str, levels: np.ndarray) -> None:
    if len(levels) < 2:
        raise AnalysisError(
            f"All clips have the same value of the target {name!r}",
            expected="two or more different values",
            found=show(levels[0]),
            fix="probe another column, or other clips",
        )
