"""The mixed model against repeated measures, and what it says where it cannot be trusted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ser_probe.errors import AnalysisError

pytest.importorskip("statsmodels", reason="mixed models need the extra stats")

from statsmodels.stats.anova import AnovaRM

from ser_probe.analysis.stats.mixed import fit_mixed
from ser_probe.analysis.stats.observations import make_observations

Crossed = Callable[..., pd.DataFrame]
# The optimiser stops at a relative change of 1e-12 of the likelihood, which is flat there.
OPTIMISED = 1e-4


def grouped(crossed: Crossed, rng: np.random.Generator, spread: float) -> pd.DataFrame:
    """Ten speakers, each in every cell of a 3 x 2 design, that differ by `spread`."""
    table = crossed((3, 2), n=10, add=lambda t: 0.4 * t["a"])
    own = spread * rng.standard_normal(10)
    return table.assign(speaker=table["seed"], y=table["y"] + own[table["seed"]])


def test_within_groups_it_is_repeated_measures(crossed: Crossed, rng: np.random.Generator) -> None:
    table = grouped(crossed, rng, 2.0).query("b == 0")
    fit = fit_mixed(make_observations(table, "y", ["a"], random="speaker"))
    expected = AnovaRM(table, "y", "speaker", ["a"]).fit().anova_table.iloc[0]
    row = fit.fixed.iloc[0]
    assert row["statistic"] == pytest.approx(expected["F Value"], rel=OPTIMISED)
    assert (row["df"], row["df_error"]) == (expected["Num DF"], expected["Den DF"])
    assert row["p"] == pytest.approx(expected["Pr > F"], rel=10 * OPTIMISED)
    assert fit.converged
    assert not fit.singular
    # The residual's variance is the mean square of the interaction with speakers.
    assert fit.components["estimate"].iloc[0] > fit.components["estimate"].iloc[1]


def test_between_groups_the_groups_are_what_is_counted(crossed: Crossed, rng: np.random.Generator) -> None:
    """A factor of the speakers themselves: the F over speakers' means, not over their clips."""
    import scipy.stats

    table = crossed((5,), n=8).assign(speaker=lambda t: t["seed"], gender=lambda t: t["seed"] % 2)
    table["y"] += 1.5 * rng.standard_normal(8)[table["speaker"]]
    fit = fit_mixed(make_observations(table, "y", ["gender"], random="speaker"))
    means = table.groupby("speaker")["y"].mean()
    expected = scipy.stats.ttest_ind(means[0::2], means[1::2])
    row = fit.fixed.iloc[0]
    assert row["df_error"] == 6
    assert row["statistic"] == pytest.approx(expected.statistic**2, rel=OPTIMISED)
    assert row["p"] == pytest.approx(expected.pvalue, rel=10 * OPTIMISED)


def test_shift_and_scale_change_nothing_but_the_variances(crossed: Crossed, rng: np.random.Generator) -> None:
    table = grouped(crossed, rng, 1.0)
    one = fit_mixed(make_observations(table, "y", ["a", "b"], random="speaker"))
    other = fit_mixed(make_observations(table.assign(y=5 + 1e-3 * table["y"]), "y", ["a", "b"], random="speaker"))
    assert one.fixed["term"].tolist() == ["a", "b", "a × b"]
    np.testing.assert_allclose(one.fixed["statistic"].tolist(), other.fixed["statistic"].tolist(), rtol=OPTIMISED)
    np.testing.assert_allclose(1e-6 * one.components["estimate"][:2], other.components["estimate"][:2], rtol=1e-3)


def test_speakers_that_do_not_differ_make_it_singular_and_it_says_so(
    crossed: Crossed, rng: np.random.Generator
) -> None:
    table = grouped(crossed, rng, 0.0)
    # Each speaker's mean is taken off: they are more alike than chance makes them.
    table["y"] -= table.groupby("speaker")["y"].transform("mean")
    fit = fit_mixed(make_observations(table, "y", ["a", "b"], random="speaker"))
    assert fit.singular
    assert fit.components["estimate"].iloc[2] == pytest.approx(0, abs=1e-6)
    assert fit.table()["singular"].all()


def test_designs_that_admit_none_are_refused(crossed: Crossed) -> None:
    table = crossed((2, 2), n=4)
    with pytest.raises(AnalysisError, match=r"needs a column of groups[\s\S]*--random"):
        fit_mixed(make_observations(table, "y", ["a"]))
    with pytest.raises(AnalysisError, match=r"too few groups[\s\S]*found: 2: 0, 1"):
        fit_mixed(make_observations(table.query("seed < 2"), "y", ["a"], random="seed"))
    with pytest.raises(AnalysisError, match=r"a group of its own[\s\S]*16 groups of 1"):
        fit_mixed(make_observations(table.assign(row=range(16)), "y", ["a"], random="row"))
    apart = table.query("a == b")
    with pytest.raises(AnalysisError, match="effects cannot be told apart"):
        fit_mixed(make_observations(apart, "y", ["a", "b"], random="seed"), order=1)
