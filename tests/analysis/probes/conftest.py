"""A small study of nine speakers and four labels, and what is asked of it in many tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.probes.divisions import rotated_folds, single_fold
from ser_probe.analysis.probes.families import Folds
from ser_probe.analysis.probes.family_table import FAMILIES
from ser_probe.analysis.probes.fitting import Probes, fit_probes
from ser_probe.analysis.probes.targets import Target, make_target

N_SPEAKERS, LABELS, TAKES = 9, ["anger", "joy", "fear", "calm"], 4
NAMES = ["noise", "weak", "strong"]


@dataclass(frozen=True)
class Study:
    """What a probe is fitted to."""

    x: np.ndarray
    y: np.ndarray
    split: np.ndarray
    groups: np.ndarray

    @property
    def target(self) -> Target:
        return make_target("label", pd.Series(self.y), self.groups)

    @property
    def folds(self) -> Folds:
        return single_fold(self.split)

    @property
    def rotated(self) -> Folds:
        """Three folds of three speakers each."""
        return rotated_folds(np.array([int(group[1:]) // 3 for group in self.groups]))

    def but(self, **changes: Any) -> Study:
        return replace(self, **changes)

    def fit(self, **options: Any) -> Probes:
        folds = options.pop("folds", self.folds)
        given = {"names": NAMES, "seeds": range(3), "spec": FAMILIES["linear"], **options}
        return fit_probes(self.x, self.target, folds, **given)


@pytest.fixture
def study(rng: np.random.Generator) -> Study:
    """Nine speakers, four labels: three layers that hold nothing, something and nearly all of the label."""
    groups = np.repeat([f"s{i}" for i in range(N_SPEAKERS)], len(LABELS) * TAKES)
    y = np.tile(np.repeat(LABELS, TAKES), N_SPEAKERS)
    centres = rng.standard_normal((len(LABELS), 16))[np.unique(y, return_inverse=True)[1]]
    voices = np.repeat(rng.standard_normal((N_SPEAKERS, 16)), len(LABELS) * TAKES, axis=0)
    noise = rng.standard_normal((3, len(y), 16))
    x = np.array([0, 0.5, 3])[:, None, None] * centres + 0.5 * voices + noise
    split = np.repeat(["train"] * 4 + ["validation"] * 2 + ["test"] * 3, len(LABELS) * TAKES)
    return Study(x.astype(np.float32), y, split, groups)


def cell(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Return the rows with these values."""
    for column, value in where.items():
        table = table[table[column] == value]
    return table
