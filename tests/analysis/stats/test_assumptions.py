"""Assumptions that hold and that do not, and the tests that need fewer of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.stats

pytest.importorskip("statsmodels", reason="the analysis of variance needs the extra stats")

from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from ser_probe.analysis.stats.assumptions import check_assumptions, residual_table
from ser_probe.analysis.stats.linear_model import fit_linear
from ser_probe.analysis.stats.observations import Observations, make_observations
from ser_probe.analysis.stats.robust import align, robust_table

Crossed = Callable[..., pd.DataFrame]


def verdicts(observations: Observations) -> dict[str, str]:
    return check_assumptions(fit_linear(observations)).set_index("check")["verdict"].to_dict()


def test_a_good_design_shows_no_problem_and_independence_stays_open(crossed: Crossed) -> None:
    found = verdicts(make_observations(crossed((2, 3), n=30), "y", ["a", "b"]))
    assert found.pop("independence") == "not checked"
    assert set(found.values()) == {"holds"}
    assert set(found) == {"balance", "normality", "equal variances", "outliers", "influence"}


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("normality", lambda t: t.assign(y=np.exp(1.5 * t["y"]))),
        ("equal variances", lambda t: t.assign(y=t["y"] * (1 + 3 * t["a"]))),
        ("outliers", lambda t: t.assign(y=t["y"] + 9 * (t.index == 5))),
        ("balance", lambda t: t.drop(index=[0, 1, 2, 3])),
        ("influence", lambda t: t.drop(index=range(3, 30)).assign(y=lambda u: u["y"] + 40 * (u.index == 1))),
    ],
)
def test_each_departure_is_seen_by_its_check(
    crossed: Crossed, check: str, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    table = change(crossed((2, 3), n=30))
    assert verdicts(make_observations(table, "y", ["a", "b"]))[check] == "in doubt"


def test_the_statistics_are_scipys(crossed: Crossed) -> None:
    table = crossed((2, 3), n=9)
    fit = fit_linear(make_observations(table, "y", ["a", "b"]))
    rows = check_assumptions(fit).set_index("check")
    cells = [part["y"] for _, part in table.groupby(["a", "b"])]
    residuals = table["y"] - table.groupby(["a", "b"])["y"].transform("mean")
    assert rows.loc["equal variances", "p"] == pytest.approx(scipy.stats.levene(*cells, center="median").pvalue)
    assert rows.loc["normality", "statistic"] == pytest.approx(scipy.stats.shapiro(residuals).statistic)
    external = fit.results.get_influence().resid_studentized_external
    assert rows.loc["outliers", "statistic"] == pytest.approx(np.abs(external).max())


def test_units_that_are_alike_are_seen(crossed: Crossed, rng: np.random.Generator) -> None:
    table = crossed((2, 3), n=12)
    own = table.assign(y=table["y"] + 1.5 * rng.standard_normal(12)[table["seed"]])
    alike, apart = (make_observations(t, "y", ["a", "b"], unit="seed") for t in (own, table))
    assert verdicts(alike)["units"] == "in doubt"
    assert verdicts(apart)["units"] == "holds"
    # With the cells taken out it is the F of units in the additive model.
    row = check_assumptions(fit_linear(alike)).set_index("check").loc["units"]
    additive = anova_lm(ols("y ~ C(a) * C(b) + C(seed)", own).fit(), typ=2)
    assert row["statistic"] == pytest.approx(additive.loc["C(seed)", "F"])
    assert row["df"] == "11, 55"
    nested = own.assign(seed=range(len(own)))
    assert verdicts(make_observations(nested, "y", ["a", "b"], unit="seed"))["units"] == "not checked"


def test_few_observations_and_singles_are_not_judged(crossed: Crossed) -> None:
    few = make_observations(crossed((2,), n=3), "y", ["a"])
    assert verdicts(few)["normality"] == "not checked"
    singles = crossed((2, 3), n=2).query("not (seed == 1 and a == 1)").query("not (seed == 1 and b > 0)")
    found = verdicts(make_observations(singles, "y", ["a", "b"]))
    assert found["equal variances"] == "not checked"
    assert found["outliers"] == "not checked"


def test_residuals_of_normal_data_lie_in_the_band_and_skewed_ones_do_not(crossed: Crossed) -> None:
    table = crossed((2, 3), n=30)
    good, bad = (
        residual_table(fit_linear(make_observations(t, "y", ["a", "b"])))
        for t in (table, table.assign(y=np.exp(table["y"])))
    )
    shares = [((t["residual"] < t["ci_low"]) | (t["residual"] > t["ci_high"])).mean() for t in (good, bad)]
    assert shares[0] < 0.2 < shares[1]
    assert good["theoretical"].is_monotonic_increasing


def test_alignment_keeps_one_effect_and_takes_out_the_others(crossed: Crossed) -> None:
    observations = make_observations(crossed((2, 3), add=lambda t: 5.0 * t["a"] + 3.0 * t["b"]), "y", ["a", "b"])
    means = pd.Series(align(observations, (0,))).groupby(observations.cells).mean().to_numpy().reshape(2, 3)
    original = observations.means()
    np.testing.assert_allclose(means - means.mean(), np.outer(original.mean(axis=1), np.ones(3)) - original.mean())
    inside = pd.Series(align(observations, (0, 1))).groupby(observations.cells).mean().to_numpy().reshape(2, 3)
    np.testing.assert_allclose(inside.sum(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(inside.sum(axis=1), 0, atol=1e-10)


def test_robust_tests_are_those_of_statsmodels_on_ranks_and_hc3(crossed: Crossed) -> None:
    table = crossed((2, 3), n=7, add=lambda t: t["a"] * t["b"]).drop(index=[0, 8])
    observations = make_observations(table, "y", ["a", "b"])
    found = robust_table(fit_linear(observations)).set_index(["method", "term"])
    formula = "y ~ C(a, Sum) * C(b, Sum)"
    hc3 = anova_lm(ols(formula, table).fit(), typ=3, robust="hc3")
    assert found.loc[("hc3", "a × b"), "statistic"] == pytest.approx(hc3["F"].iloc[3])
    ranks = table.assign(y=scipy.stats.rankdata(align(observations, (1,))))
    expected = anova_lm(ols(formula, ranks).fit(), typ=3)
    assert found.loc[("aligned_rank", "b"), "statistic"] == pytest.approx(expected["F"].iloc[2])
    one = make_observations(table, "y", ["b"])
    kruskal = scipy.stats.kruskal(*(part["y"] for _, part in table.groupby("b")))
    rows = robust_table(fit_linear(one)).set_index("method")
    assert rows.loc["kruskal", "p"] == pytest.approx(kruskal.pvalue)


def test_unequal_variances_mislead_the_plain_test_and_not_hc3(rng: np.random.Generator) -> None:
    """The small cell has the large spread: the case in which the classical F finds far too much.

    With two cells the HC3 F is the squared difference of means over the sum of s^2 / (n - 1).
    """
    n_a, n_b, n_studies = 12, 60, 2000
    a, b = 4 * rng.standard_normal((n_studies, n_a)), rng.standard_normal((n_studies, n_b))
    f = (a.mean(axis=1) - b.mean(axis=1)) ** 2
    f /= a.var(axis=1, ddof=1) / (n_a - 1) + b.var(axis=1, ddof=1) / (n_b - 1)
    table = pd.DataFrame({"a": np.repeat([0, 1], [n_a, n_b]), "y": np.concatenate([a[0], b[0]])})
    assert robust_table(fit_linear(make_observations(table, "y", ["a"])))["statistic"].iloc[0] == pytest.approx(f[0])
    hc3 = (scipy.stats.f.sf(f, 1, n_a + n_b - 2) < 0.05).mean()
    plain = (scipy.stats.ttest_ind(a, b, axis=1).pvalue < 0.05).mean()
    assert plain > 0.25
    assert hc3 < 0.08


def test_a_cell_of_one_has_no_hc3(crossed: Crossed) -> None:
    table = crossed((2, 2), n=4).query("not (a == 1 and b == 1 and seed > 0)")
    rows = robust_table(fit_linear(make_observations(table, "y", ["a", "b"])))
    assert set(rows["method"]) == {"aligned_rank"}


def test_cells_that_do_not_vary_have_no_hc3(crossed: Crossed) -> None:
    table = crossed((3,), n=4).assign(y=lambda t: np.where(t["a"] > 0, 5.0 + t["a"], t["y"]))
    assert set(robust_table(fit_linear(make_observations(table, "y", ["a"])))["method"]) == {"kruskal"}
