"""Comparisons of levels against scipy, their correction, and equivalence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ser_probe.errors import AnalysisError

pytest.importorskip("statsmodels", reason="corrections need the extra stats")

from ser_probe.analysis.stats.anova import anova_table
from ser_probe.analysis.stats.comparisons import Contrast, adjust, compare, parse_contrast
from ser_probe.analysis.stats.effect_sizes import rank_biserial
from ser_probe.analysis.stats.equivalence import Bound, equivalence_table, equivalence_test, parse_bound
from ser_probe.analysis.stats.linear_model import fit_linear
from ser_probe.analysis.stats.observations import Observations, make_observations, observe
from tests.analysis.stats.conftest import hedges_g, paired_g

Crossed = Callable[..., pd.DataFrame]


@pytest.fixture
def table(crossed: Crossed) -> pd.DataFrame:
    return crossed((3, 2), n=7, add=lambda t: 0.8 * t["a"] + 0.9 * t["seed"])


@pytest.fixture
def observations(table: pd.DataFrame) -> Observations:
    return make_observations(table, "y", ["a", "b"], unit="seed")


def samples(table: pd.DataFrame, later: int, earlier: int, **where: int) -> tuple[np.ndarray, np.ndarray]:
    for name, value in where.items():
        table = table[table[name] == value]
    return tuple(table.loc[table["a"] == level, "y"].to_numpy() for level in (later, earlier))  # type: ignore[return-value]


@pytest.mark.parametrize("test", ["welch", "pooled", "mann-whitney", "paired"])
def test_each_test_is_scipys_with_its_effect_size(table: pd.DataFrame, observations: Observations, test: str) -> None:
    rows = compare(observations, [Contrast("a", ("b",))], test=test)  # type: ignore[arg-type]
    assert len(rows) == 6
    row = rows[(rows["level_a"] == "2") & (rows["level_b"] == "0") & (rows["within"] == "b=1")].iloc[0]
    x, y = samples(table, 2, 0, b=1)
    expected = {
        "welch": (scipy.stats.ttest_ind(x, y, equal_var=False), hedges_g(x, y)),
        "pooled": (scipy.stats.ttest_ind(x, y), hedges_g(x, y)),
        "mann-whitney": (scipy.stats.mannwhitneyu(x, y), rank_biserial(x, y)),
        "paired": (scipy.stats.ttest_rel(x, y), paired_g(x - y)),
    }[test]
    assert (row["statistic"], row["p"]) == pytest.approx((expected[0].statistic, expected[0].pvalue))
    np.testing.assert_allclose(row[["effect_size", "ci_low", "ci_high"]].tolist(), expected[1])
    assert row["difference"] == pytest.approx(x.mean() - y.mean())
    assert row["difference_low"] < row["difference"] < row["difference_high"]


def test_pairs_find_what_differences_between_units_hide(observations: Observations) -> None:
    independent, paired = (compare(observations, [Contrast("a", ("b",))], test=test) for test in ("welch", "paired"))
    assert paired["p"].median() < independent["p"].median()


def test_a_unit_counts_once_however_many_cells_it_has(table: pd.DataFrame, observations: Observations) -> None:
    row = compare(observations, [Contrast("a")], pairs="first").iloc[0]
    means = table.groupby(["a", "seed"])["y"].mean().unstack("a")
    assert row["n_a"] == 7
    expected = scipy.stats.ttest_ind(means[1], means[0], equal_var=False)
    assert row["p"] == pytest.approx(expected.pvalue)
    # Without units all rows are taken for independent.
    assert compare(make_observations(table, "y", ["a", "b"]), [Contrast("a")])["n_a"].iloc[0] == 14


def test_the_residuals_test_is_the_square_root_of_f(crossed: Crossed) -> None:
    observations = make_observations(crossed((2, 3), add=lambda t: t["b"] * 3.0), "y", ["a", "b"])
    row = compare(observations, [Contrast("a")], test="residual", fit=fit_linear(observations)).iloc[0]
    main = anova_table(fit_linear(observations)).iloc[0]
    assert row["statistic"] ** 2 == pytest.approx(main["F"])
    assert row["p"] == pytest.approx(main["p"])
    # The spread of b is in the marginal test's error and not in this one's.
    assert abs(row["statistic"]) > abs(compare(observations, [Contrast("a")])["statistic"].iloc[0])
    t = scipy.stats.t.ppf(0.975, row["df"])
    assert row["difference_high"] - row["difference"] == pytest.approx(t * row["difference"] / row["statistic"])


def test_pairs_are_the_later_level_less_the_earlier(observations: Observations) -> None:
    every = compare(observations, [Contrast("a")])
    assert list(zip(every["level_a"], every["level_b"], strict=True)) == [("1", "0"), ("2", "0"), ("2", "1")]
    first = compare(observations, [Contrast("a")], pairs="first")
    assert list(first["level_b"]) == ["0", "0"]


def test_holm_and_benjamini_hochberg_by_hand() -> None:
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjust(p, "holm"), [0.03, np.nan, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(adjust(p, "bh"), [0.02, np.nan, 0.04, 0.04, 0.02])
    assert np.isnan(adjust(np.array([np.nan]), "holm")).all()


def test_corrections_are_those_of_statsmodels(rng: np.random.Generator) -> None:
    from statsmodels.stats.multitest import multipletests

    p = np.concatenate([rng.random(40) ** 3, [0.0, 1.0, 0.2, 0.2]])
    np.testing.assert_allclose(adjust(p, "holm"), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(adjust(p, "bh"), multipletests(p, method="fdr_bh")[1])


def test_samples_without_spread_or_of_one_are_not_tested() -> None:
    values = np.array([1.0, 1, 1, 1, 5, 2.0])
    observations = observe(values, x=np.array(["p", "p", "q", "q", "r", "s"]))
    for test in ("welch", "mann-whitney"):
        rows = compare(observations, [Contrast("x")], test=test)  # type: ignore[arg-type]
        assert rows["p"].isna().all()
        assert rows["effect_size"].isna().all()
        assert rows["difference"].tolist() == [0, 4, 1, 4, 1, -3]


def test_what_is_compared_is_named_by_text(observations: Observations) -> None:
    assert parse_contrast("a:b", observations) == Contrast("a", ("b",))
    odd = observe(np.arange(4.0), **{"x:y": np.array([0, 0, 1, 1])})
    assert parse_contrast("x:y", odd) == Contrast("x:y")


@pytest.mark.parametrize(
    ("text", "message"),
    [("lyaer", r"'lyaer' names no factor"), ("a:c", r"'a:c' names no factor[\s\S]*found: c"), ("a:a", "within itself")],
)
def test_a_comparison_of_no_factor_is_refused(observations: Observations, text: str, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        parse_contrast(text, observations)


def test_tests_that_lack_what_they_need_are_refused(table: pd.DataFrame) -> None:
    plain = make_observations(table, "y", ["a", "b"])
    with pytest.raises(AnalysisError, match=r"which observations belong together[\s\S]*--unit"):
        compare(plain, [Contrast("a")], test="paired")
    with pytest.raises(AnalysisError, match="which observations belong together"):
        equivalence_table(plain, [Contrast("a")], Bound(1.0), test="paired")
    with pytest.raises(AnalysisError, match="needs the analysis of variance"):
        compare(plain, [Contrast("a")], test="residual")


@pytest.mark.parametrize("paired", [False, True])
def test_equivalence_is_statsmodels(rng: np.random.Generator, paired: bool) -> None:
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    x, y = rng.standard_normal(12), rng.standard_normal(12) * 1.5
    found = equivalence_test(x, y, Bound(0.7), paired=paired)
    if paired:
        p, *_ = weightstats.ttost_paired(x, y, -0.7, 0.7)
    else:
        p, *_ = weightstats.ttost_ind(x, y, -0.7, 0.7, usevar="unequal")
    assert found.p == pytest.approx(p)
    assert (found.p < 0.05) == (found.low > -0.7 and found.high < 0.7)


def test_a_bound_in_deviations_is_the_same_bound_in_the_unit(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal(9), rng.standard_normal(9)
    spread = np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2)
    unit, standard = equivalence_test(x, y, Bound(0.5 * spread)), equivalence_test(x, y, Bound(0.5, standardised=True))
    assert unit == standard
    assert equivalence_test(10 * x, 10 * y, Bound(0.5, standardised=True)).p == pytest.approx(unit.p)
    assert parse_bound("0.5g") == Bound(0.5, standardised=True)
    assert parse_bound(" 2e-2 ") == Bound(0.02)


def test_equal_cells_are_equivalent_and_different_ones_are_not(crossed: Crossed) -> None:
    table = crossed((3,), n=40, add=lambda t: 3.0 * (t["a"] == 2))
    found = equivalence_table(make_observations(table, "y", ["a"]), [Contrast("a")], Bound(1.0), test="pooled")
    assert found["equivalent"].tolist() == [True, False, False]
    assert (found["p_holm"] >= found["p"]).all()
    alone = observe(np.array([1.0, 2, 1, 1]), x=np.array([0, 0, 1, 1]))
    assert len(equivalence_table(alone, [Contrast("x")], Bound(1.0))) == 1
    constant = observe(np.array([1.0, 1, 2, 2]), x=np.array([0, 0, 1, 1]))
    assert equivalence_table(constant, [Contrast("x")], Bound(1.0)).empty


@pytest.mark.parametrize("text", ["", "g", "-1", "0", "1.2.3", "0.5d"])
def test_a_bound_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(AnalysisError, match="bound of equivalence cannot be read"):
        parse_bound(text)


def test_too_few_or_constant_observations_are_refused() -> None:
    with pytest.raises(AnalysisError, match=r"two observations or more of each[\s\S]*1 and 2"):
        equivalence_test(np.ones(1), np.ones(2), Bound(1.0))
    with pytest.raises(AnalysisError, match=r"in pairs[\s\S]*3 and 2"):
        equivalence_test(np.arange(3.0), np.ones(2), Bound(1.0), paired=True)
    with pytest.raises(AnalysisError, match="do not vary"):
        equivalence_test(np.ones(3), np.zeros(3), Bound(1.0))
