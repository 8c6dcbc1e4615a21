"""What the statistics are tried on: crossed designs with known effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.stats.effect_sizes import Effect, standardised_difference

Crossed = Callable[..., pd.DataFrame]


def hedges_g(a: np.ndarray, b: np.ndarray) -> Effect:
    """Return Hedges' g of two independent samples [N_a] and [N_b]: a less b, in pooled standard deviations."""
    df = len(a) + len(b) - 2
    pooled = np.sqrt(((len(a) - 1) * np.var(a, ddof=1) + (len(b) - 1) * np.var(b, ddof=1)) / df)
    return standardised_difference(np.mean(a) - np.mean(b), pooled, 1 / len(a) + 1 / len(b), df)


def paired_g(differences: np.ndarray) -> Effect:
    """Return Hedges' g of paired differences [N]: their mean in standard deviations of the differences (d_z)."""
    n = len(differences)
    return standardised_difference(np.mean(differences), np.std(differences, ddof=1), 1 / n, n - 1)


@pytest.fixture
def crossed(rng: np.random.Generator) -> Crossed:
    """Make a table: every combination of levels, `n` seeds each, a normal response, and what is added to it."""

    def make(levels: Sequence[int], n: int = 6, add: Callable[[pd.DataFrame], pd.Series] | None = None) -> pd.DataFrame:
        grids = np.meshgrid(*(np.arange(k) for k in levels), np.arange(n), indexing="ij")
        table = pd.DataFrame({name: grid.ravel() for name, grid in zip("abcd", grids[:-1], strict=False)})
        table["seed"] = grids[-1].ravel()
        table["y"] = rng.standard_normal(len(table))
        if add is not None:
            table["y"] += add(table)
        return table

    return make
